"""Events of insulin and carbs: basal rates, temporary rates, single basal doses, boluses, carbs without insulin."""

from __future__ import annotations

import msgspec


class BasalDelivered(msgspec.Struct, frozen=True, kw_only=True):
    """The rate that the pump delivers. Record 279 repeats it about every five minutes; rows of other sources have ``span_s``."""

    rate_u_per_h: float
    rate_source: str = "unknown"  # suspended, profile, temp_rate, algorithm, temp_rate_and_algorithm
    profile_rate_u_per_h: float | None = None
    algorithm_rate_u_per_h: float | None = None
    temp_rate_u_per_h: float | None = None
    span_s: int | None = None  # duration of the row, if the source reports it


class BasalRateChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The basal rate changed (record 3); it holds until the next change."""

    rate_u_per_h: float
    base_rate_u_per_h: float | None = None
    max_rate_u_per_h: float | None = None
    profile_slot: int | None = None
    reasons: tuple[str, ...] = ()  # timed_segment, new_profile, temp_rate_start, temp_rate_end, suspended, resumed


class TempBasalStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The wearer started a temporary rate (records 2, 565)."""

    temp_rate_id: int | None = None
    percent: float | None = None
    duration_s: float | None = None


class TempBasalEnded(msgspec.Struct, frozen=True, kw_only=True):
    """A temporary rate ended (records 15, 564)."""

    temp_rate_id: int | None = None
    time_left_s: float | None = None
    reason: str | None = None


class BasalDoseStarted(msgspec.Struct, frozen=True, kw_only=True):
    """A single basal dose was requested (record 558 of newer algorithms; never seen so far)."""

    dose_id: int
    dose_source: str | None = None
    requested_u: float | None = None
    rate_u_per_h: float | None = None
    iob_u: float | None = None


class BasalDoseCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """A single basal dose ended (record 559 of newer algorithms; never seen so far)."""

    dose_id: int
    dose_source: str | None = None
    requested_u: float | None = None
    delivered_u: float | None = None
    rate_u_per_h: float | None = None
    iob_u: float | None = None


class BolusRequested(msgspec.Struct, frozen=True, kw_only=True):
    """One of the three records (64, 65, 66) of a bolus request. ``part`` is its number; fields of other parts are None."""

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


class BolusStarted(msgspec.Struct, frozen=True, kw_only=True):
    """Delivery of the immediate part began (record 55)."""

    bolus_id: int
    size_u: float | None = None
    iob_u: float | None = None


class BolusExtendedStarted(msgspec.Struct, frozen=True, kw_only=True):
    """Delivery of the extended part began (record 59)."""

    bolus_id: int
    size_u: float | None = None
    iob_u: float | None = None


class BolusDelivered(msgspec.Struct, frozen=True, kw_only=True):
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


class BolusCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """The immediate part ended (record 20)."""

    bolus_id: int
    status: str  # completed, user_aborted, stopped_by_alarm, stopped_by_malfunction, stopped_by_plgs, rejected, ...
    delivered_u: float | None = None
    requested_u: float | None = None
    iob_u: float | None = None
    # only from sources without separate request records
    carbs_g: float | None = None
    glucose_mg_dl: float | None = None
    bolus_source: str | None = None
    notes: str | None = None


class BolusExtendedCompleted(msgspec.Struct, frozen=True, kw_only=True):
    """The extended part ended (record 21); amounts are the extended part's own."""

    bolus_id: int
    status: str
    delivered_u: float | None = None
    requested_u: float | None = None
    iob_u: float | None = None
    duration_min: float | None = None


class CarbsEntered(msgspec.Struct, frozen=True, kw_only=True):
    """Carbs entered without insulin (record 48)."""

    carbs_g: float
