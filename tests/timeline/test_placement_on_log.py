"""The placer against the real event log: the same answers as against plain lists."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest
from timeline_world import ListLog, World, row, utc

from tconnectsync import events as ev
from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog
from tconnectsync.events import Event
from tconnectsync.placement import Placement, Placer
from tconnectsync.timeline import Zones

BERLIN = Zones(timezone="Europe/Berlin")
HOUR = 3600


def with_bodies(events: Iterable[Event]) -> list[Event]:
    bodies = {
        "basal.delivered": ev.BasalDelivered(rate_u_per_h=0.8),
        "bolus.completed": ev.BolusCompleted(bolus_id=1, status="completed"),
        "glucose.reading": ev.GlucoseReading(mark="high", reading_time=datetime(2025, 10, 1)),
    }
    return [event if event.body else attrs.evolve(event, body=bodies[event.kind]) for event in events]


def worlds() -> list[Event]:
    old = World(now=utc("2025-10-01"), offset_s=2 * HOUR, pump="111").run(utc("2025-10-28"))
    old.set_clock(1 * HOUR).run(utc("2025-11-10"), timedelta(hours=2))
    old.opened("2025-10-03")
    new = World(now=utc("2025-11-05"), offset_s=1 * HOUR, pump="222").run(utc("2025-11-08"), kind="basal.delivered")
    new.set_clock(-5 * HOUR, between=2).run(utc("2025-11-20"))
    new.upload()
    new.reset().run(utc("2025-11-21"))
    rows = [row(utc("2025-09-01") + n * timedelta(hours=30), BERLIN) for n in range(40)]
    return with_bodies([*old.events, *rows, *new.events])


def by_name(log: EventLog | ListLog, placements: dict[int, Placement]) -> dict[tuple[str, int | None, bool], Placement]:
    return {(each.pump, each.group, each.numbered): placements[each.id] for each in log.streams()}


@pytest.mark.parametrize("size", [50, 5000])
def test_the_event_log_and_plain_lists_give_the_same_placements(tmp_path: Path, size: int) -> None:
    events, plain = worlds(), ListLog()
    with EventLog.open(tmp_path, clock=SystemClock(), writable=True) as log:
        on_log, on_lists = Placer(log, BERLIN), Placer(plain, BERLIN)
        for start in range(0, len(events), size):
            for each, placer in ((log, on_log), (plain, on_lists)):
                each.append(events[start : start + size])
                each.append(placer.pending_facts(utc("2025-11-21")))
            assert by_name(log, on_log.place()) == by_name(plain, on_lists.place())
        assert on_log.status() == on_lists.status()
        assert on_log.messages() == on_lists.messages()
        facts = [(fact.group, fact.body) for fact in log.facts("clock.anchored")]
        assert facts == [(fact.group, fact.body) for fact in plain.facts("clock.anchored")]
        assert Placer(log, BERLIN).pending_facts(utc("2025-11-21")) == []
        assert by_name(log, Placer(log, BERLIN).place()) == by_name(log, on_log.place())
