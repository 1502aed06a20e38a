"""Simulates a user's installation: the real command line and daemon in their own processes, a simulated cloud, any site."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.demo.setup import config_text
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.e2e.command_in_process import run_command
from tests.e2e.forked_process import ForkedProcess
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.site_comparison import compare

PROGRAM = (sys.executable, "-m", "tconnectsync")


@attrs.define
class Installation:
    """A configuration and a data folder; ``run`` is the command as a user types it.

    It runs in this process, unless ``program`` is another one or ``starts_processes`` is set; a daemon is always a process.
    """

    folder: Path
    cloud: FaultyTandemCloud
    site_url: str
    site_secret: str
    zone: str
    history_days: int = 30
    more: str = ""
    program: tuple[str, ...] = PROGRAM
    """What runs the command line."""
    endpoints: Mapping[str, str] | None = None
    """The address at which the cloud is asked, if not its own."""
    account: SimulatedAccount = attrs.field(factory=SimulatedAccount)
    starts_processes: bool = False
    """Whether each command is a process of its own."""

    def __attrs_post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure()

    def configure(self, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self, name, value)
        path = self.folder / "config.toml"
        path.touch(mode=0o600)
        path.write_text(
            config_text(
                data_dir=self.folder / "data", zone=self.zone, endpoints=self.endpoints or self.cloud.endpoints, site_url=self.site_url,
                site_secret=self.site_secret, history_days=self.history_days, more=self.more,
                account=self.account,
            )
        )  # fmt: skip

    def command(self, *words: str) -> list[str]:
        return [*self.program, "--config", str(self.folder / "config.toml"), *words]

    @property
    def environment(self) -> dict[str, str]:
        kept = ("PATH", "LANG", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
        return {"HOME": str(self.folder), "no_proxy": "127.0.0.1", **{n: v for n, v in os.environ.items() if n in kept}}

    def run(self, *words: str, expect: Sequence[int] = (0,)) -> subprocess.CompletedProcess[str]:
        command = self.command(*words)
        if self.program == PROGRAM and not self.starts_processes:
            done = run_command(command[len(PROGRAM) :], self.environment)
        else:
            done = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, timeout=280, check=False
            )
        assert done.returncode in expect, f"{words} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stdout + done.stderr
        return done


def by_identity(documents: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Documents by their identifier, without what the server made up; each identifier once."""
    found = {doc["identifier"]: {key: value for key, value in doc.items() if key != "_id"} for doc in documents}
    assert len(found) == len(documents)
    return found


LONGEST_S = 60.0


def eventually(condition: Callable[[], object], what: str, *, within_s: float = LONGEST_S) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {within_s} s"
        time.sleep(0.02)


@attrs.define
class RunningDaemon:
    """``tconnectsync run`` at work."""

    process: subprocess.Popen[bytes] | ForkedProcess
    log_path: Path
    systemd: socket.socket
    _heard: list[str] = attrs.field(factory=list)

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return self.log_path.read_text()

    @property
    def heard(self) -> list[str]:
        """What it has sent to systemd so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._heard.append(self.systemd.recv(4096).decode())
        return self._heard

    def wait_for(self, words: str, *, times: int = 1) -> None:
        """Wait until its log has said this so many times."""
        eventually(lambda: self.log.count(words) >= times or self.ended, f"{words!r} in the log")
        assert self.log.count(words) >= times, self.log

    @property
    def ended(self) -> bool:
        """Whether the process is over."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """As a power cut would, for this process."""
        self.process.kill()
        self.process.wait(10)

    def hang_up(self) -> None:
        """As ``systemctl reload`` does."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self, *, within_s: float = 10.0) -> float:
        """As ``systemctl stop`` does: ends with status 0; answers how many seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(within_s) == 0, self.log
        return time.monotonic() - begin


def started(command: Sequence[str], environment: Mapping[str, str], log_path: Path) -> subprocess.Popen[bytes]:
    """A program whose output goes into a file."""
    with log_path.open("wb") as log:
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


@contextlib.contextmanager
def daemon(home: Installation, *, forked: bool = False, **environment: str) -> Iterator[RunningDaemon]:
    """The daemon over this installation, ready; killed at the end if it runs.

    ``forked``: see :class:`ForkedProcess`.
    """
    with (
        tempfile.TemporaryDirectory(prefix="systemd-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
    ):
        address = f"{folder}/notify"
        heard.bind(address)
        heard.setblocking(False)
        log_path = home.folder / "daemon.log"
        start = ForkedProcess if forked else started
        process = start(home.command("run"), {**home.environment, "NOTIFY_SOCKET": address, **environment}, log_path)
        living = RunningDaemon(process, log_path, heard)
        try:
            eventually(lambda: "READY=1" in living.heard or living.ended, "ready")
            yield living
        finally:
            if not living.ended:
                living.kill()
            assert "Traceback" not in living.log


STEADY_ZONES = (
    "Pacific/Honolulu", "America/Phoenix", "America/Bogota", "America/Argentina/Buenos_Aires", "Africa/Lagos",
    "Africa/Nairobi", "Asia/Kolkata", "Asia/Tokyo", "Pacific/Noumea",
)  # fmt: skip
"""Places without daylight saving, all around the world."""


def from_noon(zone: str) -> float:
    """Hours between the time there and one o'clock, after lunch."""
    local = datetime.now(ZoneInfo(zone))
    return abs(local.hour + local.minute / 60 - 13)


ZONE = min(STEADY_ZONES, key=from_noon)
"""It is day there now: no midnight comes in between, and the wearer has eaten lately."""
TREATMENTS = "nightscout-treatments"
PUMP_EVENTS = "nightscout-pump-events"


def recent_pump(days: int, **changes: Any) -> SimulatedPump:
    """A pump that lived until now; its phone has uploaded until eight minutes ago and will not for hours.

    Without scans (219), which are a third of all records, unless ``scan_codes`` is True.
    """
    now = datetime.now(timezone.utc)
    quiet = (now - timedelta(minutes=8), now + timedelta(hours=3))
    plan = SimulationPlan(
        seed=31,
        zone=ZONE,
        start=now.astimezone(ZoneInfo(changes.get("zone", ZONE))).date() - timedelta(days=days),
        days=days + 2,
        upload_every_min=10,
        outages=(quiet,),
        scan_codes=False,
    )
    return simulate(attrs.evolve(plan, **changes))


@attrs.define
class SyncSetup:
    """A cloud, a site, and an installation between them."""

    cloud: FaultyTandemCloud
    site: SimulatedNightscout
    home: Installation

    @property
    def requests(self) -> int:
        return len(self.cloud.requests) + len(self.site.requests)

    def treatments(self) -> dict[str, dict[str, Any]]:
        return by_identity(self.site.documents("treatments"))

    def settled(self, living: RunningDaemon) -> None:
        """Wait until the daemon has delivered everything."""
        eventually(lambda: self.site.count("activity"), "a delivery")
        self.home.run("sync")
        assert not living.ended

    def differences(self, pump: SimulatedPump, days: int, *, until_days: float = 0.5) -> list[str]:
        """The differences between the site and the truth, between two times that are given in days ago."""
        now = datetime.now(timezone.utc)
        window = (now - timedelta(days=days), now - timedelta(days=until_days))
        return compare(pump.truth, self.site.documents("treatments"), window=window).lines()


def undisturbed(world: SyncSetup, *more: tuple[str, ...]) -> None:
    """An undisturbed installation leaves the same treatments on another site."""
    home = world.home
    with SimulatedNightscout() as site:
        other = Installation(
            home.folder.parent / "undisturbed", world.cloud, site.url, site.secret, ZONE, home.history_days
        )
        other.run("sync")
        for words in more:
            other.run(*words)
        expected = by_identity(site.documents("treatments"))
        found = world.treatments()
        assert found.keys() == expected.keys()
        assert found == expected
    by_identity(world.site.documents("devicestatus"))  # their number depends on the minute: they expire
    [_] = [doc for doc in world.site.documents("activity") if doc["activityType"] == "tconnect_iob"]
