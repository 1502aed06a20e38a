"""The first read of a history while the wearer is abroad, or while the pump's clock is days off."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from tconnectsync.timeline.clock_settings import ClockSetting, steps_of
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.utc_offsets import half_hours_s
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import ListLog, PumpHistory, placed_times, times_of, utc, worst_s

HOUR = 3600
NEW_YORK = Zones(timezone="America/New_York")
BERLIN = Zones(timezone="Europe/Berlin")


def abroad(
    away_h: float, *, at: str = "2025-06-10T23:00", time_first: bool, between: int = 0, rtc: bool = True
) -> PumpHistory:
    """A week at home in New York, a flight, and the clock set for it."""
    world = PumpHistory(now=utc("2025-06-03"), offset_s=-4 * HOUR, rtc=rtc).run(utc(at))
    world.set_clock(away_h * HOUR, time_first=time_first, between=between)
    world.run(world.now + timedelta(days=1))
    return world


def first_sync(world: PumpHistory, lag: timedelta = timedelta(minutes=4)) -> ListLog:
    world.upload(lag)
    log = ListLog()
    log.append(world.events)
    return log


@pytest.mark.parametrize("between", [0, 7, 300])
@pytest.mark.parametrize("rtc", [True, False])
@pytest.mark.parametrize("time_first", [True, False])
@pytest.mark.parametrize("away_h", [2, 9, -10])
@pytest.mark.parametrize("hour", [0, 4, 13, 16, 20, 23])
def test_abroad_by_one_upload(hour: int, away_h: float, time_first: bool, rtc: bool, between: int) -> None:
    """Over midnight or not; up to five minutes between the two records."""
    world = abroad(away_h, at=f"2025-06-10T{hour:02}:00", time_first=time_first, between=between, rtc=rtc)
    assert worst_s(placed_times(first_sync(world), NEW_YORK), world.truth) <= 2


@pytest.mark.parametrize("time_first", [True, False])
def test_flight_after_the_first_sync(time_first: bool) -> None:
    """It is right without an upload."""
    world = PumpHistory(now=utc("2025-06-03"), offset_s=-4 * HOUR).run(utc("2025-06-10T23:00"))
    log = ListLog()
    log.append(world.events)
    placer = TimelineResolver(log, NEW_YORK)
    log.append(placer.pending_facts(world.now))
    world.set_clock(2 * HOUR, time_first=time_first, between=3).run(utc("2025-06-15"))
    log.append(world.events)
    assert worst_s(times_of(placer, log), world.truth) <= 2


def test_a_time_and_a_date_are_one_step_in_either_order() -> None:
    day = datetime(2025, 6, 1, 1)
    late = ClockSetting(key=1, part="time", pump_time=day, step_s=-18 * 3600.0, rtc_ms=1000)
    date = ClockSetting(key=2, part="date", pump_time=day + timedelta(days=1), step_s=86400.0, rtc_ms=3000)
    (step,) = steps_of([late, date])
    assert (step.key, step.done_key, half_hours_s(step.exact_s), step.first_s, step.wall) == (
        1, 2, 6 * HOUR, -18 * HOUR, day + timedelta(days=1),
    )  # fmt: skip


def test_time_set_before_date_and_time() -> None:
    """It is a step of its own."""
    day = datetime(2025, 6, 1, 12)
    parts = [("time", 300.0), ("date", 0.0), ("time", 3600.0)]
    sets = [
        ClockSetting(key=i, part=part, pump_time=day, step_s=step_s, rtc_ms=1000 * i)
        for i, (part, step_s) in enumerate(parts)
    ]
    assert [(step.key, step.done_key, step.exact_s) for step in steps_of(sets)] == [(0, 0, 300.0), (1, 2, 3600.0)]


def test_pump_from_elsewhere() -> None:
    """One upload is enough if it was always in another zone."""
    world = PumpHistory(now=utc("2025-06-03"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    log = first_sync(world)
    placer = TimelineResolver(log, NEW_YORK)
    assert worst_s(times_of(placer, log), world.truth) == 0
    (fact,) = placer.pending_facts(world.now)
    assert (fact.body.offset_min, fact.body.basis) == (120, "evidence")


def test_a_late_phone_does_not_make_it_abroad() -> None:
    world = PumpHistory(now=utc("2025-06-03"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    assert worst_s(placed_times(first_sync(world, timedelta(hours=6)), BERLIN), world.truth) == 0


@pytest.mark.parametrize("drift_min", [-20, -9, 9, 20])
@pytest.mark.parametrize("setting", [True, False])
@pytest.mark.parametrize("month", [1, 6])
def test_clock_off_by_minutes(month: int, setting: bool, drift_min: int) -> None:
    """The upload seems to have events from the future: that is the clock, not summer time."""
    home_s = BERLIN.offset_at(utc(f"2025-{month:02}-03"))
    world = PumpHistory(now=utc(f"2025-{month:02}-03"), offset_s=home_s)
    if setting:
        world.set_clock(home_s)
    world.run(utc(f"2025-{month:02}-08")).drift(drift_min * 60).run(utc(f"2025-{month:02}-10"))
    assert worst_s(placed_times(first_sync(world), BERLIN), world.truth) <= abs(drift_min) * 60 + 2


@pytest.mark.parametrize("ahead_min", range(60))
def test_clock_ahead_by_any_minutes(ahead_min: int) -> None:
    """The times are always known: no minute is between two rules. Up to 25 minutes are drift, more are another hour."""
    world = PumpHistory(now=utc("2025-06-03"), offset_s=2 * HOUR).run(utc("2025-06-08"))
    world.drift(ahead_min * 60).run(utc("2025-06-10"))
    placed = placed_times(first_sync(world), BERLIN)
    assert worst_s(placed, world.truth) <= (60 * ahead_min if ahead_min < 25 else HOUR) + 2


@pytest.mark.parametrize("ahead_days", [1, 3, 400])
def test_clock_of_no_offset(ahead_days: int) -> None:
    """Documents wait, and the message says what to do."""
    world = PumpHistory(now=utc("2025-06-03"), offset_s=2 * HOUR + ahead_days * 86400).run(utc("2025-06-10"))
    log = first_sync(world)
    placer = TimelineResolver(log, BERLIN)
    assert set(times_of(placer, log).values()) == {None}
    assert placer.pending_facts(world.now + timedelta(days=2)) == []
    (words,) = placer.messages()
    assert "documents wait" in words
    assert "`tconnectsync sync`" in words
    world.set_clock(2 * HOUR).run(utc("2025-06-12"))
    log.append(world.events)
    log.append(placer.pending_facts(world.now))
    assert worst_s(times_of(placer, log), world.truth) <= 2
    assert not any("wait" in words for words in placer.messages())


def test_clock_set_days_ahead() -> None:
    """It keeps its offset if it was known before."""
    world = PumpHistory(now=utc("2025-06-03"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    log = first_sync(world)
    placer = TimelineResolver(log, BERLIN)
    log.append(placer.pending_facts(world.now))
    world.set_clock(2 * HOUR + 5 * 86400).run(utc("2025-06-11")).upload()
    log.append(world.events)
    assert worst_s(times_of(placer, log), world.truth) <= 2
