"""Events of glucose readings, finger sticks, sensor sessions and sensor alerts."""

from __future__ import annotations

from datetime import datetime

import msgspec


class GlucoseReading(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor reading. ``glucose_mg_dl`` is None unless ``mark`` is "value": for "high" and "low" there is no number."""

    mark: str  # value, high, low, hidden
    reading_time: datetime  # pump's wall clock, naive: when it was measured
    glucose_mg_dl: float | None = None
    trend_mg_dl_per_min: float | None = None
    backfilled: bool = False
    sensor: str | None = None  # dexcom_g6, dexcom_g7, libre_2, libre_3


class GlucoseFingerstick(msgspec.Struct, frozen=True, kw_only=True):
    """A glucose value used by the bolus calculator (record 16); only ``entry == "manual"`` was typed by the wearer."""

    glucose_mg_dl: float | None = None
    entry: str = "manual"  # manual, from_cgm
    calibration: bool = False
    iob_u: float | None = None
    target_mg_dl: float | None = None
    isf_mg_dl_per_u: float | None = None


class SensorStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor session began (records 212, 404)."""

    sensor: str
    session_age_s: float | None = None  # how long the session had been running when this was logged
    signature: str | None = None  # identifies the session, if the sensor reports it
    reason: str | None = None


class SensorJoined(msgspec.Struct, frozen=True, kw_only=True):
    """The pump joined a sensor session, perhaps again during the session (records 213, 394, 406, 477)."""

    sensor: str
    session_age_s: float | None = None
    signature: str | None = None
    reason: str | None = None


class SensorStopped(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor session ended (records 214, 447, 405, 486)."""

    sensor: str
    session_age_s: float | None = None
    reason: str | None = None


class SensorAlertRaised(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor alert (records 171, 369, 460)."""

    alert_id: int
    name: str
    sensor: str | None = None
    value: float | None = None


class SensorAlertCleared(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor alert ended (records 172, 370, 461)."""

    alert_id: int
    name: str
    sensor: str | None = None
