"""What a process that runs for years must not keep in memory."""

from __future__ import annotations

import ctypes
import gc
import platform
import subprocess
import sys
import weakref
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync.runtime import memory_limit
from tconnectsync.runtime.memory_limit import collect_cycles_less_often, release_large_blocks
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.installation import ZONE, Installation, recent_pump
from tests.e2e.simulated_home import simulated_home
from tests.support.clocks import ShiftedClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout


def test_signature_check_not_loaded(tmp_path: Path) -> None:
    """The process that logs in does not load the code that checks signatures.

    PyJWT and cryptography take ten megabytes; they are loaded by a process that ends with the check.
    """
    script = (
        "import sys; from tconnectsync.cli.root import run; status = run(sys.argv[1:]);"
        "print(sorted({'jwt', 'cryptography'} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    with FaultyTandemCloud([recent_pump(days=2)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1)
        words = [sys.executable, "-c", script, *home.command("sync")[3:]]
        done = subprocess.run(words, env=home.environment, capture_output=True, text=True, check=True)
        assert cloud.count("jwks") == 1
        assert site.documents("treatments") != []
    assert done.stderr.splitlines()[-1] == "[]"


def test_cycles_searched_less_often() -> None:
    """Python searches for cycles after ten thousand new objects, and still finds those that are there."""
    before = gc.get_threshold()
    try:
        collect_cycles_less_often()
        assert gc.isenabled()
        assert gc.get_threshold() == (10_000, *before[1:])
    finally:
        gc.set_threshold(*before)


def test_cycles_not_searched_at_the_end() -> None:
    """When a command's process ends, all objects are exempt from the search, so that it takes no time."""
    script = (
        "import atexit, gc, sys; atexit.register(lambda: print(gc.get_freeze_count(), len(gc.get_objects())));"
        "from tconnectsync.cli import main; sys.exit(main())"
    )
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True, check=True)
    exempt, searched = map(int, done.stdout.splitlines()[-1].split())
    assert exempt > 10_000 > 100 > searched


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize("told", [True, False])
def test_large_blocks_returned(told: bool) -> None:
    """Large blocks of memory are returned to the system.

    Without this setting, glibc permanently keeps what lies below a small block that was allocated later, such as a
    month's answer.
    """
    script = f"""
from pathlib import Path
from tconnectsync.runtime.memory_limit import release_large_blocks
def resident_mb():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
if {told}:
    release_large_blocks()
bytes(24 << 20)
before_mb = resident_mb()
answers = [(bytearray(b"x") * (8 << 20), bytearray(b"y") * 9000) for _ in range(2)]
small = [small for large, small in answers]
del answers
print(resident_mb() - before_mb)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (float(done.stdout) < 4) is told


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize("told", [True, False])
def test_threads_share_one_heap(told: bool) -> None:
    """Threads get no heaps of their own.

    Without this setting, glibc gives each of four threads its own heap, and a worker keeps them all.
    """
    script = f"""
import threading
from pathlib import Path
from tconnectsync.runtime.memory_limit import share_one_heap
if {told}:
    share_one_heap()
together = threading.Barrier(4)
def allocate():
    together.wait()
    blocks = [bytes(2000) for _ in range(1000)]
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
begins = [int(line.split("-")[0], 16) for line in Path("/proc/self/maps").read_text().splitlines() if " rw-p " in line]
print(sum(begin % (64 << 20) == 0 for begin in begins))  # where glibc puts a thread's heap
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (int(done.stdout) == 0) is told


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
@pytest.mark.parametrize("told", [True, False])
def test_holes_in_the_heap_are_returned(told: bool) -> None:
    """What many turns at once needed is returned, although blocks that were allocated later lie above it.

    Within the same minute it is not looked for again.
    """
    script = f"""
from pathlib import Path
from unittest.mock import patch
from tconnectsync.runtime.memory_limit import return_free_memory
def resident_mb():
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024
before_mb = resident_mb()
blocks = [bytearray(b"x") * 50_000 for _ in range(500)]
del blocks[:-1]
with patch("time.monotonic", return_value=600.0):
    if {told}:
        return_free_memory()
    freed_mb = resident_mb() - before_mb
    blocks += [bytearray(b"x") * 50_000 for _ in range(500)]
    del blocks[:-1]
    return_free_memory()
print(freed_mb < 8, resident_mb() - before_mb < 8)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(told), str(not told)]


def test_other_c_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """A C library without such settings does no harm."""
    release_large_blocks()
    for library in (OSError("no libc"), MemoryError(), object()):

        def load(name: object, library: object = library) -> object:
            if isinstance(library, Exception):
                raise library
            return library

        monkeypatch.setattr(ctypes, "CDLL", load)
        memory_limit._c_library.cache_clear()
        release_large_blocks()
    memory_limit._c_library.cache_clear()


def test_a_closed_engine_is_freed_at_once(tmp_path: Path) -> None:
    """A worker of a fleet opens an engine for each turn. None waits for the search for cycles, with all that it has read."""
    begin = datetime(2026, 3, 16, tzinfo=timezone.utc)
    pump = simulate(SimulationPlan(seed=7, zone=ZONE, start=begin.date(), days=2))
    gc.collect()
    gc.disable()
    try:
        with simulated_home(tmp_path, pump, now=begin + timedelta(days=2), history_days=1) as home:
            assert home.ask("sync").status == 0
            engine = home.running.engine
            alive = [weakref.ref(each) for each in (engine, engine.events, engine.timelines, *engine.runners.values())]
            del engine
            home.wipe("nothing")
            assert [each() for each in alive] == [None] * len(alive)
    finally:
        gc.enable()
