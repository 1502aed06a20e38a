"""A clock that had drifted and is set right keeps its offset; a step is half an hour or more, drift, or both."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest

from tconnectsync.config.zone_names import is_zone
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.utc_offsets import REAL_OFFSETS_S, ZoneOffsets, offset_across_step_s
from tconnectsync.timeline.zones import Zones
from tests.timeline.harness import ListLog, PumpHistory, times_of, utc, worst_s

MINUTE, HOUR = 60, 3600
NEW_YORK = Zones(timezone="America/New_York")
BERLIN = Zones(timezone="Europe/Berlin")
HOMES = ("America/New_York", "Europe/Berlin", "Australia/Adelaide", "Asia/Kolkata")
SETTING_S = 2
"""The seconds that setting a clock takes in these worlds."""
DRIFTS = [sign * minutes for minutes in range(1, 21) for sign in (1, -1)]
CHANGES = [
    ("America/New_York", "2025-03-09T07:00", -5, -4),
    ("America/New_York", "2025-11-02T06:00", -4, -5),
    ("Europe/Berlin", "2025-03-30T01:00", 1, 2),
    ("Europe/Berlin", "2025-10-26T01:00", 2, 1),
    ("Australia/Adelaide", "2025-10-04T16:30", 9.5, 10.5),
]
"""Changes of daylight saving: zone, time in UTC, hours before and after."""


def live(world: PumpHistory, until: datetime) -> PumpHistory:
    """Six hours between two events, and an upload with every second one."""
    while world.now < until:
        world.run(min(until, world.now + timedelta(hours=12)), timedelta(hours=6))
        world.upload()
    return world


def in_cycles(world: PumpHistory, zones: Zones) -> dict[int, datetime | None]:
    """As a daemon reads it: after each upload its events, and each choice stored as a fact."""
    log = ListLog()
    placer = TimelineResolver(log, zones)
    batch = []
    for event in world.events:
        batch.append(event)
        if event.kind == "upload.seen":
            log.append(batch)
            log.append(placer.pending_facts(event.received_at))
            batch = []
    log.append(batch)
    return times_of(placer, log)


def all_at_once(world: PumpHistory, zones: Zones) -> dict[int, datetime | None]:
    """As a first sync reads it: the whole history, and the last upload."""
    log = ListLog()
    uploads = [event for event in world.events if event.kind == "upload.seen"]
    log.append([*(event for event in world.events if event.kind != "upload.seen"), *uploads[-1:]])
    return times_of(TimelineResolver(log, zones), log)


def assert_bounded(world: PumpHistory, zones: Zones, drift_min: float) -> None:
    """Both ways of reading agree; no time is further off than the clock was, and after the last setting none is."""
    found = in_cycles(world, zones)
    assert found == all_at_once(world, zones), world.deeds
    assert worst_s(found, world.truth) <= abs(drift_min) * MINUTE + SETTING_S, world.deeds
    last = max(event.seq or 0 for event in world.events if event.kind == "clock.changed")
    assert worst_s(found, world.truth, [key for key in world.truth if key >= last]) <= SETTING_S, world.deeds


# --- what a step is -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step_min", "change_min"),
    [(-9, 0), (8, 0), (15, 0), (-25, 0), (26, 30), (29, 30), (-28, -30), (30, 30), (-50, -60), (-69, -60), (53, 60),
     (45, 60), (-45, -60), (75, 60), (90, 90), (0, 0)],
)  # fmt: skip
def test_single_step(step_min: int, change_min: int) -> None:
    """Up to 25 minutes it is drift, beyond that a multiple of half an hour."""
    found_s = offset_across_step_s(0, step_min * MINUTE, None, zone_moved=False, before=False)
    assert found_s == change_min * MINUTE


@pytest.mark.parametrize("home_h", [-4, 2, 5.5, 9.5])
@pytest.mark.parametrize("before", [False, True])
def test_steps_are_half_hours(home_h: float, before: bool) -> None:
    """Every step and no rule of a zone: the change is a multiple of half an hour, at most 25 minutes from the step."""
    home_s = round(home_h * HOUR)
    zone = ZoneOffsets(offset_s=home_s, others_s=(home_s - HOUR,))
    for step_min in range(-90, 91):
        change_s = offset_across_step_s(home_s, step_min * MINUTE, zone, zone_moved=False, before=before) - home_s
        assert change_s % 1800 == 0, step_min
        assert abs(change_s - step_min * MINUTE) <= 25 * MINUTE, step_min
        assert (change_s == 0) == (abs(step_min) <= 25), step_min


def test_the_offsets_of_places_are_those_of_the_zones() -> None:
    days = [datetime(2026, month, 15) for month in (1, 7)]
    zones = [ZoneInfo(name) for name in available_timezones() if is_zone(name)]
    offsets = {day.replace(tzinfo=zone).utcoffset() for zone in zones for day in days}
    assert {round(offset.total_seconds()) for offset in offsets if offset is not None} <= REAL_OFFSETS_S


# --- drift that is set right ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("drift_min", [*DRIFTS, 25, -25])
def test_drift_corrected_is_exact_from_then_on(drift_min: int) -> None:
    world = live(PumpHistory(now=utc("2025-06-01"), offset_s=-4 * HOUR), utc("2025-06-04"))
    live(world.drift(drift_min * MINUTE), utc("2025-06-06")).set_clock(-4 * HOUR)
    assert_bounded(live(world, utc("2025-06-12")), NEW_YORK, drift_min)


@pytest.mark.parametrize("drift_min", DRIFTS)
def test_drift_corrected_again_and_again_never_adds_up(drift_min: int) -> None:
    world = PumpHistory(now=utc("2025-01-05"), offset_s=1 * HOUR)
    for _ in range(6):
        world.run(world.now + timedelta(days=2), timedelta(hours=12)).drift(drift_min * MINUTE).log()
        world.upload()
        world.set_clock(1 * HOUR)
    assert_bounded(live(world, world.now + timedelta(days=2)), BERLIN, drift_min)


Order = Callable[[PumpHistory, float, float, datetime, int], object]


def corrected_before(world: PumpHistory, summer_s: float, after_s: float, change: datetime, drift_s: int) -> None:
    """Drift set right a day before the change, the change followed five hours after it."""
    live(world.drift(drift_s), change - timedelta(hours=22)).set_clock(summer_s)
    live(world, change + timedelta(hours=5)).set_clock(after_s)


def corrected_between(world: PumpHistory, summer_s: float, after_s: float, change: datetime, drift_s: int) -> None:
    """Drift set right after the change, which is followed two days later."""
    live(world.drift(drift_s), change + timedelta(hours=7)).set_clock(summer_s)
    live(world, change + timedelta(days=2)).set_clock(after_s)


def corrected_with(world: PumpHistory, summer_s: float, after_s: float, change: datetime, drift_s: int) -> None:
    """Both in one step."""
    live(world.drift(drift_s), change + timedelta(hours=9)).set_clock(after_s)


def corrected_early_with(world: PumpHistory, summer_s: float, after_s: float, change: datetime, drift_s: int) -> None:
    """Both in one step, on the evening before."""
    live(world.drift(drift_s), change - timedelta(hours=6)).set_clock(after_s)


def corrected_after(world: PumpHistory, summer_s: float, after_s: float, change: datetime, drift_s: int) -> None:
    """The change followed at once by an hour, drift set right an hour later, still in the repeated hour or about it."""
    live(world.drift(drift_s), change + timedelta(minutes=2)).set_clock(after_s + drift_s)
    world.run(change + timedelta(minutes=40), timedelta(minutes=10)).set_clock(after_s)


def corrected_after_early(world: PumpHistory, summer_s: float, after_s: float, change: datetime, drift_s: int) -> None:
    """The change followed on the day before, drift set right later that day."""
    live(world.drift(drift_s), change - timedelta(hours=20)).set_clock(after_s + drift_s)
    world.run(change - timedelta(hours=8), timedelta(hours=1)).set_clock(after_s)


def with_a_second_correction(
    world: PumpHistory, summer_s: float, after_s: float, change: datetime, drift_s: int
) -> None:
    """Both in one step, and the same drift once more later."""
    corrected_with(world, summer_s, after_s, change, drift_s)
    live(world, change + timedelta(days=3)).drift(drift_s).log()
    world.set_clock(after_s)


ORDERS: list[Order] = [
    corrected_before, corrected_between, corrected_with, corrected_early_with, corrected_after, corrected_after_early,
    with_a_second_correction,
]  # fmt: skip


@pytest.mark.parametrize(("zone", "change", "before_h", "after_h"), CHANGES)
@pytest.mark.parametrize("order", ORDERS, ids=[order.__name__ for order in ORDERS])  # type: ignore[attr-defined]
def test_drift_and_daylight_saving_in_any_order(
    order: Order, zone: str, change: str, before_h: float, after_h: float
) -> None:
    """Every second drift, the even ones or the odd ones by turns: each order meets each drift, and so does each change."""
    turn = ORDERS.index(order) + CHANGES.index((zone, change, before_h, after_h))
    for drift_min in DRIFTS:
        if (drift_min + turn) % 2:
            continue
        world = live(
            PumpHistory(now=utc(change) - timedelta(days=4), offset_s=before_h * HOUR), utc(change) - timedelta(days=2)
        )
        order(world, before_h * HOUR, after_h * HOUR, utc(change), drift_min * MINUTE)
        assert_bounded(live(world, utc(change) + timedelta(days=6)), Zones(timezone=zone), drift_min)


def test_fast_clock_is_reported() -> None:
    """In minutes, until it is set."""
    world = live(PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR), utc("2025-06-03"))
    log = ListLog()
    placer = TimelineResolver(log, BERLIN)
    log.append(world.events)
    log.append(placer.pending_facts(world.now))
    assert placer.messages() == []
    log.append(live(world.drift(9 * MINUTE), utc("2025-06-06")).events)
    (words,) = placer.messages()
    assert "5 min ahead" in words
    assert "zone" not in words
    log.append(live(world.set_clock(2 * HOUR), utc("2025-06-08")).events)
    assert placer.messages() == []


# --- every step ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "change_min", "most_drift_min"),
    [
        *((zone, change, 20) for zone in ("America/New_York", "Europe/Berlin", "Asia/Kolkata") for change in (-60, 60)),
        *((zone, -120, 20) for zone in ("America/New_York", "Europe/Berlin")),
        *((zone, change, 9) for zone in HOMES for change in (-90, -30, 30, 90)),
    ],
)
def test_steps_abroad_and_back(zone: str, change_min: int, most_drift_min: int) -> None:
    """No rule of the zone explains them. A step of up to 25 minutes is drift, whatever was meant."""
    zones = Zones(timezone=zone)
    home_s = zones.offset_at(utc("2025-06-01"))
    for drift_min in range(-most_drift_min, most_drift_min + 1):
        if abs(change_min - drift_min) <= 25:
            continue
        world = live(PumpHistory(now=utc("2025-06-01"), offset_s=home_s), utc("2025-06-02"))
        live(world.drift(drift_min * MINUTE), utc("2025-06-03")).set_clock(home_s + change_min * MINUTE)
        live(world, utc("2025-06-05")).set_clock(home_s)
        assert_bounded(live(world, utc("2025-06-07")), zones, drift_min)


@pytest.mark.parametrize("drift_min", range(-20, 21, 4))
def test_any_step_with_any_drift(drift_min: int) -> None:
    """Whatever the wearer sets: events are as wrong as the clock is, or by half of half an hour if nothing tells.

    Every second step, the even ones or the odd ones in turn.
    """
    for step_min in range(-90 + drift_min // 4 % 2, 91, 2):
        world = live(PumpHistory(now=utc("2025-06-01"), offset_s=2 * HOUR), utc("2025-06-02"))
        live(world.drift(drift_min * MINUTE), utc("2025-06-03")).set_clock(2 * HOUR + (drift_min + step_min) * MINUTE)
        live(world, utc("2025-06-04"))
        found = in_cycles(world, BERLIN)
        last = max(event.seq or 0 for event in world.events if event.kind == "clock.changed")
        assert worst_s(found, world.truth, [key for key in world.truth if key < last]) <= 20 * MINUTE + SETTING_S
        assert worst_s(found, world.truth) <= (25 + abs(drift_min)) * MINUTE + SETTING_S, step_min
