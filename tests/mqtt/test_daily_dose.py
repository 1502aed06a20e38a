"""Insulin today, while the wearer travels and after midnight."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from tconnectsync import Event, GlucoseUnits, events
from tconnectsync.testing import final_documents, make_event
from tconnectsync_mqtt.details_fold import DetailsFold
from tconnectsync_mqtt.discovery import ENTITIES, device_message
from tconnectsync_mqtt.value_age import left_s, without_expired

UTC = timezone.utc
LANDED = datetime(2026, 6, 7, 11, 0, tzinfo=UTC)
"""When the wearer sets the pump's clock."""
BEGIN = LANDED - timedelta(hours=40)
RATE = 1.2


def journey(offset_h: float, new_offset_h: float, until: datetime) -> Iterator[Event]:
    """A steady basal rate every five minutes; at :data:`LANDED` the clock's offset changes."""
    for number in range((until - BEGIN) // timedelta(minutes=5) + 1):
        at = BEGIN + number * timedelta(minutes=5)
        offset = timedelta(hours=offset_h if at < LANDED else new_offset_h)
        made = make_event(events.BasalDelivered(rate_u_per_h=RATE), 0, 1000 + number)
        yield msgspec.structs.replace(made, at=at, received_at=at, pump_time=(at + offset).replace(tzinfo=None))


def told(offset_h: float, new_offset_h: float, hours: float) -> tuple[datetime, float | None]:
    """When the day began and its insulin, so many hours after the clock was set."""
    until = LANDED + timedelta(hours=hours)
    (document,) = final_documents(DetailsFold(), list(journey(offset_h, new_offset_h, until)))
    content: dict[str, Any] = dict(document.content)
    return datetime.fromisoformat(content["day_began_at"]), content["daily_dose"]


@pytest.mark.parametrize(
    ("offset_h", "new_offset_h", "midnight_h"),
    [(9, -7, 20), (11, -7, 20), (-7, 2, 11), (2, -4, 17), (2, -10, 23), (-7, 9, 4), (2, 1, 12)],
    ids=["Tokyo home", "Sydney home", "LA to Berlin", "Berlin to NY", "to Hawaii", "LA to Tokyo", "autumn"],
)
def test_insulin_today_of_a_traveller(offset_h: float, new_offset_h: float, midnight_h: float) -> None:
    """It is what the pump delivered since the time that is given with it, or unknown; after the next midnight it is known."""
    for hours in (0, 0.5, 3, midnight_h - 0.25, midnight_h + 0.25, midnight_h + 6):
        began_at, dose = told(offset_h, new_offset_h, hours)
        true = RATE * (LANDED + timedelta(hours=hours) - began_at).total_seconds() / 3600
        assert dose is None or dose == pytest.approx(true, abs=0.02), f"{hours} hours after landing"
        if hours > midnight_h:
            assert began_at == LANDED + timedelta(hours=midnight_h)
            assert dose is not None


def test_clock_set_back_just_after_midnight() -> None:
    """The day begins at the second midnight: a new day of the pump's clock has none of the insulin before it."""
    midnight = LANDED + timedelta(hours=2.5)
    assert told(13.5, 10.5, 2.75) == (midnight, pytest.approx(0.25 * RATE, abs=0.02))


def evening(offset_h: float, midnight_h: float) -> dict[str, Any]:
    """The details after an evening, ten minutes before the pump's midnight, which is so many hours after :data:`LANDED`."""
    until = LANDED + timedelta(hours=midnight_h, minutes=-10)
    (document,) = final_documents(DetailsFold(), list(journey(2, offset_h, until)))
    return dict(document.content)


@pytest.mark.parametrize(("offset_h", "midnight_h"), [(2, 11), (3, 10), (1, 12)], ids=["24 hours", "23", "25"])
def test_yesterdays_insulin_is_not_todays(offset_h: float, midnight_h: float) -> None:
    """After the pump's midnight, "Insulin today" is unknown until new data comes: yesterday's is no value of today."""
    content, midnight = evening(offset_h, midnight_h), LANDED + timedelta(hours=midnight_h)
    assert content["daily_dose"] > 27
    for minutes, known in ((-9, True), (-0.5, True), (0, False), (40, False), (160, False)):
        said = without_expired("details", content, midnight + timedelta(minutes=minutes))
        assert (said["daily_dose"] is not None) is known, f"{minutes} minutes after midnight"
        assert said["day_began_at"] == content["day_began_at"]


def test_home_assistant_drops_it_at_midnight() -> None:
    """It counts from the value's arrival, and compares a retained message with its own time."""
    content, midnight = evening(2, 11), LANDED + timedelta(hours=11)
    dose = next(entity for entity in ENTITIES if entity.key == "daily_dose")
    assert left_s(dose, content, midnight - timedelta(minutes=4)) == 240
    said = device_message("p", "4", GlucoseUnits.MG_DL, {"daily_dose": 240.0})["components"]["daily_dose"]
    assert said["expire_after"] == 240
    assert "now().timestamp() < as_timestamp(value_json.day_ends_at, 0)" in said["availability"][1]["value_template"]
