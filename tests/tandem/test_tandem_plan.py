"""Which days are requested, as a pure function."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tconnectsync_tandem.api.pumps import Pump
from tconnectsync_tandem.polling.planner import (
    Coverage,
    FetchedDay,
    Planner,
    Window,
    coverage_of,
    days_between,
    in_use,
    local_day,
    split_into_windows,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=timezone.utc)
TODAY = date(2026, 11, 20)
UPLOAD = NOW - timedelta(minutes=5)
PUMP = Pump(serial="1", assignments=("a",), uploaded_at=UPLOAD, newest=datetime(2026, 11, 20, 6))


def planned(
    coverage: dict[date, FetchedDay] | None = None,
    *,
    pump: Pump = PUMP,
    zone: str = "America/New_York",
    used: bool = True,
) -> list[Window]:
    planner = Planner(pump=pump, start=date(2026, 10, 20), now=NOW, zone_of=lambda _: zone, used=used)
    return planner.windows(Coverage(days=coverage or {}), most_days=28)


def fetched(hours_ago: float, upload: datetime | None = UPLOAD) -> dict[date, FetchedDay]:
    at = NOW - timedelta(hours=hours_ago)
    return {day: FetchedDay(at, upload) for day in days_between(date(2026, 10, 20), TODAY + timedelta(days=1))}


def test_nothing_is_due_right_after_everything_was_fetched() -> None:
    assert planned(fetched(5.9)) == []


def test_last_days_due_after_six_hours() -> None:
    """Six hours later the last days are due, and tomorrow with them."""
    assert planned(fetched(6)) == [(date(2026, 11, 18), date(2026, 11, 21))]


def test_a_pump_that_is_not_in_use_waits_a_day() -> None:
    assert planned(fetched(23.9), used=False) == []
    assert planned(fetched(24), used=False) == [(date(2026, 11, 17), date(2026, 11, 21))]


def test_a_day_that_was_never_read_is_due_however_long_ago() -> None:
    days = fetched(1)
    del days[date(2026, 10, 25)]
    assert planned(days) == [(date(2026, 10, 25), date(2026, 10, 25))]


def test_the_night_brings_no_request_of_its_own() -> None:
    days = fetched(1)
    del days[TODAY + timedelta(days=1)]
    assert planned(days) == []


@pytest.mark.parametrize(("zone", "today"), [("Pacific/Kiritimati", "2026-11-21"), ("Pacific/Pago_Pago", "2026-11-20")])
def test_days_are_those_of_the_configured_zone(zone: str, today: str) -> None:
    assert local_day(NOW, lambda _: zone).isoformat() == today
    assert planned(zone=zone)[-1][1] == date.fromisoformat(today) + timedelta(days=1)


def test_pump_used_last_is_in_use() -> None:
    """The pump that was used last is in use, however long ago."""
    old = Pump(serial="2", assignments=("b",), uploaded_at=NOW - timedelta(days=400))
    assert in_use(old, old, NOW)
    assert not in_use(old, PUMP, NOW)
    assert in_use(PUMP, old, NOW)


def test_too_many_facts() -> None:
    """If there are too many facts to read, everything before the oldest one read counts as fetched."""
    assert coverage_of([], limit=10).whole_before is None


@settings(max_examples=100, deadline=None)
@given(st.sets(st.dates(date(2026, 1, 1), date(2026, 12, 31)), max_size=60), st.integers(1, 28))
def test_windows_hold_every_day_once_and_are_short_enough(days: set[date], most: int) -> None:
    windows = split_into_windows(days, most)
    covered = [day for first, last in windows for day in days_between(first, last)]
    assert set(covered) >= days
    assert len(covered) == len(set(covered))
    assert covered == sorted(covered)
    assert all((last - first).days < most for first, last in windows)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=5, max_size=60), st.integers(0, 15))
def test_late_record_within_a_week(steps: list[tuple[int, bool]], late_days: int) -> None:
    """Steps are hours between polls, and whether the upload date moved; a batch of some day arrives after the first."""
    now, upload = NOW, UPLOAD
    days: dict[date, FetchedDay] = {}
    arrived_at: datetime | None = None
    record_day = TODAY - timedelta(days=late_days)
    seen = False
    for hours, moved in steps:
        upload = now - timedelta(minutes=1) if moved else upload
        pump = Pump(serial="1", assignments=("a",), uploaded_at=upload, newest=None)
        planner = Planner(pump=pump, start=date(2026, 10, 20), now=now, zone_of=lambda _: "Europe/Berlin")
        for first, last in planner.windows(Coverage(days=days), most_days=28):
            for day in days_between(first, last):
                days[day] = FetchedDay(now, upload)
            seen = seen or (arrived_at is not None and first <= record_day <= last)
        arrived_at = arrived_at or now
        if now - arrived_at >= timedelta(days=9):
            assert seen
            return
        now += timedelta(hours=hours)
