"""One upload shows that a zone does not fit the pump's clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from tconnectsync.config.zone_names import names_place
from tconnectsync.queries.zone_check import PLACES, ZoneDoubt, clock_ahead, zone_doubt
from tconnectsync.timeline.zone_decision import Upload
from tconnectsync.timeline.zones import Zones

WINTER = datetime(2026, 1, 20, 17, 10, tzinfo=timezone.utc)
SUMMER = datetime(2026, 7, 20, 17, 10, tzinfo=timezone.utc)


def doubt(pump_at: str, chosen: str, *, at: datetime = WINTER, late_min: float = 6.0) -> ZoneDoubt | None:
    """The pump is set to the clock of ``pump_at``, its newest event is ``late_min`` older than the upload."""
    newest = (at - timedelta(minutes=late_min)).astimezone(ZoneInfo(pump_at)).replace(tzinfo=None)
    return zone_doubt(Upload(at=at, newest=newest), Zones(timezone=chosen))


@pytest.mark.parametrize("late_min", [-1.5, 0, 6, 14])
@pytest.mark.parametrize("place", PLACES)
def test_the_right_zone_is_not_doubted(place: str, late_min: float) -> None:
    assert doubt(place, place, late_min=late_min) is None
    assert doubt(place, place, at=SUMMER, late_min=late_min) is None


@pytest.mark.parametrize(
    ("pump_at", "chosen", "sure", "place"),
    [
        ("America/New_York", "America/Los_Angeles", True, "America/New_York"),
        ("Europe/Berlin", "America/New_York", True, "Europe/Berlin"),
        ("Australia/Sydney", "Europe/London", True, "Australia/Sydney"),
        ("America/New_York", "Europe/Berlin", False, "America/New_York"),
        ("America/Denver", "America/New_York", False, "America/Denver"),
    ],
)
@pytest.mark.parametrize("at", [WINTER, SUMMER])
def test_another_clock_is_reported_with_a_place_that_has_it(
    pump_at: str, chosen: str, sure: bool, place: str, at: datetime
) -> None:
    found = doubt(pump_at, chosen, at=at)
    assert found is not None
    assert (found.sure, found.places[0], found.zone) == (sure, place, chosen)
    assert found.finding.good is not sure
    assert place in str(found.finding.remedy)
    assert len(found.places) >= 3
    for offered in found.places:
        assert at.astimezone(ZoneInfo(offered)).utcoffset() == at.astimezone(ZoneInfo(pump_at)).utcoffset()


@pytest.mark.parametrize("pump_at", ["Asia/Kolkata", "Pacific/Honolulu", "Australia/Brisbane"])
def test_three_zones_are_named_for_a_rare_clock_too(pump_at: str) -> None:
    found = doubt(pump_at, "America/Bogota" if pump_at != "Pacific/Honolulu" else "Europe/Berlin")
    assert found is not None
    named = [name for name in found.places if name in str(found.finding.remedy)]
    assert len(named) == 3


def test_clock_without_daylight_saving() -> None:
    """In New York it shows winter's time in July: that is Chicago's."""
    assert doubt("America/Chicago", "America/New_York", at=WINTER) is not None
    assert doubt("America/Bogota", "America/New_York", at=SUMMER) is None


def test_late_upload() -> None:
    """It excludes a zone only if the zone is impossible."""
    assert doubt("America/New_York", "America/New_York", late_min=35) is None
    assert doubt("America/New_York", "America/New_York", late_min=60 * 24 * 30) is None
    found = doubt("Europe/Berlin", "America/New_York", late_min=35)
    assert found is not None
    assert (found.sure, found.places[0]) == (True, "Europe/Berlin")


def test_a_clock_that_is_days_ahead_is_no_matter_of_zones() -> None:
    newest = WINTER.replace(tzinfo=None) + timedelta(days=400)
    assert zone_doubt(Upload(at=WINTER, newest=newest), Zones(timezone="Europe/Berlin")) is None


@pytest.mark.parametrize("place", PLACES)
def test_what_is_offered_can_be_configured(place: str) -> None:
    assert names_place(place)


@pytest.mark.parametrize("fast_min", [-15, -8, 8, 14, 20])
@pytest.mark.parametrize("place", ["America/New_York", "America/St_Johns", "Europe/Berlin", "Asia/Kolkata"])
def test_a_clock_that_drifted_is_no_doubt_of_its_zone(place: str, fast_min: int) -> None:
    assert doubt(place, place, late_min=6.0 - fast_min) is None
    newest = (WINTER - timedelta(minutes=6 - fast_min)).astimezone(ZoneInfo(place)).replace(tzinfo=None)
    found = clock_ahead(Upload(at=WINTER, newest=newest), Zones(timezone=place))
    assert (found is not None) is (fast_min > 8)
    if found is not None:
        assert f"{fast_min - 6} min ahead" in found.what
        assert found.good
        assert "zone" not in str(found.remedy)


def test_clock_of_no_zone() -> None:
    """The message says to set the clock, and names no zone."""
    newest = WINTER.replace(tzinfo=None) + timedelta(hours=30)
    found = zone_doubt(Upload(at=WINTER, newest=newest), Zones(timezone="Europe/Berlin"))
    assert found is not None
    assert (found.sure, found.places) == (True, ())
    assert "Set the date and time on the pump" in str(found.finding.remedy)
    assert "timezone" not in str(found.finding.remedy)


def test_an_hour_ahead_is_no_drift() -> None:
    newest = (WINTER - timedelta(minutes=6)).astimezone(ZoneInfo("Europe/Berlin")).replace(tzinfo=None)
    assert clock_ahead(Upload(at=WINTER, newest=newest), Zones(timezone="Europe/London")) is None
