"""The vocabulary: what a pump can say, one small frozen class per fact, the same whatever source it came from.

An :class:`Event` is an envelope around one body. Bodies are tagged by a stable dotted string (:data:`BODIES`), never by a
class name. Units are in the names; ``None`` always means "the pump did not say", never zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

import attrs

# --- insulin: basal -------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class BasalDelivered:
    """The rate the pump is delivering; repeated about every five minutes (record 279), or a row with its own span."""

    rate_u_per_h: float
    rate_source: str = "unknown"  # suspended, profile, temp_rate, algorithm, temp_rate_and_algorithm
    profile_rate_u_per_h: float | None = None
    algorithm_rate_u_per_h: float | None = None
    temp_rate_u_per_h: float | None = None
    span_s: int | None = None  # set by sources whose rows carry their own length


@attrs.frozen(kw_only=True)
class BasalRateChanged:
    """The basal rate changed (record 3); it holds until the next change."""

    rate_u_per_h: float
    base_rate_u_per_h: float | None = None
    max_rate_u_per_h: float | None = None
    profile_slot: int | None = None
    reasons: tuple[str, ...] = ()  # timed_segment, new_profile, temp_rate_start, temp_rate_end, suspended, resumed


@attrs.frozen(kw_only=True)
class TempBasalStarted:
    """The wearer asked for a temporary rate (records 2, 565)."""

    temp_rate_id: int | None = None
    percent: float | None = None
    duration_s: float | None = None


@attrs.frozen(kw_only=True)
class TempBasalEnded:
    """A temporary rate ended (records 15, 564)."""

    temp_rate_id: int | None = None
    time_left_s: float | None = None
    reason: str | None = None


@attrs.frozen(kw_only=True)
class BasalDoseStarted:
    """A single basal dose was asked for (record 558, a newer algorithm family; never captured)."""

    dose_id: int
    dose_source: str | None = None
    requested_u: float | None = None
    rate_u_per_h: float | None = None
    iob_u: float | None = None


@attrs.frozen(kw_only=True)
class BasalDoseCompleted:
    """A single basal dose ended (record 559, a newer algorithm family; never captured)."""

    dose_id: int
    dose_source: str | None = None
    requested_u: float | None = None
    delivered_u: float | None = None
    rate_u_per_h: float | None = None
    iob_u: float | None = None


# --- insulin: boluses -----------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class BolusRequested:
    """One of the three records (64, 65, 66) of a bolus request; ``part`` tells which, other fields are None."""

    bolus_id: int
    part: int
    # part 1
    bolus_type: str | None = None  # insulin, carb, automatic_correction, remote
    correction_included: bool | None = None
    carbs_g: float | None = None
    glucose_mg_dl: float | None = None
    iob_u: float | None = None
    carb_ratio_g_per_u: float | None = None
    # part 2
    options: str | None = None  # standard, extended, quick, automatic, ble_standard, ble_extended, ...
    immediate_percent: float | None = None
    extended_duration_min: float | None = None
    isf_mg_dl_per_u: float | None = None
    target_mg_dl: float | None = None
    user_override: bool | None = None
    declined_correction: bool | None = None
    # part 3
    food_u: float | None = None
    correction_u: float | None = None
    total_u: float | None = None


@attrs.frozen(kw_only=True)
class BolusStarted:
    """Delivery of the immediate part began (record 55)."""

    bolus_id: int
    size_u: float | None = None
    iob_u: float | None = None


@attrs.frozen(kw_only=True)
class BolusExtendedStarted:
    """Delivery of the extended part began (record 59)."""

    bolus_id: int
    size_u: float | None = None
    iob_u: float | None = None


@attrs.frozen(kw_only=True)
class BolusDelivered:
    """Start, progress or end of a bolus (record 280). ``delivered_u`` counts both parts so far."""

    bolus_id: int
    status: str  # started, completed
    types: tuple[str, ...] = ()  # now, later, override, correction, carb, eating_soon, queued
    bolus_source: str | None = None  # button, pump_screen, remote, algorithm, ble, ...
    requested_now_u: float | None = None
    requested_later_u: float | None = None
    correction_u: float | None = None
    extended_duration_min: float | None = None
    delivered_u: float | None = None


@attrs.frozen(kw_only=True)
class BolusCompleted:
    """The immediate part ended (record 20)."""

    bolus_id: int
    status: str  # completed, user_aborted, stopped_by_alarm, stopped_by_malfunction, stopped_by_plgs, rejected, ...
    delivered_u: float | None = None
    requested_u: float | None = None
    iob_u: float | None = None
    # sources without separate request records say these here
    carbs_g: float | None = None
    glucose_mg_dl: float | None = None
    bolus_source: str | None = None
    notes: str | None = None


@attrs.frozen(kw_only=True)
class BolusExtendedCompleted:
    """The extended part ended (record 21); amounts are the extended part's own."""

    bolus_id: int
    status: str
    delivered_u: float | None = None
    requested_u: float | None = None
    iob_u: float | None = None
    duration_min: float | None = None


# --- delivery, fills, alarms ----------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PumpingSuspended:
    """All delivery stopped (record 11)."""

    reason: str = "unknown"  # user, alarm, malfunction, plgs
    reservoir_u: float | None = None


@attrs.frozen(kw_only=True)
class PumpingResumed:
    """Delivery goes on (record 12)."""

    reservoir_u: float | None = None


@attrs.frozen(kw_only=True)
class CartridgeFilled:
    """A new cartridge (record 33). ``volume_u`` is the amount shown to the wearer."""

    volume_u: float | None = None
    measured_u: float | None = None


@attrs.frozen(kw_only=True)
class TubingFilled:
    """The tubing was filled (record 63)."""

    prime_u: float | None = None
    status: str | None = None


@attrs.frozen(kw_only=True)
class CannulaFilled:
    """The cannula was filled: a new infusion site (record 61)."""

    prime_u: float | None = None
    status: str | None = None


@attrs.frozen(kw_only=True)
class AlarmRaised:
    """An alarm: delivery may have stopped (record 5). ``name`` is the number as text where nobody knows it."""

    alarm_id: int
    name: str


@attrs.frozen(kw_only=True)
class AlarmCleared:
    """An alarm ended (record 28)."""

    alarm_id: int
    name: str


@attrs.frozen(kw_only=True)
class AlertRaised:
    """An alert: something wants attention, delivery goes on (record 4)."""

    alert_id: int
    name: str


@attrs.frozen(kw_only=True)
class AlertCleared:
    """An alert ended (record 26)."""

    alert_id: int
    name: str


@attrs.frozen(kw_only=True)
class MalfunctionRaised:
    """The pump found a fault in itself (record 6)."""

    malfunction_id: int
    name: str


# --- glucose and sensors --------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class GlucoseReading:
    """A sensor reading. ``glucose_mg_dl`` is None unless ``mark`` is "value": high and low are marks, not numbers."""

    mark: str  # value, high, low, hidden
    reading_time: datetime  # pump's wall clock, naive: when it was measured
    glucose_mg_dl: float | None = None
    trend_mg_dl_per_min: float | None = None
    backfilled: bool = False
    sensor: str | None = None  # dexcom_g6, dexcom_g7, libre_2, libre_3


@attrs.frozen(kw_only=True)
class GlucoseFingerstick:
    """A glucose value used by the bolus calculator (record 16); only ``entry == "manual"`` was typed by the wearer."""

    glucose_mg_dl: float | None = None
    entry: str = "manual"  # manual, from_cgm
    calibration: bool = False
    iob_u: float | None = None
    target_mg_dl: float | None = None
    isf_mg_dl_per_u: float | None = None


@attrs.frozen(kw_only=True)
class SensorStarted:
    """A sensor session began (records 212, 404)."""

    sensor: str
    session_age_s: float | None = None  # how long the session had been running when this was logged
    signature: str | None = None  # names the session where the sensor says so
    reason: str | None = None


@attrs.frozen(kw_only=True)
class SensorJoined:
    """The pump joined a sensor session, perhaps again in mid-session (records 213, 394, 406, 477)."""

    sensor: str
    session_age_s: float | None = None
    signature: str | None = None
    reason: str | None = None


@attrs.frozen(kw_only=True)
class SensorStopped:
    """A sensor session ended (records 214, 447, 405, 486)."""

    sensor: str
    session_age_s: float | None = None
    reason: str | None = None


@attrs.frozen(kw_only=True)
class SensorAlertRaised:
    """A sensor alert (records 171, 369, 460)."""

    alert_id: int
    name: str
    sensor: str | None = None
    value: float | None = None


@attrs.frozen(kw_only=True)
class SensorAlertCleared:
    """A sensor alert ended (records 172, 370, 461)."""

    alert_id: int
    name: str
    sensor: str | None = None


# --- modes, carbs, status -------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class ModeChanged:
    """Sleep, exercise and the like (record 229)."""

    mode: str  # normal, sleep, exercise, eating_soon
    previous: str | None = None
    action: str | None = None  # none, start_sleep, stop_sleep, start_exercise, stop_exercise, stop_all, ...
    by_schedule: bool | None = None
    exercise_min: float | None = None


@attrs.frozen(kw_only=True)
class ControlChanged:
    """The control loop changed its state (record 230)."""

    control: str  # no_control, open_loop, pining, closed_loop
    previous: str | None = None


@attrs.frozen(kw_only=True)
class CarbsEntered:
    """Carbs entered without insulin (record 48)."""

    carbs_g: float


@attrs.frozen(kw_only=True)
class DaySummary:
    """The pump's running totals of the day (record 81)."""

    basal_total_u: float | None = None
    basal_rate_u_per_h: float | None = None
    iob_u: float | None = None
    battery_mv: int | None = None
    battery_percent: float | None = None


@attrs.frozen(kw_only=True)
class DayStarted:
    """The pump's day began (record 90)."""

    basal_rate_u_per_h: float | None = None


@attrs.frozen(kw_only=True)
class BatteryMeasured:
    """The battery's charge (records 9, 34, 35, 53)."""

    battery_percent: float | None = None
    battery_mv: int | None = None


@attrs.frozen(kw_only=True)
class PumpNoted:
    """A record whose name and values are known but mean nothing to a sink: versions, diagnostics, daily status."""

    name: str
    values: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class ClockChanged:
    """The wearer set the clock (records 13, 14), stamped on the new clock. ``step_s`` = after - before of this part."""

    part: str  # time, date
    step_s: float
    rtc_ms: int | None = None


@attrs.frozen(kw_only=True)
class SettingsCaptured:
    """The pump's settings as the cloud keeps them, written when their hash changed. Nothing of the account is in it."""

    settings_hash: str
    details: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Unknown:
    """A record nobody knows, or one that did not decode: kept verbatim in the envelope's ``raw``."""

    code: str
    reason: str  # "no such code", or what was wrong with it


# --- facts about the data itself ------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class UploadSeen:
    """The phone uploaded: the true UTC time of it, and the newest pump time (naive) in it. Evidence for the clock."""

    uploaded_at: datetime
    newest_pump_time: datetime | None = None


@attrs.frozen(kw_only=True)
class WindowFetched:
    """A stretch of pump-local days, both inclusive (YYYY-MM-DD), was fetched whole."""

    first_day: str
    last_day: str
    event_count: int = 0
    uploaded_at: datetime | None = None  # the upload that was known when it was fetched


@attrs.frozen(kw_only=True)
class HistoryOpened:
    """Documents from this pump-local day on (and to ``last_day``, inclusive; None: open) are wanted."""

    first_day: str
    last_day: str | None = None


@attrs.frozen(kw_only=True)
class ClockAnchored:
    """Which offset from UTC a stretch of the pump's clock has, and why that was chosen."""

    from_key: int  # first order key of the stretch (component) it speaks of
    at_key: int  # the key at which the offset holds; others follow from the clock changes between
    offset_min: int
    basis: str  # configuration, evidence, zone_at_clock_change, zone_at_first_event
    zone: str | None = None


@attrs.frozen(kw_only=True)
class LogGap:
    """A repair took damaged lines out: positions first to last are missing, and perhaps events of this time.

    The times are the pump's wall clock at what was lost, or just around it, read as if it were UTC; None: nobody knows.
    """

    first_position: int
    last_position: int
    side_file: str
    first_time: datetime | None = None
    last_time: datetime | None = None


@attrs.frozen(kw_only=True)
class WearBegan:
    """From here this pump is the worn one. Made by the timeline, never in the log."""


@attrs.frozen(kw_only=True)
class WearEnded:
    """From here another pump is the worn one. Made by the timeline, never in the log."""


BODIES: dict[str, type[Any]] = {
    "alarm.cleared": AlarmCleared,
    "alarm.raised": AlarmRaised,
    "alert.cleared": AlertCleared,
    "alert.raised": AlertRaised,
    "basal.delivered": BasalDelivered,
    "basal.dose_completed": BasalDoseCompleted,
    "basal.dose_started": BasalDoseStarted,
    "basal.rate_changed": BasalRateChanged,
    "battery.measured": BatteryMeasured,
    "bolus.completed": BolusCompleted,
    "bolus.delivered": BolusDelivered,
    "bolus.extended_completed": BolusExtendedCompleted,
    "bolus.extended_started": BolusExtendedStarted,
    "bolus.requested": BolusRequested,
    "bolus.started": BolusStarted,
    "cannula.filled": CannulaFilled,
    "carbs.entered": CarbsEntered,
    "cartridge.filled": CartridgeFilled,
    "clock.anchored": ClockAnchored,
    "clock.changed": ClockChanged,
    "control.changed": ControlChanged,
    "day.started": DayStarted,
    "day.summary": DaySummary,
    "glucose.fingerstick": GlucoseFingerstick,
    "glucose.reading": GlucoseReading,
    "history.opened": HistoryOpened,
    "log.gap": LogGap,
    "malfunction.raised": MalfunctionRaised,
    "mode.changed": ModeChanged,
    "pump.noted": PumpNoted,
    "pumping.resumed": PumpingResumed,
    "pumping.suspended": PumpingSuspended,
    "sensor.alert_cleared": SensorAlertCleared,
    "sensor.alert_raised": SensorAlertRaised,
    "sensor.joined": SensorJoined,
    "sensor.started": SensorStarted,
    "sensor.stopped": SensorStopped,
    "settings.captured": SettingsCaptured,
    "temp_basal.ended": TempBasalEnded,
    "temp_basal.started": TempBasalStarted,
    "tubing.filled": TubingFilled,
    "unknown": Unknown,
    "upload.seen": UploadSeen,
    "wear.began": WearBegan,
    "wear.ended": WearEnded,
    "window.fetched": WindowFetched,
}
"""Every kind and its body class."""

FACTS = frozenset({"clock.anchored", "history.opened", "log.gap", "upload.seen", "window.fetched"})
"""Kinds that speak about the data, not about the pump: no stream, no place in the pump's order, never given to a fold."""

ACCOUNT_KINDS = frozenset({"settings.captured"})
"""Kinds that the vendor's account says and stamps: no sign of life of the pump, and never later than when they came."""

PUMP_KINDS = frozenset(BODIES) - FACTS - ACCOUNT_KINDS - {"unknown", "wear.began", "wear.ended"}
"""Kinds that a pump said and that could be read: what "the newest data" means."""

WEAR_MARKS = frozenset(
    {
        "bolus.completed",
        "bolus.delivered",
        "bolus.started",
        "cannula.filled",
        "cartridge.filled",
        "glucose.reading",
        "tubing.filled",
    }
)
"""Kinds that show that a pump is being worn (a pump in a drawer still logs its basal)."""

Body: TypeAlias = Any
"""An instance of one of the classes in :data:`BODIES`."""


@attrs.frozen(kw_only=True)
class Event:
    """One pump fact, as the log keeps it.

    ``seq`` is the pump's own sequence number within ``group``; None for sources without numbers, whose events are ordered by
    ``pump_time`` and named by a stable id. ``pump_time`` is the pump's wall clock, naive on purpose. ``raw`` is the vendor's
    record verbatim. ``pos`` is the position in the log (0: not there yet); ``at`` is the UTC time by the timeline, set only
    on the events that a fold sees.
    """

    id: str
    kind: str
    pump: str
    group: int | None
    seq: int | None
    pump_time: datetime
    source: str
    received_at: datetime
    body: Body
    raw: Mapping[str, Any] | None = None
    decoder: int = 1
    pos: int = 0
    at: datetime | None = None


__all__ = [
    "ACCOUNT_KINDS",
    "BODIES",
    "FACTS",
    "PUMP_KINDS",
    "WEAR_MARKS",
    "AlarmCleared",
    "AlarmRaised",
    "AlertCleared",
    "AlertRaised",
    "BasalDelivered",
    "BasalDoseCompleted",
    "BasalDoseStarted",
    "BasalRateChanged",
    "BatteryMeasured",
    "Body",
    "BolusCompleted",
    "BolusDelivered",
    "BolusExtendedCompleted",
    "BolusExtendedStarted",
    "BolusRequested",
    "BolusStarted",
    "CannulaFilled",
    "CarbsEntered",
    "CartridgeFilled",
    "ClockAnchored",
    "ClockChanged",
    "ControlChanged",
    "DayStarted",
    "DaySummary",
    "Event",
    "GlucoseFingerstick",
    "GlucoseReading",
    "HistoryOpened",
    "LogGap",
    "MalfunctionRaised",
    "ModeChanged",
    "PumpNoted",
    "PumpingResumed",
    "PumpingSuspended",
    "SensorAlertCleared",
    "SensorAlertRaised",
    "SensorJoined",
    "SensorStarted",
    "SensorStopped",
    "SettingsCaptured",
    "TempBasalEnded",
    "TempBasalStarted",
    "TubingFilled",
    "Unknown",
    "UploadSeen",
    "WearBegan",
    "WearEnded",
    "WindowFetched",
]
