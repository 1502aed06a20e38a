"""The placer against the real event log: the same answers as against plain lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from tconnectsync import events as ev
from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog
from tconnectsync.events import Event
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.stream_timeline import StreamTimeline
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import ListLog, PumpHistory, row, utc

BERLIN = Zones(timezone="Europe/Berlin")
HOUR = 3600


def with_bodies(events: Iterable[Event]) -> list[Event]:
    bodies = {
        "basal.delivered": ev.BasalDelivered(rate_u_per_h=0.8),
        "bolus.completed": ev.BolusCompleted(bolus_id=1, status="completed"),
        "glucose.reading": ev.GlucoseReading(mark="high", reading_time=datetime(2025, 10, 1)),
    }
    return [event if event.body else msgspec.structs.replace(event, body=bodies[event.kind]) for event in events]


def worlds() -> list[Event]:
    old = PumpHistory(now=utc("2025-10-01"), offset_s=2 * HOUR, pump="111").run(utc("2025-10-28"))
    old.set_clock(1 * HOUR).run(utc("2025-11-10"), timedelta(hours=2))
    old.opened("2025-10-03")
    new = PumpHistory(now=utc("2025-11-05"), offset_s=1 * HOUR, pump="222").run(
        utc("2025-11-08"), kind="basal.delivered"
    )
    new.set_clock(-5 * HOUR, between=2).run(utc("2025-11-20"))
    new.upload()
    new.reset().run(utc("2025-11-21"))
    rows = [row(utc("2025-09-01") + n * timedelta(hours=30), BERLIN) for n in range(40)]
    return with_bodies([*old.events, *rows, *new.events])


def by_name(
    log: EventLog | ListLog, placements: dict[int, StreamTimeline]
) -> dict[tuple[str, int | None, bool], StreamTimeline]:
    return {(each.pump, each.group, each.numbered): placements[each.id] for each in log.streams()}


@pytest.mark.parametrize("size", [50, 5000])
def test_log_and_lists_agree(tmp_path: Path, size: int) -> None:
    """The event log and plain lists give the same placements."""
    events, plain = worlds(), ListLog()
    with EventLog.open(tmp_path, clock=SystemClock(), writable=True) as log:
        on_log, on_lists = TimelineResolver(log, BERLIN), TimelineResolver(plain, BERLIN)
        for start in range(0, len(events), size):
            for each, placer in ((log, on_log), (plain, on_lists)):
                each.append(events[start : start + size])
                each.append(placer.pending_facts(utc("2025-11-21")))
            assert by_name(log, on_log.resolve()) == by_name(plain, on_lists.resolve())
        assert on_log.status() == on_lists.status()
        assert on_log.messages() == on_lists.messages()
        facts = [(fact.group, fact.body) for fact in log.facts("clock.anchored")]
        assert facts == [(fact.group, fact.body) for fact in plain.facts("clock.anchored")]
        assert TimelineResolver(log, BERLIN).pending_facts(utc("2025-11-21")) == []
        assert by_name(log, TimelineResolver(log, BERLIN).resolve()) == by_name(log, on_log.resolve())


def test_newest_data_is_of_the_pump(tmp_path: Path) -> None:
    """Settings are stamped by the account, and a record that cannot be read is no data yet."""
    world = PumpHistory(now=utc("2025-10-01"), offset_s=2 * HOUR).run(utc("2025-10-03"))
    newest = world.now
    world.now += timedelta(hours=4)
    broken = world.log("unknown", ev.Unknown(code="279", reason="commandedRate is missing"))
    settings = msgspec.structs.replace(
        broken, id="s", kind="settings.captured", group=None, seq=None, pump_time=datetime(2025, 10, 3, 6),
        body=ev.SettingsCaptured(settings_hash="A", details={}),
    )  # fmt: skip
    with EventLog.open(tmp_path, clock=SystemClock(), writable=True) as log:
        log.append(with_bodies([*world.events, settings]))
        found = TimelineResolver(log, BERLIN).status()["111"]
        assert (found["newest_event"], found["worn"], found["clock_offset_minutes"]) == (newest, True, 120)


@pytest.mark.parametrize("zone", ["America/New_York", "Europe/Berlin", "Pacific/Auckland"])
def test_settings_begin_no_later_than_they_came(tmp_path: Path, zone: str) -> None:
    """An earlier release kept the account's stamp, which is UTC, as if the pump had said it."""
    came = utc("2025-10-03")
    event = Event(
        id="s", kind="settings.captured", pump="111", group=None, seq=None, pump_time=datetime(2025, 10, 2, 23, 50),
        source="tandem", received_at=came, body=ev.SettingsCaptured(settings_hash="A", details={}),
    )  # fmt: skip
    with EventLog.open(tmp_path, clock=SystemClock(), writable=True) as log:
        log.append([event])
        (stored,) = log.streams()
        stream = EventStream(log, stored, TimelineResolver(log, Zones(timezone=zone)).resolve()[stored.id])
        (seen,) = stream.read(stored.first_key, stored.last_key, frozenset({"settings.captured"}))
        assert seen.at is not None
        assert seen.at <= came


def test_times_alone_as_whole_events(tmp_path: Path) -> None:
    """Events that are read for their times alone have the place and the time that they have when they are read whole."""
    every, some = frozenset({"basal.delivered", "bolus.completed", "glucose.reading"}), frozenset({"basal.delivered"})
    with EventLog.open(tmp_path, clock=SystemClock(), writable=True) as log:
        log.append(worlds())
        timelines = TimelineResolver(log, BERLIN).resolve()
        for stored in log.streams():
            stream = EventStream(log, stored, timelines[stored.id])
            whole = stream.read(stored.first_key, stored.last_key, every)
            quick = stream.read(stored.first_key, stored.last_key, some, every - some)
            assert [_place(event) for event in quick] == [_place(event) for event in whole]
            assert [event for event in quick if event.kind in some] == [event for event in whole if event.kind in some]
            assert stream.numbered == any(event.body is None for event in quick)


def _place(event: Event) -> tuple[object, ...]:
    return event.kind, event.pump, event.group, event.seq, event.pump_time, event.at
