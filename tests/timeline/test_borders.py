"""What lies across a border between a pump's numbered events and its rows without numbers counts once, and whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec
import pytest

from tconnectsync import events as ev
from tconnectsync.events import Event
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.stream_timeline import timeline_from_json, timeline_to_json
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import ListLog, PumpHistory, row, utc

BERLIN = Zones(timezone="Europe/Berlin")
TWO_HOURS_S = 7200
EVERY = timedelta(minutes=5)
BEGIN, HOLE, OVER, END = utc("2025-06-01"), utc("2025-06-02T08:00"), utc("2025-06-02T18:00"), utc("2025-06-03T12:00")
"""The pump's first record, the last one before the hole, the first one after it, the newest."""
BORDER = HOLE + timedelta(seconds=1)
DELIVERED = ev.BasalDelivered(rate_u_per_h=0.8)


class ReadLog(ListLog):
    """Lists that are read like the event log, whose events may be changed."""

    def read(  # type: ignore[override]
        self, stream_id: int, first_key: int, last_key: int, kinds: frozenset[str] | None = None, *, with_raw: bool = True
    ) -> Sequence[Event]:  # fmt: skip
        found = super().read(stream_id, first_key, last_key, kinds)
        return [msgspec.structs.replace(event) for event in found]


def log_of(*rows: Event, records: Iterable[tuple[datetime, str, object]] = ()) -> ReadLog:
    """A log with a pump's records, those of boluses among them, without those of the hole, and the rows."""
    world = PumpHistory(now=BEGIN, offset_s=TWO_HOURS_S)
    waiting = sorted(records, key=lambda each: each[0])
    while world.now < END:
        while waiting and waiting[0][0] <= world.now:
            _, kind, body = waiting.pop(0)
            world.log(kind, body)
        world.now += EVERY
        world.log("basal.delivered", DELIVERED)
    log = ReadLog()
    log.append(event for event in world.events if not HOLE < world.truth[event.seq or 0] < OVER)
    log.append(rows)
    return log


def told(at: datetime, kind: str, body: object) -> Event:
    return msgspec.structs.replace(row(at, BERLIN, kind=kind), body=body)


def rate(at: datetime, rate_u_per_h: float, **length: float) -> Event:
    span_s = round(timedelta(**length).total_seconds())
    return told(at, "basal.delivered", ev.BasalDelivered(rate_u_per_h=rate_u_per_h, span_s=span_s))


def streams(log: ReadLog) -> tuple[EventStream, EventStream]:
    """The numbered stream and the rows."""
    found = TimelineResolver(log, BERLIN).resolve()
    numbered, rows = (next(each for each in log.streams() if each.numbered == wanted) for wanted in (True, False))
    return EventStream(log, numbered, found[numbered.id]), EventStream(log, rows, found[rows.id])  # type: ignore[arg-type]


def read(stream: EventStream, *kinds: str) -> list[Event]:
    return list(stream.read(stream.stream.first_key, stream.stream.last_key, frozenset(kinds)))


# --- a rate that goes on ----------------------------------------------------------------------------------------------


def test_rate_goes_on_behind_the_border() -> None:
    """It has the length that is left, and the hand-over comes before it."""
    log = log_of(rate(HOLE - timedelta(minutes=20), 0.9, hours=6), rate(HOLE + timedelta(hours=6), 0.7, hours=1))
    _, rows = streams(log)
    first, second = read(rows, "basal.delivered")
    assert (first.at, first.body.rate_u_per_h) == (BORDER, 0.9)
    assert first.body.span_s == 6 * 3600 - 20 * 60 - 1
    assert second.at == HOLE + timedelta(hours=6)
    key = next(key for key, at, kind in rows.hand_overs if (at, kind) == (BORDER, "wear.began"))
    assert key == rows.stream.first_key


def test_rate_that_just_ends_is_left() -> None:
    """The last record's own rate lasts as long as that."""
    log = log_of(rate(HOLE - timedelta(minutes=20), 0.9, minutes=30), rate(OVER - timedelta(hours=1), 0.7, hours=3))
    (only,) = read(streams(log)[1], "basal.delivered")
    assert only.at == OVER - timedelta(hours=1)


def test_rate_that_ends_with_the_last_records() -> None:
    """It ends when the last record's rate is no longer confirmed, and goes on: nothing is missing between."""
    log = log_of(rate(BORDER - timedelta(hours=1), 0.9, minutes=75), rate(OVER - timedelta(hours=1), 0.7, hours=3))
    assert [event.at for event in read(streams(log)[1], "basal.delivered")] == [BORDER, OVER - timedelta(hours=1)]


def test_only_the_last_rate_goes_on() -> None:
    log = log_of(rate(HOLE - timedelta(hours=9), 0.9, hours=30), rate(HOLE - timedelta(hours=1), 0.5, hours=4))
    (only,) = read(streams(log)[1], "basal.delivered")
    assert only.body.rate_u_per_h == 0.5


def test_last_row_goes_on_after_the_newest_record() -> None:
    """The rows need not begin after the newest record."""
    log = log_of(rate(END - timedelta(minutes=20), 0.9, hours=6))
    (only,) = read(streams(log)[1], "basal.delivered")
    assert only.at == END + timedelta(seconds=1)


def test_impossible_length_does_not_go_on() -> None:
    """Neither does it count as the end of the rows."""
    forever = [rate(END - timedelta(hours=hours), 0.9, hours=10_000_000) for hours in (30, 1)]
    _, rows = streams(log_of(*forever))
    assert read(rows, "basal.delivered") == []
    assert rows.timeline.superseded[-1].end == END - timedelta(hours=1) + timedelta(seconds=1)


def test_suspension_goes_on() -> None:
    stop = told(HOLE - timedelta(minutes=20), "pumping.suspended", ev.PumpingSuspended(reason="user"))
    go = told(HOLE + timedelta(hours=1), "pumping.resumed", ev.PumpingResumed())
    found = read(streams(log_of(stop, go, rate(BEGIN, 0.5, hours=1)))[1], "pumping.suspended", "pumping.resumed")
    assert [event.at for event in found] == [BORDER, HOLE + timedelta(hours=1)]


# --- a bolus ----------------------------------------------------------------------------------------------------------


def bolus_rows(end: datetime | None) -> list[Event]:
    """A row of an extended bolus that began ten minutes before the hole, and ended at ``end`` (None: it does not say)."""
    began = HOLE - timedelta(minutes=10)
    split = ev.BolusRequested(
        bolus_id=7, part=2, options="extended", immediate_percent=50.0, extended_duration_min=60.0
    )
    done = ev.BolusCompleted(bolus_id=7, status="completed", delivered_u=2.0)
    later = ev.BolusExtendedCompleted(bolus_id=7, status="completed", delivered_u=3.0)
    found = [
        told(began, "bolus.requested", split),
        told(began + timedelta(minutes=2), "bolus.completed", done),
        told(began + timedelta(minutes=2), "bolus.extended_started", ev.BolusExtendedStarted(bolus_id=7, size_u=3.0)),
    ]
    return found if end is None else [*found, told(end, "bolus.extended_completed", later)]


BEGUN = (
    (HOLE - timedelta(minutes=10), "bolus.requested", ev.BolusRequested(bolus_id=7, part=3, total_u=5.0)),
    (
        HOLE - timedelta(minutes=5),
        "bolus.completed",
        ev.BolusCompleted(bolus_id=7, status="completed", delivered_u=2.0),
    ),
    (HOLE - timedelta(minutes=5), "bolus.extended_started", ev.BolusExtendedStarted(bolus_id=7, size_u=3.0)),
)
ENDED = (
    OVER + timedelta(minutes=5),
    "bolus.extended_completed",
    ev.BolusExtendedCompleted(bolus_id=7, status="completed", delivered_u=3.0),
)
BOLUS = ("bolus.requested", "bolus.completed", "bolus.extended_started", "bolus.extended_completed")
AFTER = HOLE + timedelta(minutes=50)


@pytest.mark.parametrize("rows_first", [True, False])
def test_bolus_that_the_rows_have_whole(rows_first: bool) -> None:
    """All of it is theirs, also what is before the border, and none of it the records'. Other boluses stay."""
    other = (HOLE - timedelta(minutes=15), "bolus.completed", ev.BolusCompleted(bolus_id=6, status="completed"))
    log = log_of(*bolus_rows(AFTER), records=(other, *BEGUN))
    if rows_first:
        events, log = log.records, ReadLog()
        log.append(sorted(events, key=lambda event: event.seq is not None))
    numbered, rows = streams(log)
    assert [event.kind for event in read(rows, *BOLUS)] == [event.kind for event in bolus_rows(AFTER)]
    assert [event.body.bolus_id for event in read(numbered, *BOLUS)] == [6]


def test_bolus_that_the_records_have_whole() -> None:
    """Beside a hole, a row that is an hour late, because the clock was not set yet, moves no dose that the records have right."""
    at = HOLE - timedelta(minutes=25)
    asked = ev.BolusRequested(bolus_id=7, part=3, total_u=2.0)
    done = ev.BolusCompleted(bolus_id=7, status="completed", delivered_u=2.0)
    late = [
        told(at + timedelta(hours=1), "bolus.requested", asked),
        told(at + timedelta(minutes=62), "bolus.completed", done),
    ]
    whole = ((at, "bolus.requested", asked), (at + timedelta(minutes=5), "bolus.completed", done))
    numbered, rows = streams(log_of(*late, records=whole))
    assert [event.kind for event in read(numbered, *BOLUS)] == ["bolus.requested", "bolus.completed"]
    assert read(rows, *BOLUS) == []


def test_bolus_that_the_rows_do_not_end() -> None:
    """Then the pump's own records count, and nothing of the rows."""
    begun = bolus_rows(None)
    moved = [
        told(OVER - timedelta(minutes=10) + n * timedelta(minutes=1), event.kind, event.body)
        for n, event in enumerate(begun)
    ]
    log = log_of(*moved, records=(ENDED,))
    numbered, rows = streams(log)
    assert read(rows, *BOLUS) == []
    assert [event.kind for event in read(numbered, *BOLUS)] == ["bolus.extended_completed"]


def test_bolus_that_the_records_lack_is_whole() -> None:
    """Its request is before the border, its end behind it."""
    numbered, rows = streams(log_of(*bolus_rows(AFTER)))
    assert len(read(rows, *BOLUS)) == 4
    assert read(numbered, *BOLUS) == []


def test_bolus_far_from_a_border_is_the_records() -> None:
    early = HOLE - timedelta(hours=8)
    moved = [told(event.received_at - timedelta(hours=8), event.kind, event.body) for event in bolus_rows(AFTER)]
    done = (early, "bolus.completed", ev.BolusCompleted(bolus_id=7, status="completed", delivered_u=2.0))
    numbered, rows = streams(log_of(*moved, rate(OVER, 0.5, hours=1), records=(done,)))
    assert read(rows, *BOLUS) == []
    assert len(read(numbered, *BOLUS)) == 1


def test_id_of_two_boluses_decides_nothing() -> None:
    """Then each record counts by its own time."""
    again = [told(event.received_at + timedelta(hours=2), event.kind, event.body) for event in bolus_rows(AFTER)]
    numbered, rows = streams(log_of(*bolus_rows(AFTER), *again, records=BEGUN))
    assert len(read(numbered, *BOLUS)) == 3
    assert all(event.at is not None and event.at > HOLE for event in read(rows, *BOLUS))


# --- what is stored, and what changes ---------------------------------------------------------------------------------


def test_borders_are_stored_and_compared() -> None:
    log = log_of(*bolus_rows(AFTER), rate(HOLE - timedelta(minutes=20), 0.9, hours=6), records=BEGUN)
    for stream in streams(log):
        timeline = stream.timeline
        assert timeline.boluses
        assert timeline_from_json(timeline_to_json(timeline)) == timeline
        before = msgspec.structs.replace(timeline, carried=(), boluses=())
        changed = timeline.changed_keys(before, log, stream.stream)  # type: ignore[arg-type]
        for bolus in timeline.boluses:
            assert any(first <= bolus.first_key and bolus.last_key <= last for first, last in changed)
        for carried in timeline.carried:
            assert any(first <= carried.key <= last for first, last in changed)


def test_a_later_end_changes_the_side() -> None:
    """An export that knows the end comes after one that does not: a resolver that saw both decides as a new one."""
    log = log_of(*bolus_rows(None), rate(OVER - timedelta(hours=1), 0.5, hours=1), records=BEGUN)
    resolver = TimelineResolver(log, BERLIN)
    resolver.resolve()
    assert len(read(streams(log)[0], *BOLUS)) == 3
    log.append(bolus_rows(AFTER))
    assert resolver.resolve() == TimelineResolver(log, BERLIN).resolve()
    assert read(streams(log)[0], *BOLUS) == []
