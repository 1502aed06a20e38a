"""The figures of the present day, on the overview and on its own page."""

from __future__ import annotations

from datetime import date, timedelta, timezone

import pytest

from tconnectsync import BasalSpan, Bolus, Therapy, Zones
from tconnectsync_web.pages.day import day_page
from tconnectsync_web.pages.overview import overview
from tests.web.fake_reader import FakeReader

UTC = timezone.utc
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("home", ["Pacific/Auckland", "Europe/Berlin"])
def test_today_of_a_long_travel_day(home: str) -> None:
    """A move to the west makes a day of up to 43 hours: its first hours count on the overview as on its own page."""
    zones = Zones(timezone=home, moves=((date(2026, 6, 5), "America/Los_Angeles"),))
    begin, end = zones.day_start(date(2026, 6, 4)), zones.day_start(date(2026, 6, 5))
    now = end - timedelta(minutes=20)
    assert now - begin > 31 * HOUR
    basal = [BasalSpan(begin=begin - 5 * HOUR, end=now, rate_u_per_h=1.0)]
    meal = Bolus(bolus_id=1, started_at=begin + HOUR, ended_at=begin + HOUR, immediate_u=5.0, carbs_g=50.0)
    reader = FakeReader(whole=Therapy(basal=basal, boluses=[meal], until=now), zones=zones, present=now)
    shown = overview(reader, 6).today
    assert shown is not None
    assert shown.total_u == pytest.approx((now - begin) / HOUR + 5.0)
    assert shown == day_page(reader, date(2026, 6, 4)).summary
