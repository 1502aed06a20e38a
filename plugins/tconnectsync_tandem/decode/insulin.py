"""Insulin: basal (3, 279), boluses (20, 21, 55, 59, 64 to 66, 280), carbs (48), temporary rates and single doses (558 to 565).

Rates and amounts arrive as float32 in units, but 279 and 280 (and the rates of 558 and 559) in milliunits.
"""

from __future__ import annotations

from datetime import datetime

from tconnectsync import events
from tconnectsync.events import Body
from tconnectsync_tandem.decode.fields import (
    COUNT_32,
    GLUCOSE_OR_NONE,
    INSULIN_MU,
    INSULIN_U,
    IOB_U,
    MINUTES,
    PERCENT,
    POSITIVE_OR_NONE,
    RATE_MU_PER_H,
    RATE_U_PER_H,
    YES_NO,
    Field,
    bits,
    may,
    named,
    need,
    number,
    whole,
)
from tconnectsync_tandem.decode.records import Record, Values, record

_RATE_SOURCES = {0: "suspended", 1: "profile", 2: "temp_rate", 3: "algorithm", 4: "temp_rate_and_algorithm"}
_RATE_CHANGES = {
    0: "timed_segment",
    1: "new_profile",
    2: "temp_rate_start",
    3: "temp_rate_end",
    4: "suspended",
    5: "resumed",
}
_DOSE_SOURCES = {
    0: "suspended",
    1: "profile",
    2: "profile_and_temp_rate",
    3: "algorithm",
    4: "algorithm_and_temp_control",
}
_BOLUS_ENDS = {
    0: "user_aborted",
    1: "stopped_by_alarm",
    2: "stopped_by_malfunction",
    3: "completed",
    4: "reserved_4",
    5: "rejected",
    6: "stopped_by_plgs",
    7: "reserved_7",
    8: "reserved_8",
}
_BOLUS_TYPES = {0: "insulin", 1: "carb", 2: "automatic_correction", 3: "remote"}
_BOLUS_OPTIONS = {
    0: "standard",
    1: "extended",
    2: "quick",
    3: "automatic",
    4: "ble_standard",
    5: "ble_extended",
    6: "eating_soon_automatic",
    7: "late",
    8: "ble_aid_recommendation",
}
_BOLUS_BITS = {0: "now", 1: "later", 2: "override", 3: "correction", 4: "carb", 5: "eating_soon", 6: "queued"}
_BOLUS_SOURCES = {
    0: "button",
    1: "pump_screen",
    5: "remote",
    7: "algorithm",
    8: "ble",
    9: "eating_soon",
    11: "ble_aid_recommendation",
}
_TEMP_ENDS = {
    0: "user_aborted",
    1: "stopped_by_alarm",
    3: "completed",
    8: "user_aborted_ble",
    10: "control_mode_change",
    11: "closed_loop_preferred_change",
}
_BOLUS_ID = need("bolus_id", "bolusId", COUNT_32)
_CARBS_G = number(0, 5_000)
_DURATION_MS = number(0, 2**32, per_unit=1000)


def _request(code: int, part: int, *fields: Field, spare: tuple[str, ...] = ()) -> Record:
    def build(values: Values, _: datetime) -> Body:
        return events.BolusRequested(part=part, **values)

    return Record(code, "bolus.requested", (_BOLUS_ID, *fields), build, spare)


def _bolus_start(code: int, kind: str, size: str) -> Record:
    fields = (_BOLUS_ID, may("size_u", size, INSULIN_U), may("iob_u", "iob", IOB_U))
    return record(code, kind, *fields, spare=("selectedIob", "spareA3"))


def _bolus_end(code: int, kind: str) -> Record:
    return record(
        code,
        kind,
        _BOLUS_ID,
        need("status", "completionStatus", named(_BOLUS_ENDS)),
        need("delivered_u", "insulinDelivered", INSULIN_U),
        may("requested_u", "insulinRequested", INSULIN_U),
        may("iob_u", "iob", IOB_U),
    )


RECORDS: tuple[Record, ...] = (
    record(
        279,
        "basal.delivered",
        need("rate_u_per_h", "commandedRate", RATE_MU_PER_H),
        may("rate_source", "commandedRateSource", named(_RATE_SOURCES)),
        may("profile_rate_u_per_h", "profileBasalRate", RATE_MU_PER_H),
        may("algorithm_rate_u_per_h", "algorithmRate", RATE_MU_PER_H),
        may("temp_rate_u_per_h", "tempRate", RATE_MU_PER_H),
        spare=("reservedA2", "spareA3"),
    ),
    record(
        3,
        "basal.rate_changed",
        need("rate_u_per_h", "commandedBasalRate", RATE_U_PER_H),
        may("base_rate_u_per_h", "baseBasalRate", RATE_U_PER_H),
        may("max_rate_u_per_h", "maxBasalRate", RATE_U_PER_H),
        may("profile_slot", "idp", whole(-1, 255, none=(-1, 255))),
        may("reasons", "changeType", bits(_RATE_CHANGES)),
    ),
    _request(
        64,
        1,
        may("bolus_type", "bolusType", named(_BOLUS_TYPES)),
        may("correction_included", "correctionBolusIncluded", YES_NO),
        need("carbs_g", "carbAmount", _CARBS_G),
        may("glucose_mg_dl", "bg", GLUCOSE_OR_NONE),
        may("iob_u", "iob", IOB_U),
        may("carb_ratio_g_per_u", "carbRatio", number(1, 10_000_000, none=(0,), per_unit=1000)),
    ),
    _request(
        65,
        2,
        may("options", "options", named(_BOLUS_OPTIONS)),
        may("immediate_percent", "standardPercent", PERCENT),
        may("extended_duration_min", "duration", MINUTES),
        may("isf_mg_dl_per_u", "isf", POSITIVE_OR_NONE),
        may("target_mg_dl", "targetBg", GLUCOSE_OR_NONE),
        may("user_override", "userOverride", YES_NO),
        may("declined_correction", "declinedCorrection", YES_NO),
        spare=("spareB6", "selectedIob"),
    ),
    _request(
        66,
        3,
        may("food_u", "foodBolusSize", INSULIN_U),
        may("correction_u", "correctionBolusSize", number(-500, 500)),
        need("total_u", "totalBolusSize", INSULIN_U),
        spare=("spareA2", "queued"),
    ),
    _bolus_start(55, "bolus.started", "bolusSize"),
    _bolus_start(59, "bolus.extended_started", "bolexSize"),
    record(
        280,
        "bolus.delivered",
        _BOLUS_ID,
        need("status", "bolusDeliveryStatus", named({0: "completed", 1: "started"})),
        may("types", "bolusType", bits(_BOLUS_BITS)),
        may("bolus_source", "bolusSource", named(_BOLUS_SOURCES)),
        may("requested_now_u", "requestedNow", INSULIN_MU),
        may("requested_later_u", "requestedLater", INSULIN_MU),
        may("correction_u", "correction", number(-500_000, 500_000, per_unit=1000)),
        may("extended_duration_min", "extendedDurationRequested", MINUTES),
        need("delivered_u", "deliveredTotal", INSULIN_MU),
        spare=("remoteId",),
    ),
    _bolus_end(20, "bolus.completed"),
    _bolus_end(21, "bolus.extended_completed"),
    record(48, "carbs.entered", need("carbs_g", "carbs", _CARBS_G)),
    record(
        558,
        "basal.dose_started",
        need("dose_id", "doseId", COUNT_32),
        may("dose_source", "doseSource", named(_DOSE_SOURCES)),
        may("requested_u", "syncDoseSizeRequested", INSULIN_U),
        may("rate_u_per_h", "currentBasalRate", RATE_MU_PER_H),
        may("iob_u", "activeInsulin", IOB_U),
        spare=("tempAdjustmentPercent", "profileBasalRate"),
    ),
    record(
        559,
        "basal.dose_completed",
        need("dose_id", "doseId", COUNT_32),
        may("dose_source", "doseSource", named(_DOSE_SOURCES)),
        may("requested_u", "syncDoseSizeRequested", INSULIN_U),
        need("delivered_u", "syncDoseSizeDelivered", INSULIN_U),
        may("rate_u_per_h", "currentBasalRate", RATE_MU_PER_H),
        may("iob_u", "activeInsulin", IOB_U),
        spare=("tempAdjustmentPercent",),
    ),
    record(
        565,
        "temp_basal.started",
        may("temp_rate_id", "tempRateId", COUNT_32),
        may("percent", "requestedPercent", number(0, 1_000)),
        may("duration_s", "duration", _DURATION_MS),
        spare=("tempBasalPercent", "requestedAdjustmentType"),
    ),
    record(
        564,
        "temp_basal.ended",
        may("temp_rate_id", "tempRateId", COUNT_32),
        may("time_left_s", "timeLeft", _DURATION_MS),
        may("reason", "stopReason", named(_TEMP_ENDS)),
    ),
)
