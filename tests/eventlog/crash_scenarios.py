"""Scenarios of an event log on a disk that crashes or fails: what the process does, and what must hold afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import attrs

from tconnectsync import events
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.check import CheckLine, check_log
from tconnectsync.eventlog.repair import repair_log
from tconnectsync.events import Event
from tests.eventlog.sample_events import RECEIVED, START, basal, fact, numbered, row
from tests.support.clocks import FakeClock
from tests.support.crashing_files import CrashingFiles

SMALL = 900
"""Bytes of a segment that holds about three events."""


@attrs.define
class LogProcess:
    """One process on a data folder, and the events that it knows.

    The log is in ``files``; the index is a file in ``folder``.
    """

    folder: Path
    files: CrashingFiles
    segment_bytes: int = 1 << 20
    known: dict[str, int] = attrs.field(factory=dict)
    """Ids whose append returned, and their positions."""

    def open(self, *, writable: bool = True) -> EventLog:
        return EventLog.open(
            self.folder,
            clock=FakeClock(RECEIVED),
            writable=writable,
            files=self.files,
            segment_bytes=self.segment_bytes,
        )

    def append(self, log: EventLog, batch: Sequence[Event]) -> None:
        done = log.append(batch)
        self.known.update({event.id: position for position, event in enumerate(done.events, done.first)})


def window(last: int) -> Event:
    """The source's statement that it has brought everything up to number ``last``."""
    return fact(f"window:{last}", events.WindowFetched(first_day="2025-03-01", last_day=f"{last}"))


def poll_events(first: int, last: int) -> list[Event]:
    """A poll: the events, then the source's position."""
    return [*(basal(seq) for seq in range(first, last + 1)), window(last)]


WHOLE = [*poll_events(1, 12), row("a", START), numbered(40, events.CarbsEntered(carbs_g=20.0))]
"""All that the source has."""


# --- the scenarios ------------------------------------------------------------------------------------------------------


def in_batches(process: LogProcess) -> None:
    with process.open() as log:
        for batch in (poll_events(1, 2), poll_events(3, 3), WHOLE[-2:], poll_events(1, 4)):
            process.append(log, batch)


def at_once(process: LogProcess) -> None:
    with process.open() as log:
        process.append(log, WHOLE)


def over_segments(process: LogProcess) -> None:
    with process.open() as log:
        process.append(log, poll_events(1, 1))
        process.append(log, poll_events(1, 7))
        process.append(log, poll_events(8, 9))


def compressing(process: LogProcess) -> None:
    with process.open() as log:
        while log.maintain(1):
            pass


def opening(process: LogProcess) -> None:
    with process.open() as log:
        process.append(log, poll_events(8, 9))


def repairing(process: LogProcess) -> None:
    repair_log(process.folder, process.files, clock=FakeClock(RECEIVED))
    opening(process)


# --- what they begin with -----------------------------------------------------------------------------------------------


def nothing(process: LogProcess) -> None:
    del process


def seven_events(process: LogProcess) -> None:
    with process.open() as log:
        for last in (2, 5, 7):
            process.append(log, poll_events(1, last))


def seven_events_compressed(process: LogProcess) -> None:
    seven_events(process)
    compressing(process)


def older_index(process: LogProcess) -> None:
    with process.open() as log:
        process.append(log, poll_events(1, 2))
    kept = process.folder.with_name("kept")
    shutil.copytree(process.folder, kept)
    seven_events(process)
    shutil.rmtree(process.folder)
    kept.rename(process.folder)


def no_index(process: LogProcess) -> None:
    seven_events(process)
    shutil.rmtree(process.folder)
    process.folder.mkdir()


def torn_batch(process: LogProcess) -> None:
    """A batch was being written when the power went."""
    seven_events(process)
    path = max(path for path in process.files.now() if path.suffix == ".jsonl")
    text = process.files.now()[path]
    with process.open() as log:
        log.append(poll_events(8, 12))
    longer = process.files.now()[path]
    assert longer.startswith(text)
    process.files = CrashingFiles(
        {**process.files.now(), path: longer[: len(text) + (len(longer) - len(text)) * 2 // 3]}
    )
    for name in process.folder.glob("index*"):
        name.unlink()


def corrupted(process: LogProcess) -> None:
    """A byte flipped in each of the first, a middle and the last segment."""
    seven_events(process)
    image = dict(process.files.now())
    segments = sorted(path for path in image if path.name[0].isdigit())
    for path in {segments[0], segments[len(segments) // 2], segments[-1]}:
        text = image[path]
        at = text.index(b'"rate_u_per_h"') if b"rate_u_per_h" in text else len(text) // 2
        image[path] = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
    process.files = CrashingFiles(image)


@attrs.frozen
class Scenario:
    """``begin`` on a disk that does not fail, then ``work`` on one that does. ``loses``: records are lost until they are fetched again."""

    begin: Callable[[LogProcess], None]
    work: Callable[[LogProcess], None]
    segment_bytes: int = 1 << 20
    loses: bool = False


SCENARIOS = {
    "a first start": Scenario(nothing, in_batches),
    "one large append": Scenario(seven_events, at_once),
    "appends over segments": Scenario(nothing, over_segments, SMALL),
    "compressing": Scenario(seven_events, compressing, SMALL),
    "opening compressed": Scenario(seven_events_compressed, opening, SMALL),
    "an index that is behind": Scenario(older_index, opening, SMALL),
    "building the index": Scenario(no_index, opening, SMALL),
    "mending a torn end": Scenario(torn_batch, opening),
    "repair": Scenario(corrupted, repairing, SMALL, loses=True),
    "repair of one segment": Scenario(corrupted, repairing, loses=True),
}


# --- what must hold ---------------------------------------------------------------------------------------------------------


def restarted(process: LogProcess, *, loses: bool) -> None:
    """Open what the power cut left, compare it with what was known, finish the work, and compare again."""
    if loses and find_corruption(process):
        repair_log(process.folder, process.files, clock=FakeClock(RECEIVED))
    with process.open() as log:
        check(process, list(log.events()), loses=loses)
        log.append(WHOLE)
        while log.maintain(10):
            pass
        there = list(log.events())
        check(process, there, loses=loses)
        facts = {event.id for event in there if event.kind in events.FACTS}
        assert {event.id for event in there} - facts == {event.id for event in WHOLE if event.kind not in events.FACTS}
        assert log.damage == []
        in_order = read(log)
        assert sorted(in_order) == sorted(event.id for event in there if event.kind not in events.FACTS)
    assert find_corruption(process) == []
    for path in process.folder.glob("index*"):
        path.unlink()
    with closing(process.open(writable=False)) as log:
        assert read(log) == in_order, "the index says the same when it is built again"


def find_corruption(process: LogProcess) -> list[CheckLine]:
    """The corrupt parts within the log; a torn end does not count."""
    return [
        line for line in check_log(process.folder, process.files) if not line.good and line.last_position is not None
    ]


def read(log: EventLog) -> list[str]:
    return [event.id for stream in log.streams() for event in log.read(stream.id, stream.first_key, stream.last_key)]


def check(process: LogProcess, there: Sequence[Event], *, loses: bool) -> None:
    """Each event is there once, known events are at their places, and no fetched window lacks events."""
    ids = [event.id for event in there]
    assert len(set(ids)) == len(ids)
    assert [event.pos for event in there] == sorted(event.pos for event in there)
    places = {event.id: event.pos for event in there}
    if not loses:
        assert {id_: places.get(id_) for id_ in process.known} == process.known
        assert {event.pos for event in there} == set(range(1, len(there) + 1))
        for event in there:
            if event.kind == "window.fetched":
                numbers = range(1, int(event.body.last_day) + 1)
                assert all(places.get(f"tandem:123:0:{seq}", 1 << 30) < event.pos for seq in numbers)
