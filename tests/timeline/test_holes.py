"""Rows without numbers fill the holes in a pump's numbered records, in any order of arrival, until late records fill them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync import events as ev
from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog
from tconnectsync.events import Event
from tconnectsync.timeline.coverage import HOLE, MISSING
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.stream_timeline import StreamTimeline
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import ListLog, PumpHistory, row, utc

BERLIN = Zones(timezone="Europe/Berlin")
TWO_HOURS_S = 7200
BEGIN, END = utc("2025-06-01"), utc("2025-06-06")
EVERY = timedelta(minutes=5)


def pump(*, off: tuple[datetime, datetime] | None = None) -> PumpHistory:
    """A pump with a record every five minutes, perhaps switched off for a time."""
    world = PumpHistory(now=BEGIN, offset_s=TWO_HOURS_S)
    if off is not None:
        world.run(off[0], EVERY, "basal.delivered")
        world.now = off[1]
    return world.run(END, EVERY, "basal.delivered")


def without(world: PumpHistory, *holes: tuple[datetime, datetime]) -> list[Event]:
    return [
        event for event in world.events if not any(first < world.truth[event.seq or 0] < last for first, last in holes)
    ]


def rows() -> list[Event]:
    """A row every half hour."""
    return [row(BEGIN + n * timedelta(minutes=30), BERLIN) for n in range(1, 238)]


def log_of(*arrivals: Iterable[Event]) -> ListLog:
    log = ListLog()
    for events in arrivals:
        log.append(events)
    return log


def timeline(log: ListLog) -> StreamTimeline:
    stream = next(each for each in log.streams() if not each.numbered)
    return TimelineResolver(log, BERLIN).resolve()[stream.id]


def counting(log: ListLog) -> list[datetime]:
    """The times of the rows that count."""
    found = timeline(log)
    times = [BEGIN + n * timedelta(minutes=30) for n in range(1, 238)]
    return [at for at in times if not found.is_superseded(at)]


NIGHT = utc("2025-06-02T20:01"), utc("2025-06-03T07:59")
NOON = utc("2025-06-04T11:01"), utc("2025-06-04T13:59")


@pytest.mark.parametrize("rows_first", [True, False])
def test_rows_fill_a_hole_of_hours(rows_first: bool) -> None:
    """Whether the export or Tandem's records came first."""
    numbered = without(pump(), NIGHT)
    log = log_of(rows(), numbered) if rows_first else log_of(numbered, rows())
    assert counting(log) == [utc("2025-06-02T20:30") + n * timedelta(minutes=30) for n in range(23)]


def test_rows_fill_each_of_several_holes() -> None:
    found = counting(log_of(without(pump(), NIGHT, NOON), rows()))
    assert {at.day for at in found} == {2, 3, 4}
    assert [at for at in found if at.day == 4] == [
        utc("2025-06-04T11:30") + n * timedelta(minutes=30) for n in range(5)
    ]


def test_late_records_fill_a_hole() -> None:
    """Then its rows are superseded again."""
    world = pump()
    numbered = without(world, NIGHT)
    log = log_of(rows(), numbered)
    resolver = TimelineResolver(log, BERLIN)
    resolver.resolve()
    log.append(world.events)
    assert counting(log) == []
    assert resolver.resolve() == TimelineResolver(log, BERLIN).resolve()


def test_late_records_split_a_hole() -> None:
    world = pump()
    log = log_of(without(world, NIGHT), rows())
    resolver = TimelineResolver(log, BERLIN)
    before = resolver.resolve()
    log.append(without(world, (NIGHT[0], utc("2025-06-03T00:01")), (utc("2025-06-03T02:59"), NIGHT[1])))
    after = resolver.resolve()
    assert after == TimelineResolver(log, BERLIN).resolve()
    hours = {at.hour for at in counting(log)}
    assert 21 in hours
    assert 1 not in hours
    assert 5 in hours
    stream = next(each for each in log.streams() if not each.numbered)
    assert after[stream.id].changed_keys(before[stream.id], log, stream)


def test_pump_that_was_off_has_no_hole() -> None:
    """No number is missing while a pump is switched off."""
    assert counting(log_of(pump(off=(NIGHT[0], NIGHT[1])).events, rows())) == []


def test_short_or_small_gap_is_no_hole() -> None:
    """A gap of minutes is none, and neither is a jump of the numbers alone."""
    world = pump()
    short = utc("2025-06-03T10:01"), utc("2025-06-03T10:54")
    assert counting(log_of(without(world, short), rows())) == []
    jump = PumpHistory(now=BEGIN, offset_s=TWO_HOURS_S).run(NIGHT[0], EVERY, "basal.delivered")
    jump.seq += 10_000
    jump.run(END, EVERY, "basal.delivered")
    assert counting(log_of(jump.events, rows())) == []


def test_the_least_hole() -> None:
    """An hour in which 24 numbers are missing; one fewer, or a second less, is none."""
    for missing, length, is_hole in (
        (MISSING, HOLE, True),
        (MISSING - 1, HOLE, False),
        (MISSING, HOLE - timedelta(seconds=1), False),
    ):
        world = PumpHistory(now=BEGIN, offset_s=TWO_HOURS_S).run(utc("2025-06-03T10:05"), EVERY, "basal.delivered")
        world.seq += missing
        world.now += length - EVERY
        world.run(END, EVERY, "basal.delivered")
        assert bool(counting(log_of(world.events, rows()))) == is_hole


def test_numbers_of_other_kinds_are_there() -> None:
    """A pump that is suspended for hours, without a sensor, has records that show no delivery."""
    world = PumpHistory(now=BEGIN, offset_s=TWO_HOURS_S).run(NIGHT[0], EVERY, "basal.delivered")
    world.run(NIGHT[1], EVERY, "pump.noted").run(END, EVERY, "basal.delivered")
    assert counting(log_of(world.events, rows())) == []
    noted = [event for event in world.events if event.kind == "pump.noted"]
    log = log_of([event for event in world.events if event not in noted], rows())
    resolver = TimelineResolver(log, BERLIN)
    assert counting(log)
    resolver.resolve()
    log.append(noted)
    assert counting(log) == []
    assert resolver.resolve() == TimelineResolver(log, BERLIN).resolve()


def test_clock_set_forward_is_no_hole() -> None:
    world = PumpHistory(now=BEGIN, offset_s=TWO_HOURS_S).run(NIGHT[0], EVERY, "basal.delivered")
    world.set_clock(11 * 3600).run(NIGHT[1], EVERY, "basal.delivered")
    world.set_clock(TWO_HOURS_S).run(END, EVERY, "basal.delivered")
    assert counting(log_of(world.events, rows())) == []


def test_hole_hands_the_pump_over() -> None:
    """The rows are the active stream from the first row in the hole to its end, without a sign of wear among them."""
    basal = [row(BEGIN + n * timedelta(minutes=30), BERLIN, kind="basal.delivered") for n in range(1, 238)]
    world = PumpHistory(now=BEGIN, offset_s=TWO_HOURS_S).run(BEGIN + timedelta(hours=1), EVERY)
    world.run(END, EVERY, "basal.delivered")
    log = log_of(without(world, NIGHT), basal)
    found = {each.numbered: TimelineResolver(log, BERLIN).resolve()[each.id] for each in log.streams()}
    begin, end = utc("2025-06-02T20:30"), utc("2025-06-03T08:00")
    assert [(span.begin, span.end) for span in found[False].active if span.begin is not None] == [(begin, end)]
    assert begin in [span.end for span in found[True].active]
    assert end in [span.begin for span in found[True].active]


def test_another_pump_keeps_the_wear() -> None:
    """Rows in a hole do not make their pump the worn one."""
    other = PumpHistory(now=BEGIN, offset_s=TWO_HOURS_S, pump="222").run(END, EVERY)
    basal = [row(BEGIN + n * timedelta(minutes=30), BERLIN, kind="basal.delivered") for n in range(1, 238)]
    log = log_of(without(pump(), NIGHT), basal, other.events)
    found = TimelineResolver(log, BERLIN).resolve()
    ((rows_of_first, _),) = [(found[each.id].active, each) for each in log.streams() if not each.numbered]
    assert rows_of_first == ()


# --- the result depends only on what is in the log -------------------------------------------------------------------


@st.composite
def _arrivals(draw: st.DrawFn) -> list[list[Event]]:
    rng = random.Random(draw(st.integers(0, 10**6)))
    world = PumpHistory(now=BEGIN, offset_s=TWO_HOURS_S)
    while world.now < END:
        deed = rng.choice(["run", "run", "off", "clock", "quiet"])
        until = world.now + timedelta(hours=rng.uniform(0.5, 12))
        if deed == "off":
            world.now = until
        elif deed == "clock":
            world.set_clock(rng.choice([0, 1, 2, 3]) * 3600)
        else:
            world.run(
                until, EVERY, rng.choice(["basal.delivered", "glucose.reading"]) if deed == "run" else "pump.noted"
            )
    events = [*world.events, *(each for each in rows() if rng.random() < 0.5)]
    pieces: list[list[Event]] = []
    while events:
        at = rng.randrange(len(events))
        size = rng.choice([1, 12, 60, 300])
        pieces.append(events[at : at + size])
        del events[at : at + size]
    return pieces


@settings(max_examples=10, deadline=None)
@given(_arrivals())
def test_holes_do_not_depend_on_the_order(arrivals: list[list[Event]]) -> None:
    """After each arrival, a resolver that saw all of them gives what a new one gives."""
    log = ListLog()
    resolver = TimelineResolver(log, BERLIN)
    for number, events in enumerate(arrivals):
        log.append(events)
        if number % 3 == 0 or number > len(arrivals) - 3:
            assert resolver.resolve() == TimelineResolver(log, BERLIN).resolve()


def test_holes_by_log_and_lists(tmp_path: Path) -> None:
    """The event log finds the same silences as plain lists."""
    body = ev.BasalDelivered(rate_u_per_h=0.8)
    bolus = ev.BolusCompleted(bolus_id=1, status="completed")
    plain = ListLog()
    with EventLog.open(tmp_path, clock=SystemClock(), writable=True) as log:
        for some in (without(pump(), NIGHT, NOON)[::2], rows(), without(pump(), NOON)):
            events = [
                Event(**{name: getattr(each, name) for name in each.__struct_fields__ if name not in ("body", "pos")},
                      body=body if each.kind == "basal.delivered" else bolus)
                for each in some
            ]  # fmt: skip
            log.append(events)
            plain.append(events)
            found = TimelineResolver(log, BERLIN).resolve()
            assert found == TimelineResolver(plain, BERLIN).resolve()
        assert len(next(each.superseded for each in found.values() if each.superseded)) == 2
