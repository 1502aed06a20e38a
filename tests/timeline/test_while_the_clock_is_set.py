"""An account names its newest pump time. Between the date and the time that are set, the clock may show hours too many."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import ListLog, PumpHistory, times_of, utc, worst_s

HOUR = 3600
FACTORY = datetime(2020, 1, 1, 18)
"""What a new pump's clock shows: its time of day is later than the one that is set."""


def first_sync(world: PumpHistory, zones: Zones) -> ListLog:
    """One upload, with the latest time that the clock ever showed."""
    world.upload(newest=max(event.pump_time for event in world.events if event.seq is not None))
    log = ListLog()
    log.append(world.events)
    log.append(TimelineResolver(log, zones).pending_facts(world.now + timedelta(minutes=5)))
    return log


def worst(log: ListLog, zones: Zones, world: PumpHistory, first: int = 1) -> float:
    """By how many seconds the time of an event from number ``first`` on is wrong at most."""
    return worst_s(times_of(TimelineResolver(log, zones), log), world.truth, range(first, world.seq + 1))


@pytest.mark.parametrize("between", [0, 5])
@pytest.mark.parametrize("after_h", [1, 4, 12, 30])
@pytest.mark.parametrize(
    ("zone", "left", "away_h", "back", "home_h"),
    [
        ("Australia/Sydney", "2025-10-03T17:01", -7, "2025-10-06T06:22", 11),
        ("Europe/Berlin", "2026-05-05T17:00", -4, "2026-05-10T22:30", 2),
        ("Europe/Berlin", "2026-05-05T17:00", -4, "2026-05-11T01:00", 2),
        ("America/New_York", "2026-05-05T14:00", -16, "2026-05-06T15:30", -4),  # a.m. and p.m. mixed up, and corrected
    ],
)
def test_first_sync_soon_after_the_setting(
    zone: str, left: str, away_h: int, back: str, home_h: int, after_h: int, between: int
) -> None:
    """All times are right, also while the newest time of the account is one that the clock has not reached again."""
    zones = Zones(timezone=zone)
    begin = utc(left) - timedelta(days=4)
    world = PumpHistory(now=begin, offset_s=zones.offset_at(begin)).run(utc(left)).set_clock(away_h * HOUR)
    world.run(utc(back)).set_clock(home_h * HOUR, between=between).run(utc(back) + timedelta(hours=after_h))
    assert worst(first_sync(world, zones), zones, world) <= between + 2


@pytest.mark.parametrize("events_before", [True, False])
def test_new_pump_whose_clock_shows_a_later_hour(events_before: bool) -> None:
    """It is set up at home, in a zone that is configured: nothing is hours early, or of the year of its clock."""
    zones, begin = Zones(timezone="America/New_York"), utc("2026-05-12T13:00")
    world = PumpHistory(now=begin, offset_s=(FACTORY - begin.replace(tzinfo=None)).total_seconds())
    if events_before:
        world.run(begin + timedelta(hours=1), timedelta(minutes=10))
    world.set_clock(-4 * HOUR)
    set_up = world.seq
    world.run(begin + timedelta(hours=4), timedelta(minutes=5))
    log = first_sync(world, zones)
    assert worst(log, zones, world, set_up) <= 2
    for _ in range(30):
        world.run(world.now + timedelta(hours=3), timedelta(minutes=30)).upload()
        log.append(world.events)
        log.append(TimelineResolver(log, zones).pending_facts(world.now))
    assert worst(log, zones, world, set_up) <= 2
