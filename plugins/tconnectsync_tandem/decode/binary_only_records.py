"""Records that only the binary history log has: temporary rates (2, 15), and others that no sink uses.

The JSON API never returned one. If it did under other names, the entry would be stored as ``unknown``.
"""

from __future__ import annotations

import re

from tconnectsync import alarms
from tconnectsync_tandem.decode.codes import SENSOR_ALERTS
from tconnectsync_tandem.decode.fields import (
    COUNT_32,
    GLUCOSE_OR_NONE,
    IOB_U,
    POSITIVE_OR_NONE,
    YES_NO,
    Field,
    bits,
    may,
    named,
    need,
    number,
)
from tconnectsync_tandem.decode.records import Record, note, record

_REMINDERS = {
    0: "low_bg",
    1: "high_bg",
    2: "site_change",
    3: "missed_meal",
    4: "missed_meal_1",
    5: "missed_meal_2",
    6: "missed_meal_3",
    7: "after_bolus_bg",
    8: "additional_bolus",
}
_MILLI = number(0, 100_000, per_unit=1000)
_DURATION_MS = number(0, 2**32, per_unit=1000)
_TREND = number(-1_000, 1_000, none=(127,), per_unit=10)
_REMINDER = need("reminder", "reminderId", named(_REMINDERS))
_SENSOR_LIMIT = (
    "threshold",
    "repeatMinutes",
    may("enabled", "enabled", YES_NO),
    may("modified", "modifiedField", bits({0: "enabled", 1: "threshold", 2: "repeat_minutes", 3: "invalid"})),
)
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _binary_only(code: int, name: str, first: str | Field, *more: str | Field) -> Record:
    """A record whose plain properties are counts, under their own names; the first property is required."""
    fields = [first if isinstance(first, Field) else need(_snake(first), first, COUNT_32)]
    fields += [each if isinstance(each, Field) else may(_snake(each), each, COUNT_32) for each in more]
    return note(code, name, *fields)


def _snake(key: str) -> str:
    return _WORD.sub("_", key).lower()


RECORDS: tuple[Record, ...] = (
    record(
        2,
        "temp_basal.started",
        need("temp_rate_id", "tempRateId", COUNT_32),
        may("percent", "percent", number(0, 1_000)),
        may("duration_s", "duration", _DURATION_MS),
    ),
    record(
        15,
        "temp_basal.ended",
        need("temp_rate_id", "tempRateId", COUNT_32),
        may("time_left_s", "timeLeft", _DURATION_MS),
    ),
    _binary_only(0, "history_log_erased", "erasedRecordCount"),
    _binary_only(7, "malfunction_acknowledged", need("malfunction", "malfId", named(alarms.MALFUNCTIONS))),
    _binary_only(25, "reminder_raised", _REMINDER),
    _binary_only(29, "reminder_dismissed", _REMINDER),
    _binary_only(30, "reminder_snoozed", _REMINDER),
    _binary_only(67, "usb_enumerated", "negotiatedCurrent"),
    _binary_only(
        68,
        "profile_segment",
        need("profile_slot", "idp", COUNT_32),
        "status",
        "segmentIndex",
        "modification",
        may("start_min", "startTime", COUNT_32),
        may("basal_rate_u_per_h", "basalRate", _MILLI),
    ),
    _binary_only(
        70,
        "profile_bolus_settings",
        need("profile_slot", "idp", COUNT_32),
        "modification",
        "status",
        may("insulin_duration_min", "insulinDuration", COUNT_32),
        may("max_bolus_u", "maxBolus", _MILLI),
        "carbEntry",
    ),
    _binary_only(71, "profile_list", "profileCount", *(f"slot{place}" for place in range(1, 7))),
    _binary_only(
        73,
        "pump_settings_changed",
        "modification",
        "status",
        "lowInsulinThreshold",
        "cannulaPrimeSize",
        may("feature_locked", "featureLocked", YES_NO),
        may("auto_off_enabled", "autoOffEnabled", YES_NO),
        "screenTimeout",
        "autoOffDuration",
    ),
    _binary_only(
        74,
        "global_settings_changed",
        "modified",
        "quickBolusStatus",
        may("quick_bolus_enabled", "quickBolusEnabled", YES_NO),
        "quickBolusEntryType",
        "quickBolusIncrementInsulin",
        "quickBolusIncrementCarbs",
        "buttonVolume",
        "quickBolusVolume",
        "bolusVolume",
        "reminderVolume",
        "alertVolume",
    ),
    _binary_only(
        93,
        "correction_declined",
        "bolusId",
        may("glucose_mg_dl", "bg", GLUCOSE_OR_NONE),
        may("iob_u", "iob", IOB_U),
        may("target_mg_dl", "targetBg", GLUCOSE_OR_NONE),
        may("isf_mg_dl_per_u", "isf", POSITIVE_OR_NONE),
    ),
    _binary_only(
        96,
        "reminder_settings_changed",
        _REMINDER,
        "modification",
        "status",
        may("enabled", "enabled", YES_NO),
        may("frequency_min", "frequency", COUNT_32),
        may("start_min", "startTime", COUNT_32),
        may("end_min", "endTime", COUNT_32),
        may("days", "activeDays", bits({})),
    ),
    _binary_only(
        97,
        "reminder_limits_changed",
        "modification",
        "status",
        may("low_mg_dl", "lowBgThreshold", GLUCOSE_OR_NONE),
        may("high_mg_dl", "highBgThreshold", GLUCOSE_OR_NONE),
        "siteChangeDays",
    ),
    _binary_only(151, "older_sensor_reading", "status"),
    _binary_only(
        160,
        "older_sensor_calibration",
        "currentTime",
        "timestamp",
        "calibrationTimestamp",
        may("glucose_mg_dl", "bg", GLUCOSE_OR_NONE),
        may("displayed_mg_dl", "displayedGlucose", GLUCOSE_OR_NONE),
    ),
    *(
        _binary_only(code, f"sensor_{limit}_alert_settings", *_SENSOR_LIMIT)
        for code, limit in ((165, "high"), (166, "low"), (167, "rise"), (168, "fall"), (169, "out_of_range"))
    ),
    _binary_only(173, "older_sensor_alert_acknowledged", need("alert", "dalertId", named(SENSOR_ALERTS))),
    _binary_only(199, "predictive_resume", "reason"),
    _binary_only(210, "sensor_calibration", need("glucose_mg_dl", "bg", GLUCOSE_OR_NONE)),
    # reportedly replaced by 256, and never captured: too little is known to call it a reading
    _binary_only(
        211,
        "older_sensor_reading",
        need("status", "glucoseValueStatus", COUNT_32),
        may("kind", "cgmDataType", COUNT_32),
        may("trend_mg_dl_per_min", "rate", _TREND),
        may("glucose_mg_dl", "currentGlucoseDisplayValue", GLUCOSE_OR_NONE),
        may("reading_s", "egvTimeStamp", COUNT_32),
        "transmitterTimeStamp",
        may("rssi", "rssi", number(-128, 127)),
    ),
    _binary_only(244, "control_iq_switched", need("enabled", "enabled", YES_NO)),
    _binary_only(
        419,
        "remote_command_failed",
        "messageType",
        "requestCode",
        "errorCode",
        may("data_masked", "dataMasked", YES_NO),
    ),
    _binary_only(438, "sensor_calibration", need("glucose_mg_dl", "bg", GLUCOSE_OR_NONE)),
    _binary_only(439, "sensor_calibration_result", need("accepted", "accepted", YES_NO)),
)
