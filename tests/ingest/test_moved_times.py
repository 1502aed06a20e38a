"""Known events that a source sends with other times."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tconnectsync import Event
from tconnectsync.errors import SourceChanged
from tconnectsync.eventlog import EventLog
from tconnectsync.events import BasalDelivered
from tconnectsync.ingest.moved_times import check_times
from tests.support.clocks import FakeClock
from tests.support.engine.harness import BEGIN, FakePumpSource

NUMBERS = (1, *range(20_000, 20_500), *range(30_000, 30_010))


@pytest.fixture
def known() -> list[Event]:
    """One event of long ago, half a thousand of later, and ten new ones."""
    source = FakePumpSource(FakeClock(BEGIN))
    body = BasalDelivered(rate_u_per_h=1.0)
    return [source.event(seq, "basal.delivered", BEGIN + timedelta(minutes=seq), body) for seq in NUMBERS]


@pytest.fixture
def log(tmp_path: Path, known: list[Event]) -> Iterator[EventLog]:
    """A log that holds them."""
    with EventLog.open(tmp_path, clock=FakeClock(BEGIN), writable=True) as log:
        log.append(known)
        yield log


def an_hour_later(event: Event) -> Event:
    return msgspec.structs.replace(event, pump_time=event.pump_time + timedelta(hours=1))


def test_old_event_beside_new_ones_is_cheap(log: EventLog, known: list[Event], monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer with an event of long ago and the newest ones reads these, and not everything between them."""
    read: list[int] = []
    times = log.times

    def noted(*asked: Any) -> Iterator[tuple[int, Any]]:
        for number, at in times(*asked):
            read.append(number)
            yield number, at

    monkeypatch.setattr(log, "times", noted)
    check_times(log, [known[0], *known[-10:]])
    assert sorted(read) == [1, *range(30_000, 30_010)]


def test_moved_in_two_places(log: EventLog, known: list[Event]) -> None:
    """Moved times are noticed wherever they are, and counted together."""
    check_times(log, [an_hour_later(known[0]), an_hour_later(known[-1]), *known[-9:-1]])
    with pytest.raises(SourceChanged) as caught:
        check_times(log, [an_hour_later(known[0]), *map(an_hour_later, known[-2:]), known[-3]])
    assert "3 of 4" in str(caught.value)


def test_numbers_begin_again(log: EventLog, known: list[Event]) -> None:
    """Other records under known numbers would replace doses, so the source stops. A single one may be a wrong record."""
    later = [msgspec.structs.replace(event, pump_time=event.pump_time + timedelta(days=30)) for event in known[-4:]]
    check_times(log, [*known[-8:-2], *later[-2:]])
    with pytest.raises(SourceChanged, match="numbers begin again: 4 of 4") as caught:
        check_times(log, later)
    assert "data folder" in str(caught.value.remedy)
