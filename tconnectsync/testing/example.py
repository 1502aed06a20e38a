"""Two hours of a pump's life: a table of (minute, body), with every kind of fact that a sink may want."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from tconnectsync import events

_PUMP_NOON = datetime(2026, 5, 14, 14, 0)
"""Noon UTC by the pump's clock, as in :func:`tconnectsync.testing.make_event`."""


def _reading(minute: int, glucose_mg_dl: float) -> tuple[int, Any]:
    measured = _PUMP_NOON + timedelta(minutes=minute)
    return minute, events.GlucoseReading(
        mark="value", reading_time=measured, glucose_mg_dl=glucose_mg_dl, trend_mg_dl_per_min=1.2, sensor="dexcom_g7"
    )


_PROFILE = {
    "name": "Everyday",
    "idp": 1,
    "insulinDuration": 300,
    "tDependentSegs": [{"startTime": 0, "basalRate": 900, "carbRatio": 8000, "isf": 40, "targetBg": 110}],
}

EXAMPLE: tuple[tuple[int, Any], ...] = (
    (0, events.SettingsCaptured(settings_hash="a", details={"profiles": {"activeIdp": 1, "profile": [_PROFILE]}})),
    (0, events.DayStarted(basal_rate_u_per_h=0.9)),
    (0, events.BasalRateChanged(rate_u_per_h=0.9, reasons=("timed_segment",))),
    (0, events.BasalDelivered(rate_u_per_h=0.9, rate_source="profile")),
    (1, events.SensorStarted(sensor="dexcom_g7", session_age_s=60.0, signature="71")),
    _reading(5, 110.0),
    (5, events.BasalDelivered(rate_u_per_h=1.2, rate_source="algorithm")),
    _reading(10, 121.0),
    (11, events.GlucoseFingerstick(glucose_mg_dl=118.0, iob_u=0.4)),
    (12, events.BolusRequested(bolus_id=7, part=1, bolus_type="carb", carbs_g=30, glucose_mg_dl=118, iob_u=0.4)),
    (12, events.BolusRequested(bolus_id=7, part=2, options="extended", immediate_percent=60, isf_mg_dl_per_u=40)),
    (12, events.BolusRequested(bolus_id=7, part=3, food_u=3.75, correction_u=0.25, total_u=4.0)),
    (12, events.BolusStarted(bolus_id=7, size_u=2.4, iob_u=0.4)),
    (14, events.BolusCompleted(bolus_id=7, status="completed", delivered_u=2.4, requested_u=2.4, iob_u=2.8)),
    (14, events.BolusExtendedStarted(bolus_id=7, size_u=1.6, iob_u=2.8)),
    (15, events.BolusDelivered(bolus_id=9, status="completed", types=("now",), requested_now_u=0.5, delivered_u=0.5)),
    (20, events.AlertRaised(alert_id=2, name="usb_connection")),
    (21, events.AlertCleared(alert_id=2, name="usb_connection")),
    (22, events.SensorAlertRaised(alert_id=11, name="high_glucose", sensor="dexcom_g7", value=260.0)),
    (23, events.SensorAlertCleared(alert_id=11, name="high_glucose", sensor="dexcom_g7")),
    (25, events.CarbsEntered(carbs_g=12.0)),
    (30, events.ModeChanged(mode="exercise", action="start_exercise")),
    (31, events.ControlChanged(control="closed_loop", previous="open_loop")),
    (35, events.BatteryMeasured(battery_percent=71.0, battery_mv=3800)),
    (40, events.AlarmRaised(alarm_id=2, name="occlusion")),
    (40, events.PumpingSuspended(reason="alarm", reservoir_u=88.0)),
    (44, events.AlarmCleared(alarm_id=2, name="occlusion")),
    (45, events.CartridgeFilled(volume_u=180.0)),
    (46, events.TubingFilled(prime_u=11.5, status="completed")),
    (48, events.CannulaFilled(prime_u=0.3, status="completed")),
    (50, events.PumpingResumed(reservoir_u=168.2)),
    (50, events.BasalDelivered(rate_u_per_h=0.9, rate_source="profile")),
    (60, events.ModeChanged(mode="normal", previous="exercise", action="stop_exercise")),
    (61, events.TempBasalStarted(temp_rate_id=3, percent=50.0, duration_s=1800.0)),
    (74, events.BolusExtendedCompleted(bolus_id=7, status="completed", delivered_u=1.6, duration_min=60.0, iob_u=3.1)),
    (80, events.TempBasalEnded(temp_rate_id=3, time_left_s=660.0, reason="user")),
    (85, events.MalfunctionRaised(malfunction_id=7, name="display")),
    (90, events.SensorStopped(sensor="dexcom_g7", reason="user")),
    (95, events.SensorJoined(sensor="dexcom_g6", session_age_s=300.0, signature="72")),
    (100, events.DaySummary(basal_total_u=10.2, basal_rate_u_per_h=0.9, iob_u=2.2, battery_percent=70.0)),
    (104, events.ModeChanged(mode="sleep", action="start_sleep")),
    _reading(105, 140.0),
    (110, events.BasalDelivered(rate_u_per_h=0.9, rate_source="profile")),
    (115, events.Unknown(code="999", reason="no such code")),
    (120, events.BasalDelivered(rate_u_per_h=1.0, rate_source="algorithm")),
)
