"""Facts are read from the log once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog import facts as facts_module
from tconnectsync.eventlog.segments import Segments
from tests.eventlog.sample_events import RECEIVED, basal, upload
from tests.support.clocks import FakeClock


@pytest.fixture
def log(folder: Path) -> Iterator[EventLog]:
    """An empty log."""
    with EventLog.open(folder, clock=FakeClock(RECEIVED), writable=True) as opened:
        yield opened


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions that were read from the log's files."""
    found: list[int] = []
    original = Segments.records

    def records(self: Segments, wanted: list[tuple[int, int]]) -> list[bytes]:
        found.extend(position for position, _ in wanted)
        return original(self, wanted)

    monkeypatch.setattr(Segments, "records", records)
    return found


def test_only_new_facts_are_read(log: EventLog, reads: list[int]) -> None:
    log.append([upload("1"), basal(1), upload("2")])
    assert [fact.pos for fact in log.facts("upload.seen")] == [3, 1]
    assert [fact.pos for fact in log.facts("upload.seen", limit=1)] == [3]
    log.append([upload("3")])
    assert [fact.pos for fact in log.facts("upload.seen")] == [4, 3, 1]
    assert reads == [3, 1, 4]


def test_oldest_facts_are_forgotten(log: EventLog, reads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory does not grow with the log."""
    monkeypatch.setattr(facts_module, "MOST_REMEMBERED", 2)
    log.append([upload("1"), upload("2"), upload("3")])
    assert [fact.pos for fact in log.facts("upload.seen")] == [3, 2, 1]
    assert [fact.pos for fact in log.facts("upload.seen")] == [3, 2, 1]
    assert reads == [3, 2, 1, 1]


def test_events_of_a_pump_are_read_again(log: EventLog, reads: list[int]) -> None:
    """Their vendor's records may be long."""
    log.append([basal(1)])
    assert log.facts("basal.delivered") == log.facts("basal.delivered")
    assert reads == [1, 1]
