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


def after_gap(hours: float, *, later: float = 0.0) -> float | None:
    """The insulin of a day of which so many hours have no records; ``later``: how many hours follow."""
    gap = LANDED - timedelta(hours=hours)
    every = journey(2, 2, LANDED + timedelta(hours=later))
    found = [event for event in every if event.at and not gap < event.at < LANDED]
    (document,) = final_documents(DetailsFold(), found)
    dose: float | None = dict(document.content)["daily_dose"]
    return dose


def test_insulin_today_with_missing_records() -> None:
    """It would be too low: it is unknown until the records come, or the next day."""
    assert after_gap(0.2) == pytest.approx(13 * RATE, abs=0.02)
    assert (after_gap(5), after_gap(5, later=10)) == (None, None)
    assert after_gap(5, later=12) == pytest.approx(1 * RATE, abs=0.02), "the next day"
    assert after_gap(16) is None, "since the evening before"
    assert after_gap(0.7, later=6) == pytest.approx((19 - 0.5) * RATE, abs=0.02), "some minutes of many hours"


def day_of(*bodies: tuple[float, Any]) -> float | None:
    """The insulin of the day after what happened at these hours after midnight."""
    found = [
        msgspec.structs.replace(
            make_event(body, 0, 1000 + number),
            at=BEGIN + timedelta(hours=hours),
            pump_time=datetime(2026, 6, 6) + timedelta(hours=hours),
        )
        for number, (hours, body) in enumerate(bodies)
    ]
    (document,) = final_documents(DetailsFold(), found)
    dose: float | None = dict(document.content)["daily_dose"]
    return dose


def test_insulin_today_of_rows_with_a_length() -> None:
    """The older t:connect gives the length of each rate: it applies as long, not for a quarter of an hour."""
    row = events.BasalDelivered(rate_u_per_h=0.8, span_s=6 * 3600)
    assert day_of((0, row), (6, row), (12, events.DaySummary())) == pytest.approx(12 * 0.8)


def test_insulin_today_of_a_long_stop() -> None:
    """A stop is no missing record, also if the pump records a rate of 0 in it."""
    given = events.BolusCompleted(bolus_id=1, status="completed", delivered_u=3.0)
    stop, zero = events.PumpingSuspended(reason="user"), events.BasalDelivered(rate_u_per_h=0.0)
    assert day_of((0, stop), (0.01, zero), (6, given)) == pytest.approx(3.0)
    assert day_of((0, events.DaySummary()), (6, given)) is None, "no basal rate is known, as in `report`"
