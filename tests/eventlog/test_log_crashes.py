"""A power cut before any call, whatever it leaves on the disk: after a restart nothing that was known is lost, nothing is there
twice, and the work can be finished. The power goes before each call of each scenario in turn; every state that may then be found
is opened again, with the index as it was, as it had been before, and without it.

``TCONNECTSYNC_EVERY_BYTE=1`` cuts at every byte, not only at the telling ones.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from tconnectsync.eventlog.framing import DamagedRange, frame, header_line, walk
from tconnectsync.eventlog.last_segment import is_unwritten
from tconnectsync.eventlog.repair import repair_log
from tests.eventlog.crash_scenarios import SCENARIOS, WHOLE, LogProcess, Scenario, find_corruption, restarted
from tests.eventlog.sample_events import RECEIVED
from tests.support.clocks import FakeClock
from tests.support.crashing_files import CallFaults, Crash, CrashingFiles, Image

EVERY_BYTE = os.environ.get("TCONNECTSYNC_EVERY_BYTE") == "1"


# --- crashing -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class PowerCut:
    """The power went before call ``number``: what may be on the disk, the index as it was before, and as it is now."""

    number: int
    images: Sequence[Image]
    known: dict[str, int]
    before: Path
    after: Path


def ends(scenario: Scenario, folder: Path) -> Iterator[tuple[int, LogProcess, Path]]:
    """Run until the process ends before a call, every call in turn, the last time at the end: number, what is left, index before."""
    begun = folder / "begun"
    begun.mkdir(parents=True)
    process = LogProcess(begun, CrashingFiles(), scenario.segment_bytes)
    scenario.begin(process)
    image, known = process.files.now(), process.known
    for number in range(1, 1000):
        here = folder / "here"
        shutil.copytree(begun, here)
        faults = CallFaults(crash_at=number)
        files = CrashingFiles({here / path.relative_to(begun): text for path, text in image.items()}, faults)
        process = LogProcess(here, files, scenario.segment_bytes, dict(known))
        with contextlib.suppress(Crash):
            scenario.work(process)
        ended_early = faults.dead
        yield number, process, begun
        shutil.rmtree(here)
        if not ended_early:
            return
    pytest.fail("the scenario does not end")


def power_cuts(scenario: Scenario, folder: Path) -> Iterator[PowerCut]:
    """The same, with every state of the disk that a power cut may leave then, each once."""
    seen: set[tuple[object, ...]] = set()
    for number, process, begun in ends(scenario, folder):
        states = process.files.after_crash(every_byte=EVERY_BYTE)
        keys = [(len(process.known), *sorted(state.items())) for state in states]
        fresh = [state for state, key in zip(states, keys, strict=True) if key not in seen]
        seen.update(keys)
        yield PowerCut(number, fresh, process.known, begun, process.folder)


@pytest.mark.parametrize("name", SCENARIOS)
def test_power_cut_at_any_call(name: str, folder: Path) -> None:
    """After a power cut at any call, nothing that was known is lost, and the work continues."""
    scenario = SCENARIOS[name]
    states = 0
    for cut in power_cuts(scenario, folder / "work"):
        for image in cut.images:
            for index in indexes(cut, image, scenario):
                states += 1
                again = folder / "again"
                if index is None:
                    again.mkdir()
                else:
                    shutil.copytree(index, again)
                there = {again / path.relative_to(cut.after): text for path, text in image.items()}
                process = LogProcess(again, CrashingFiles(there), scenario.segment_bytes, cut.known)
                print(
                    f"before call {cut.number}, index {index and index.name}: {describe(image)}"
                )  # shown when it fails
                restarted(process, loses=scenario.loses)
                shutil.rmtree(again)
    assert states > 20


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_before_sync(name: str, folder: Path) -> None:
    """What a killed process did not sync is durable once the next process knows it.

    Killed before each call in turn; another process finishes the work; then the power goes. All that it knew is there.
    """
    scenario = SCENARIOS[name]
    for number, process, _ in ends(scenario, folder / "work"):
        print(f"killed before call {number}")
        process.files.faults.dead, process.files.faults.crash_at = False, None
        if scenario.loses and find_corruption(process):
            repair_log(process.folder, process.files, clock=FakeClock(RECEIVED))
        with process.open() as log:
            log.append(WHOLE)
            process.known = {event.id: event.pos for event in log.events() if event.kind != "log.gap"}
        restarted(attrs.evolve(process, files=CrashingFiles(process.files.after_crash()[0])), loses=scenario.loses)


def indexes(cut: PowerCut, image: Image, scenario: Scenario) -> Sequence[Path | None]:
    """The index as the process left it; with the plainest states of the log also as it was before, and none.

    A repair has seen to it that an index from before is not believed: that is on the disk before the log changes.
    """
    if image not in (cut.images[0], cut.images[-1]):
        return (cut.after,)
    return (cut.after, None) if scenario.loses else (cut.after, cut.before, None)


def describe(image: Image) -> str:
    return "; ".join(f"{path.name} {len(text)} bytes" for path, text in image.items())


def test_zero_byte_is_corruption() -> None:
    """A byte that became zero is corruption, not an unfinished write.

    Otherwise good lines behind it would count as never durable. A line's first byte does not become zero by one flipped
    bit.
    """
    text, crc = header_line(1, "abc", 0)
    for position in range(1, 9):
        line, crc = frame(b'{"pos":%d,"x":"%s"}' % (position, b"x" * 100), crc)
        text += line
    for at in range(len(text)):
        if text[at - 1 : at] != b"\n":
            corrupted = text[:at] + b"\0" + text[at + 1 :]
            assert not any(
                is_unwritten(corrupted, item) for item in walk(corrupted, 1) if isinstance(item, DamagedRange)
            )
    corrupted = text[:512] + bytes(512) + text[1024:]
    assert any(is_unwritten(corrupted, item) for item in walk(corrupted, 1) if isinstance(item, DamagedRange))
