"""A phone that uploads every few minutes proves an offset as well as one that uploads every hour."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import ListLog, PumpHistory, times_of, utc, worst_s

NEW_YORK = Zones(timezone="America/New_York")


@pytest.mark.parametrize("every_min", [5, 20, 60])
@pytest.mark.parametrize(("clock_h", "late_h", "days"), [(2, 7, 2), (-5, 3, 5)])
def test_wrong_offset_is_corrected(clock_h: int, late_h: int, days: int, every_min: int) -> None:
    """The first upload came late, so another offset was chosen; two days later, or four, all times are right."""
    every = timedelta(minutes=every_min)
    world = PumpHistory(now=utc("2026-06-01"), offset_s=clock_h * 3600).run(utc("2026-06-03"))
    world.upload(timedelta(hours=late_h))
    log = ListLog()
    resolver = TimelineResolver(log, NEW_YORK)
    log.append(world.events)
    log.append(resolver.pending_facts(world.now))
    assert worst_s(times_of(resolver, log), world.truth) >= 3600
    world.now += timedelta(hours=late_h)
    end = world.now + timedelta(days=days)
    while world.now < end:
        begin = len(world.events)
        for _ in range(timedelta(hours=6) // every):
            world.run(world.now + every, every).upload(timedelta(minutes=2))
        log.append(world.events[begin:])
        log.append(resolver.pending_facts(world.now))
    assert worst_s(times_of(resolver, log), world.truth) <= 2
