"""The dated list of moves: a day has one beginning, and every time belongs to the day in which it is."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from tconnectsync.timeline.zones import Zones

NAMES = (
    *("Europe/Berlin", "America/New_York", "Asia/Tokyo", "America/Los_Angeles"),
    *("Australia/Sydney", "Asia/Kathmandu", "Europe/London", "Pacific/Auckland"),
)
YEAR = date(2026, 1, 1)


def days(last: int) -> st.SearchStrategy[date]:
    return st.integers(0, last).map(lambda number: YEAR + timedelta(days=number))


@given(
    names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
    moves=st.lists(days(360), min_size=3, max_size=3, unique=True),
    near=st.integers(-4 * 48, 4 * 48),
)
def test_a_time_is_within_its_day(names: list[str], moves: list[date], near: int) -> None:
    zones = Zones(timezone=names[0], moves=tuple(zip(sorted(moves), names[1:], strict=False)))
    moved = moves[0]
    at = datetime(moved.year, moved.month, moved.day, tzinfo=timezone.utc) + timedelta(minutes=30 * near + 7)
    day = zones.wall_of(at).date()
    assert zones.day_start(day) <= at < zones.day_start(day + timedelta(days=1))


def test_clock_in_the_night_of_a_move() -> None:
    """Westward, the evening before is lived twice as long; its second part counts by the new zone."""
    zones = Zones(timezone="Europe/Berlin", moves=((date(2026, 6, 10), "America/New_York"),))
    before = datetime(2026, 6, 9, 21, 50, tzinfo=timezone.utc)
    assert zones.wall_of(before) == datetime(2026, 6, 9, 23, 50)
    assert [zones.wall_of(before + timedelta(hours=hours)) for hours in (1, 3, 7)] == [
        datetime(2026, 6, 9, 18, 50),
        datetime(2026, 6, 9, 20, 50),
        datetime(2026, 6, 10, 0, 50),
    ]
