"""Known worlds in, UTC out: every event is compared with its real time."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from tconnectsync.timeline.clock_settings import ClockSetting, steps_of
from tconnectsync.timeline.pump_clock import components_of, drift_message
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.utc_offsets import half_hours_s
from tconnectsync.timeline.zones import UTC, Zones
from tests.timeline.harness import EPOCH, ListLog, PumpHistory, placed_times, times_of, utc, worst_s

HOUR = 3600
BERLIN = Zones(timezone="Europe/Berlin")
DRIFT_OK = 90.0
"""Seconds a time may be off where the pump's clock itself had drifted."""


def error_s(world: PumpHistory, zones: Zones = BERLIN) -> float:
    log = ListLog()
    log.append(world.events)
    return worst_s(placed_times(log, zones), world.truth)


@pytest.mark.parametrize("hours_after", [-30, -14, 0, 1, 12, 48, 24 * 30])
@pytest.mark.parametrize(
    ("zone", "begin", "change", "before_h", "after_h"),
    [
        ("Europe/Berlin", "2025-10-01", "2025-10-26T01:00", 2, 1),
        ("Europe/Berlin", "2025-03-01", "2025-03-30T01:00", 1, 2),
        ("America/New_York", "2025-10-10", "2025-11-02T06:00", -4, -5),
        ("Australia/Sydney", "2025-09-10", "2025-10-04T16:00", 10, 11),
        ("Australia/Sydney", "2025-03-10", "2025-04-05T16:00", 11, 10),
        ("Australia/Lord_Howe", "2025-09-10", "2025-10-04T15:30", 10.5, 11),
    ],
)
def test_daylight_saving_followed_late(
    zone: str, begin: str, change: str, before_h: float, after_h: float, hours_after: int
) -> None:
    """It is right whenever the wearer sets the clock."""
    world = PumpHistory(now=utc(begin), offset_s=before_h * HOUR)
    at = utc(change) + timedelta(hours=hours_after)
    world.run(at).set_clock(after_h * HOUR, between=2).run(at + timedelta(days=40))
    assert error_s(world, Zones(timezone=zone)) <= 2


def test_daylight_saving_never_followed() -> None:
    """The clock keeps its offset."""
    world = PumpHistory(now=utc("2025-10-01"), offset_s=2 * HOUR).run(utc("2026-02-01"))
    assert error_s(world) == 0


def test_the_hour_that_happens_twice_has_each_event_once() -> None:
    world = PumpHistory(now=utc("2025-10-25T20:00"), offset_s=2 * HOUR)
    world.run(utc("2025-10-26T00:52"), timedelta(minutes=5)).set_clock(1 * HOUR)
    world.run(utc("2025-10-26T03:00"), timedelta(minutes=5))
    log = ListLog()
    log.append(world.events)
    found = placed_times(log, BERLIN)
    assert worst_s(found, world.truth) <= 2
    assert len(set(found.values())) == len(found)


def test_set_back_in_repeated_hour() -> None:
    """The second run of that hour counts."""
    world = PumpHistory(now=utc("2025-10-26T01:20"), offset_s=2 * HOUR).set_clock(1 * HOUR).run(utc("2025-10-27"))
    assert error_s(world) <= 2


@pytest.mark.parametrize("away_h", [-5, 9, 5.5, 5.75, 0])
def test_a_flight_and_the_way_back(away_h: float) -> None:
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    world.set_clock(away_h * HOUR).run(utc("2025-06-20")).set_clock(2 * HOUR).run(utc("2025-07-01"))
    assert error_s(world) <= 2


def test_flight_after_first_anchor() -> None:
    """The past does not change."""
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    log = ListLog()
    log.append(world.events)
    placer = TimelineResolver(log, BERLIN)
    log.append(placer.pending_facts(world.now))
    world.set_clock(-4 * HOUR).run(utc("2025-06-20"))
    log.append(world.events)
    assert worst_s(times_of(placer, log), world.truth) <= 2
    assert worst_s(placed_times(log, BERLIN), world.truth) <= 2
    assert placer.pending_facts(world.now) == []


@pytest.mark.parametrize("days", [31, 1, -1, -31, -365])
def test_a_date_set_wrong_and_corrected(days: int) -> None:
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    world.set_clock(2 * HOUR + days * 86400).run(utc("2025-06-12"))
    world.set_clock(2 * HOUR).run(utc("2025-06-20"))
    assert error_s(world) <= 2


def test_date_a_day_ahead() -> None:
    """It does not move the past."""
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).set_clock(2 * HOUR).run(utc("2025-06-10"))
    world.set_clock(2 * HOUR + 86400).run(utc("2025-06-12"))
    world.upload()
    assert error_s(world) <= 2


def test_drift_that_is_corrected_is_no_step() -> None:
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    world.drift(61).set_clock(2 * HOUR).run(utc("2025-06-20"))
    assert error_s(world) <= 61


@pytest.mark.parametrize("drift_s", [-55, 40])
def test_monthly_corrections(drift_s: int) -> None:
    """A minute each month for two years does not add up."""
    world = PumpHistory(now=utc("2024-01-10"), offset_s=1 * HOUR)
    world.set_clock(1 * HOUR)
    for month in range(24):
        world.run(utc("2024-01-10") + timedelta(days=30 * month + 29), timedelta(days=1))
        world.drift(drift_s).log()
        world.set_clock(BERLIN.offset_at(world.now))
    assert error_s(world) <= abs(drift_s) + 2


def test_a_change_of_the_hour_that_puts_drift_right_too() -> None:
    """As captured: 16:27:58.139 became 15:27:37, an hour and 21 seconds of drift."""
    world = PumpHistory(now=utc("2025-10-20"), offset_s=2 * HOUR + 21).run(utc("2025-11-02T14:27:37"))
    world.set_clock(1 * HOUR).run(utc("2025-11-20"))
    assert error_s(world) <= 23


def test_between_date_and_time_only_the_date_is_new() -> None:
    world = PumpHistory(now=utc("2025-06-09T21:30"), offset_s=2 * HOUR).run(utc("2025-06-10T21:30"))
    world.set_clock(9 * HOUR, between=3).run(utc("2025-06-12"))
    world.set_clock(2 * HOUR, between=3).run(utc("2025-06-13"))
    assert error_s(world) <= 2


def test_without_the_counter_a_pair_is_known_by_its_times() -> None:
    world = PumpHistory(now=utc("2025-06-09T21:30"), offset_s=2 * HOUR + 50, rtc=False).run(utc("2025-06-10T21:30"))
    world.set_clock(9 * HOUR, between=3).run(utc("2025-06-12"))
    world.set_clock(2 * HOUR).run(utc("2025-06-13"))
    assert error_s(world) <= DRIFT_OK


def test_the_counter_may_wrap_within_a_pair() -> None:
    day = datetime(2025, 6, 1, 12)
    sets = [
        ClockSetting(key=1, part="date", pump_time=day, step_s=0.0, rtc_ms=(1 << 32) - 500),
        ClockSetting(key=2, part="time", pump_time=day + timedelta(hours=1), step_s=3600.0, rtc_ms=400),
    ]
    assert [(step.key, step.done_key, half_hours_s(step.exact_s)) for step in steps_of(sets)] == [(1, 2, 3600)]


def test_record_far_behind_date_change() -> None:
    """It is a step of its own."""
    day = datetime(2025, 6, 1, 12)
    sets = [
        ClockSetting(key=1, part="date", pump_time=day, step_s=86400.0, rtc_ms=1000),
        ClockSetting(key=2, part="time", pump_time=day + timedelta(hours=2), step_s=3600.0, rtc_ms=3_600_000),
    ]
    assert [(step.key, half_hours_s(step.exact_s), step.first_s) for step in steps_of(sets)] == [
        (1, 86400, None),
        (2, 3600, None),
    ]


def test_reset_and_set_again() -> None:
    """Events between both have a place."""
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    world.reset().run(utc("2025-06-10T07:23:45"), timedelta(minutes=7))
    log = ListLog()
    log.append(world.events)
    reset_at = next(key for key, at in world.truth.items() if at > utc("2025-06-10T00:01"))
    before = placed_times(log, BERLIN)
    assert [key for key, at in before.items() if at is None] == list(range(reset_at, world.seq + 1))
    assert any("Set the date and time on the pump" in words for words in TimelineResolver(log, BERLIN).messages())
    world.set_clock(2 * HOUR).run(utc("2025-06-20"))
    log.append(world.events)
    assert worst_s(placed_times(log, BERLIN), world.truth) <= 2


def test_reset_and_set_before_anything_else_was_logged() -> None:
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    world.reset().set_clock(2 * HOUR).run(utc("2025-06-20"))
    log = ListLog()
    log.append(world.events)
    first_set = next(event.seq for event in world.events if event.kind == "clock.changed")
    assert first_set is not None
    found = placed_times(log, BERLIN)
    assert worst_s(found, world.truth, [key for key in world.truth if key < first_set]) == 0
    assert worst_s(found, world.truth, [key for key in world.truth if key > first_set]) <= 2


def test_a_new_pump_with_a_factory_date() -> None:
    world = PumpHistory(now=utc("2025-07-20T02:00"), offset_s=0.0).reset(datetime(2020, 1, 12, 3, 17, 21))
    world.run(utc("2025-07-20T02:38:28"), timedelta(minutes=2)).set_clock(-7 * HOUR).run(utc("2025-07-30"))
    assert error_s(world, Zones(timezone="America/Los_Angeles")) <= 2


def test_setting_missing_in_log() -> None:
    """Events after it wait for its record."""
    world = PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR).run(utc("2025-06-10"))
    world.set_clock(-5 * HOUR).run(utc("2025-06-12"))
    log = ListLog()
    log.append(event for event in world.events if event.kind != "clock.changed")
    placer = TimelineResolver(log, BERLIN)
    assert None in times_of(placer, log).values()
    log.append(placer.pending_facts(world.now))
    log.append(world.events)
    assert worst_s(times_of(placer, log), world.truth) <= 2


@pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Eucla", "America/St_Johns"])
def test_zones_that_are_not_on_the_hour(zone: str) -> None:
    zones = Zones(timezone=zone)
    world = PumpHistory(now=utc("2025-06-01"), offset_s=zones.offset_at(utc("2025-06-01"))).run(utc("2025-06-10"))
    assert error_s(world, zones) == 0


def test_a_dated_move_holds_from_its_day() -> None:
    zones = Zones(timezone="Europe/Berlin", moves=((date(2025, 6, 1), "America/New_York"),))
    world = PumpHistory(now=utc("2025-05-01"), offset_s=2 * HOUR).run(utc("2025-06-01T14:00"))
    world.set_clock(-4 * HOUR).run(utc("2025-11-03"))
    world.set_clock(-5 * HOUR).run(utc("2025-12-01"))
    assert error_s(world, zones) <= 2


def test_history_begins_in_another_zone() -> None:
    """Only today's zone is configured."""
    world = PumpHistory(now=utc("2025-05-01"), offset_s=2 * HOUR).run(utc("2025-06-01"))
    world.set_clock(-4 * HOUR).run(utc("2025-07-01"))
    assert error_s(world, Zones(timezone="America/New_York")) <= 2


def test_move_added_later() -> None:
    """The pump was bought after the move; `timezone` still named the old home."""
    world = PumpHistory(now=utc("2025-06-05"), offset_s=-4 * HOUR).run(utc("2025-06-20"))
    log = ListLog()
    log.append(world.events)
    log.append(TimelineResolver(log, BERLIN).pending_facts(world.now))
    assert worst_s(placed_times(log, BERLIN), world.truth) == 6 * HOUR
    moved = Zones(timezone="Europe/Berlin", moves=((date(2025, 6, 1), "America/New_York"),))
    log.append(TimelineResolver(log, moved).pending_facts(world.now))
    assert worst_s(placed_times(log, moved), world.truth) == 0
    later = Zones(timezone="Europe/Berlin", moves=(*moved.moves, (date(2025, 6, 19), "Asia/Tokyo")))
    assert TimelineResolver(log, later).pending_facts(world.now) == []
    assert worst_s(placed_times(log, later), world.truth) == 0


def test_a_pump_an_hour_ahead_is_named_with_its_day() -> None:
    words = drift_message("111", offset_s=2 * HOUR, zones=BERLIN, newest=utc("2025-11-20"))
    assert words is not None
    assert words.startswith("The clock of pump 111 seems to have been 1 h ahead since 26 October.")
    assert drift_message("111", offset_s=1 * HOUR, zones=BERLIN, newest=utc("2025-11-20")) is None


@pytest.mark.parametrize("offset_s", [2 * HOUR + 900, HOUR - 1800, 26 * HOUR])
def test_no_zone_is_advised_for_an_offset_that_no_zone_has(offset_s: int) -> None:
    words = drift_message("111", offset_s=offset_s, zones=BERLIN, newest=utc("2025-11-20"))
    assert words is not None
    assert "Set the pump's clock" in words
    assert "zone" not in words


def test_a_clock_behind_since_it_was_set() -> None:
    words = drift_message("111", offset_s=-5 * HOUR, zones=BERLIN, newest=utc("2025-01-20"), since=utc("2024-12-24"))
    assert words is not None
    assert "seems to have been 6 h behind since 23 December 2024" in words


def test_anchor_on_half_a_setting() -> None:
    """It stays valid behind the whole setting."""
    day = datetime(2025, 6, 1, 12)
    sets = [
        ClockSetting(key=5, part="date", pump_time=day, step_s=0.0, rtc_ms=1000),
        ClockSetting(key=6, part="time", pump_time=day + timedelta(hours=1), step_s=3600.0, rtc_ms=2000),
    ]
    (component,) = components_of(sets, ())
    assert component.offsets(5, 7200) == (3600, 7200)
    assert component.offsets(4, 7200) == (7200, 10800)


def test_every_jump_without_a_record_begins_a_component() -> None:
    from tconnectsync.timeline.pump_clock import ClockJump

    jump = ClockJump(key=7, before=datetime(2025, 1, 1), after=EPOCH)
    first, second = components_of((), [jump])
    assert (first.from_key, first.jump, second.from_key, second.jump) == (0, None, 7, jump)


@pytest.mark.parametrize(
    ("wall", "fold", "expected"),
    [
        ("2025-10-26T02:30", 0, "2025-10-26T00:30"),
        ("2025-10-26T02:30", 1, "2025-10-26T01:30"),
        ("2025-03-30T02:30", 0, "2025-03-30T01:30"),
        ("2025-07-01T12:00", 0, "2025-07-01T10:00"),
    ],
)
def test_a_local_time_in_utc(wall: str, fold: int, expected: str) -> None:
    assert BERLIN.utc_of(datetime.fromisoformat(wall), fold) == utc(expected)


def test_the_zone_of_a_day_and_back() -> None:
    zones = Zones(
        timezone="Europe/Berlin", moves=((date(2025, 6, 1), "America/New_York"), (date(2024, 1, 1), "Asia/Tokyo"))
    )
    assert [zones.name_at(date(year, month, 1)) for year, month in ((2023, 1), (2024, 1), (2025, 5), (2025, 6))] == [
        "Europe/Berlin", "Asia/Tokyo", "Asia/Tokyo", "America/New_York",
    ]  # fmt: skip
    assert Zones.from_json(zones.to_json()) == zones
    assert zones.wall_of(utc("2025-06-02")) == datetime(2025, 6, 1, 20)
    assert zones.day_start(date(2025, 7, 1)).astimezone(UTC) == utc("2025-07-01T04:00")
