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
class Life:
    """One process on a data folder, and what it was told. The log is in ``files``; the index is a file in ``folder``."""

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
    """The source's word that it has brought everything up to number ``last``."""
    return fact(f"window:{last}", events.WindowFetched(first_day="2025-03-01", last_day=f"{last}"))


def brought(first: int, last: int) -> list[Event]:
    """A poll: the events, then the source's position."""
    return [*(basal(seq) for seq in range(first, last + 1)), window(last)]


WHOLE = [*brought(1, 12), row("a", START), numbered(40, events.CarbsEntered(carbs_g=20.0))]
"""All that the source has."""


# --- the scenarios ------------------------------------------------------------------------------------------------------


def in_batches(life: Life) -> None:
    with life.open() as log:
        for batch in (brought(1, 2), brought(3, 3), WHOLE[-2:], brought(1, 4)):
            life.append(log, batch)


def at_once(life: Life) -> None:
    with life.open() as log:
        life.append(log, WHOLE)


def over_segments(life: Life) -> None:
    with life.open() as log:
        life.append(log, brought(1, 1))
        life.append(log, brought(1, 7))
        life.append(log, brought(8, 9))


def compressing(life: Life) -> None:
    with life.open() as log:
        while log.maintain(1):
            pass


def opening(life: Life) -> None:
    with life.open() as log:
        life.append(log, brought(8, 9))


def repairing(life: Life) -> None:
    repair_log(life.folder, life.files, clock=FakeClock(RECEIVED))
    opening(life)


# --- what they begin with -----------------------------------------------------------------------------------------------


def nothing(life: Life) -> None:
    del life


def seven(life: Life) -> None:
    with life.open() as log:
        for last in (2, 5, 7):
            life.append(log, brought(1, last))


def seven_compressed(life: Life) -> None:
    seven(life)
    compressing(life)


def an_older_index(life: Life) -> None:
    with life.open() as log:
        life.append(log, brought(1, 2))
    kept = life.folder.with_name("kept")
    shutil.copytree(life.folder, kept)
    seven(life)
    shutil.rmtree(life.folder)
    kept.rename(life.folder)


def no_index(life: Life) -> None:
    seven(life)
    shutil.rmtree(life.folder)
    life.folder.mkdir()


def torn(life: Life) -> None:
    """A batch was being written when the power went."""
    seven(life)
    path = max(path for path in life.files.now() if path.suffix == ".jsonl")
    text = life.files.now()[path]
    with life.open() as log:
        log.append(brought(8, 12))
    longer = life.files.now()[path]
    assert longer.startswith(text)
    life.files = CrashingFiles({**life.files.now(), path: longer[: len(text) + (len(longer) - len(text)) * 2 // 3]})
    for name in life.folder.glob("index*"):
        name.unlink()


def corrupted(life: Life) -> None:
    """A byte flipped in each of the first, a middle and the last segment."""
    seven(life)
    image = dict(life.files.now())
    segments = sorted(path for path in image if path.name[0].isdigit())
    for path in {segments[0], segments[len(segments) // 2], segments[-1]}:
        text = image[path]
        at = text.index(b'"rate_u_per_h"') if b"rate_u_per_h" in text else len(text) // 2
        image[path] = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
    life.files = CrashingFiles(image)


@attrs.frozen
class Scenario:
    """``begin`` on a disk that does not fail, then ``work`` on one that does. ``loses``: harm that only a new fetch mends."""

    begin: Callable[[Life], None]
    work: Callable[[Life], None]
    segment_bytes: int = 1 << 20
    loses: bool = False


SCENARIOS = {
    "a first start": Scenario(nothing, in_batches),
    "one large append": Scenario(seven, at_once),
    "appends over segments": Scenario(nothing, over_segments, SMALL),
    "compressing": Scenario(seven, compressing, SMALL),
    "opening compressed": Scenario(seven_compressed, opening, SMALL),
    "an index that is behind": Scenario(an_older_index, opening, SMALL),
    "building the index": Scenario(no_index, opening, SMALL),
    "mending a torn end": Scenario(torn, opening),
    "repair": Scenario(corrupted, repairing, SMALL, loses=True),
    "repair of one segment": Scenario(corrupted, repairing, loses=True),
}


# --- what must hold ---------------------------------------------------------------------------------------------------------


def restarted(life: Life, *, loses: bool) -> None:
    """Open what the power cut left, compare it with what was known, finish the work, and compare again."""
    if loses and harm(life):
        repair_log(life.folder, life.files, clock=FakeClock(RECEIVED))
    with life.open() as log:
        check(life, list(log.events()), loses=loses)
        log.append(WHOLE)
        while log.maintain(10):
            pass
        there = list(log.events())
        check(life, there, loses=loses)
        facts = {event.id for event in there if event.kind in events.FACTS}
        assert {event.id for event in there} - facts == {event.id for event in WHOLE if event.kind not in events.FACTS}
        assert log.damage == []
        in_order = read(log)
        assert sorted(in_order) == sorted(event.id for event in there if event.kind not in events.FACTS)
    assert harm(life) == []
    for path in life.folder.glob("index*"):
        path.unlink()
    with closing(life.open(writable=False)) as log:
        assert read(log) == in_order, "the index says the same when it is built again"


def harm(life: Life) -> list[CheckLine]:
    """What is damaged in the middle of the log; a torn end is none."""
    return [line for line in check_log(life.folder, life.files) if not line.good and line.last_position is not None]


def read(log: EventLog) -> list[str]:
    return [event.id for stream in log.streams() for event in log.read(stream.id, stream.first_key, stream.last_key)]


def check(life: Life, there: Sequence[Event], *, loses: bool) -> None:
    """Each once, what was known at its place, and no word of the source about what is not there."""
    ids = [event.id for event in there]
    assert len(set(ids)) == len(ids)
    assert [event.pos for event in there] == sorted(event.pos for event in there)
    places = {event.id: event.pos for event in there}
    if not loses:
        assert {id_: places.get(id_) for id_ in life.known} == life.known
        assert {event.pos for event in there} == set(range(1, len(there) + 1))
        for event in there:
            if event.kind == "window.fetched":
                numbers = range(1, int(event.body.last_day) + 1)
                assert all(places.get(f"tandem:123:0:{seq}", 1 << 30) < event.pos for seq in numbers)
