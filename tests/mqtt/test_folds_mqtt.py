"""What changes rarely, the insulin of the day, trends and alarms."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from tconnectsync import Event, events
from tconnectsync.testing import example_events, final_documents, make_event
from tconnectsync_mqtt.alarm_fold import AlarmFold
from tconnectsync_mqtt.details_fold import DetailsFold
from tconnectsync_mqtt.state_fold import StateFold, trend_of

PUMP_NOON = datetime(2026, 5, 14, 14, 0)


def story(*said: tuple[float, Any]) -> list[Event]:
    """Events at these minutes after noon UTC (14:00 on the pump), in the pump's own order."""
    return [make_event(body, 60 * minute, seq) for seq, (minute, body) in enumerate(said, start=1000)]


def details(events_: list[Event]) -> dict[str, Any]:
    (document,) = final_documents(DetailsFold(), [event for event in events_ if event.kind in DetailsFold.kinds])
    return dict(document.content)


def test_details_of_two_hours() -> None:
    """Mode, site and sensor with the times at which they began, and when the newest data came."""
    found = details(example_events())
    assert found["mode"] == "sleep"
    assert found["site_at"] == "2026-05-14T12:48:00+00:00"
    assert found["sensor_at"] == "2026-05-14T13:30:00+00:00", "it had run for five minutes when the pump joined it"
    assert found["received_at"] == found["data_at"] == "2026-05-14T14:00:00+00:00"
    assert found["day_began_at"] == "2026-05-13T22:00:00+00:00", (
        "midnight by the pump's clock, which is two hours ahead"
    )
    assert found["daily_dose"] == pytest.approx(5.83), "4.5 U of boluses and 1.33 U of basal"


def test_insulin_of_a_day() -> None:
    """Basal by its rate, each bolus once; a suspension gives nothing; silence counts for a quarter of an hour at most."""
    dose = details(
        story(
            (0, events.BasalDelivered(rate_u_per_h=1.2)),
            (5, events.BasalDelivered(rate_u_per_h=1.2)),
            (6, events.BolusDelivered(bolus_id=3, status="started", delivered_u=0.5)),
            (7, events.BolusCompleted(bolus_id=3, status="completed", delivered_u=2.0)),
            (7, events.BolusDelivered(bolus_id=3, status="completed", delivered_u=2.0)),
            (10, events.PumpingSuspended(reason="user")),
            (40, events.BasalDelivered(rate_u_per_h=0.6)),
            (100, events.DaySummary(basal_total_u=1.0)),
        )
    )["daily_dose"]
    assert dose == pytest.approx(1.2 * 10 / 60 + 2.0 + 0.6 * 15 / 60)


def test_a_bolus_without_end_hides_the_one_before() -> None:
    """Whoever sees the older amount may dose a second time: the amount is unknown until the end of the newer one is known."""
    older = (0, events.BolusCompleted(bolus_id=3, status="completed", delivered_u=0.4))
    begun = (60, events.BolusStarted(bolus_id=4, size_u=4.12))
    ended = (63, events.BolusCompleted(bolus_id=4, status="completed", delivered_u=4.12))
    told = [final_documents(StateFold(), story(*steps)) for steps in ((older, begun), (older, begun, ended))]
    found = [each.content for documents in told for each in documents if "last_bolus" in each.content]
    assert [(each["last_bolus"], each["last_bolus_at"]) for each in found] == [
        (None, "2026-05-14T13:00:00+00:00"),
        (4.12, "2026-05-14T13:03:00+00:00"),
    ]


def test_insulin_of_a_pump_change() -> None:
    """On the day of a hand-over the insulin is unknown: that of the other pump is missing, and none came in the box."""
    in_the_box = ((60.0 * hour, events.BasalDelivered(rate_u_per_h=1.0)) for hour in range(6))
    worn = (
        (360, events.WearBegan()),
        (361, events.BolusCompleted(bolus_id=3, status="completed", delivered_u=5.0)),
    )
    same_day = ((-60, events.WearEnded()), *in_the_box, *worn)
    found = details(story(*same_day))
    assert (found["daily_dose"], found["day_began_at"]) == (None, "2026-05-13T22:00:00+00:00")
    next_day = (
        (601, events.BasalDelivered(rate_u_per_h=1.2)),
        (606, events.BolusCompleted(bolus_id=4, status="completed", delivered_u=2.0)),
    )
    assert details(story(*same_day, *next_day))["daily_dose"] == pytest.approx(2.0 + 1.2 * 5 / 60)


def test_last_bolus_of_a_pump_worn_again() -> None:
    """Another pump was worn meanwhile, so the older bolus is not the last one."""
    told = story(
        (0, events.BolusCompleted(bolus_id=3, status="completed", delivered_u=5.0)),
        (10, events.WearEnded()),
        (600, events.WearBegan()),
        (601, events.BasalDelivered(rate_u_per_h=1.2)),
    )
    (_, lasting) = final_documents(StateFold(), told)
    assert (lasting.content["last_bolus"], lasting.content["last_bolus_at"]) == (None, None)


def test_insulin_begins_at_midnight() -> None:
    """Midnight is the pump's own; the basal rate before it does not count."""
    found = details(
        story(
            (590, events.BolusCompleted(bolus_id=3, status="completed", delivered_u=9.0)),
            (595, events.BasalDelivered(rate_u_per_h=1.2)),
            (605, events.BasalDelivered(rate_u_per_h=1.2)),
        )
    )
    assert found["day_began_at"] == "2026-05-14T22:00:00+00:00"
    assert found["daily_dose"] == pytest.approx(1.2 * 5 / 60)


def test_sensor_that_ended_and_site_that_failed() -> None:
    """A sensor that was stopped has no time; an interrupted fill is no new site."""
    found = details(
        story(
            (0, events.SensorStarted(sensor="dexcom_g7")),
            (5, events.CannulaFilled(prime_u=0.3)),
            (9, events.SensorStopped(sensor="dexcom_g7")),
            (20, events.CannulaFilled(prime_u=0.1, status="aborted")),
        )
    )
    assert found["sensor_at"] is None
    assert found["site_at"] == "2026-05-14T12:05:00+00:00"


def test_details_of_a_pump_that_is_not_worn() -> None:
    """Only the active pump has details."""
    told = story((0, events.ModeChanged(mode="sleep")), (1, events.WearEnded()))
    assert final_documents(DetailsFold(), told) == []


@pytest.mark.parametrize(
    ("slope", "trend"),
    [(3.2, "rising_quickly"), (2.0, "rising"), (1.0, "rising_slowly"), (0.4, "steady"), (-1.0, "steady"), (-1.5, "falling_slowly"),
     (-2.5, "falling"), (-4.0, "falling_quickly"), (127.0, None), (float("nan"), None), (None, None)],
)  # fmt: skip
def test_trend(slope: float | None, trend: str | None) -> None:
    """Words for the arrows of a sensor."""
    assert trend_of(slope) == trend


def test_trend_is_of_the_newest_reading() -> None:
    """An older reading that arrives late changes neither glucose nor trend."""
    reading = lambda minute, slope: events.GlucoseReading(  # noqa: E731
        mark="value", reading_time=PUMP_NOON + timedelta(minutes=minute), glucose_mg_dl=100.0, trend_mg_dl_per_min=slope
    )
    told = story((10, reading(10, 2.5)), (11, reading(0, -2.5)))
    current = next(each.content for each in final_documents(StateFold(), told) if "iob" in each.content)
    assert (current["glucose"], current["glucose_mmol"], current["glucose_trend"]) == (100, 5.5, "rising")


@pytest.mark.parametrize(("mark", "mg_dl", "mmol_l"), [("low", 39, 2.2), ("high", 401, 22.3)])
def test_glucose_beyond_the_sensors_range(mark: str, mg_dl: int, mmol_l: float) -> None:
    """An automation for low glucose needs a number in just this case. The trend that sensors send beside it is none."""
    low = events.GlucoseReading(mark=mark, reading_time=PUMP_NOON, trend_mg_dl_per_min=0.0)
    before = events.GlucoseReading(mark="value", reading_time=PUMP_NOON - timedelta(minutes=5), glucose_mg_dl=52.0)
    (current, _) = final_documents(StateFold(), story((-5, before), (0, low)))
    found = [current.content[name] for name in ("glucose", "glucose_mmol", "glucose_mark", "glucose_trend")]
    assert found == [mg_dl, mmol_l, mark, None]
    assert current.content["glucose_at"] == "2026-05-14T12:00:00+00:00"


def test_alarms_are_news_for_hours() -> None:
    """Each alarm is a message of its own that expires: a replay does not repeat it."""
    found = final_documents(AlarmFold(), example_events(AlarmFold.kinds))
    assert [(each.content["event_type"], each.content["name"]) for each in found] == [
        ("alert", "usb_connection"), ("alarm", "occlusion"), ("malfunction", "display")
    ]  # fmt: skip
    assert {each.ttl_s for each in found} == {3 * 3600.0}
    assert AlarmFold.sent_once


def test_alarms_of_the_worn_pump_only() -> None:
    """A pump in a drawer sends no alarm to Home Assistant."""
    alarm = events.AlarmRaised(alarm_id=12, name="battery_shutdown")
    told = story((0, events.WearEnded()), (540, alarm), (600, events.WearBegan()), (610, alarm))
    assert [each.at for each in final_documents(AlarmFold(), told)] == [told[-1].at]
