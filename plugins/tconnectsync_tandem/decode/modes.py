"""Modes and the control loop (229, 230), and records that no sink uses."""

from __future__ import annotations

from datetime import datetime

from tconnectsync import events
from tconnectsync.events import Body
from tconnectsync_tandem.decode.codes import SENSOR_ALERTS
from tconnectsync_tandem.decode.fields import (
    COUNT_32,
    GLUCOSE_OR_NONE,
    MINUTES,
    RESERVOIR_U,
    SIGNED_32,
    YES_NO,
    Field,
    bits,
    may,
    named,
    need,
    number,
    whole,
)
from tconnectsync_tandem.decode.records import Record, Values, note, record

_MODES = {0: "normal", 1: "sleep", 2: "exercise", 3: "eating_soon"}
_ACTIONS = {
    0: "none",
    1: "start_sleep",
    2: "stop_sleep",
    3: "start_exercise",
    4: "stop_exercise",
    5: "stop_all",
    6: "start_eating_soon",
    7: "stop_eating_soon",
}
_CONTROLS = {0: "no_control", 1: "open_loop", 2: "pining", 3: "closed_loop"}
_SENSORS = {0: "none", 1: "dexcom_g6", 2: "libre_2", 3: "dexcom_g7", 4: "libre_3"}
_TIMED = 1
_LETTERS = 16


def _mode(values: Values, _: datetime) -> Body:
    mode, previous = values["mode"], values["previous"]
    by_hand = values["by_hand"]
    timed = mode == "exercise" and values["choice"] == _TIMED  # in sleep records the exercise fields keep old values
    return events.ModeChanged(
        mode=mode,
        previous=previous,
        action=values["action"],
        by_schedule=not by_hand if by_hand is not None and "sleep" in (mode, previous) else None,
        exercise_min=values["exercise_min"] if timed else None,
    )


def _profile(code: int, name: str, *fields: Field) -> Record:
    """A profile's name, one letter per property; both records may have any of the sixteen."""
    letters = tuple(may(f"name{place}", f"name{place}", whole(0, 255)) for place in range(_LETTERS))

    def build(values: Values, _: datetime) -> Body:
        numbers = [values.pop(letter.name) for letter in letters]
        present = {key: value for key, value in values.items() if value is not None}
        if any(number is not None for number in numbers):
            present["text"] = "".join(chr(number or 0) for number in numbers).lstrip("\0").split("\0")[0]
        return events.PumpNoted(name=name, values=present)

    return Record(code, "pump.noted", (*fields, *letters), build)


_PROFILE_SLOT = may("profile_slot", "idp", whole(0, 255))
_SEGMENTS = (
    *(may(f"segment_start_min_{i}", f"sleepEatSegmentStartTime{i}", MINUTES) for i in range(4)),
    *(
        may(
            f"segment_type_{i}",
            f"sleepEatSegmentType{i}",
            named({0: "none", 1: "less", 2: "standard", 3: "more", 4: "max", 5: "sleep", 6: "not_defined"}),
        )
        for i in range(4)
    ),
)
_FLAGS = bits({})
_CURRENT = may("current_ma", "negotiatedCurrent", number(0, 100_000))

RECORDS: tuple[Record, ...] = (
    Record(
        229,
        "mode.changed",
        (
            need("mode", "currentUserMode", named(_MODES)),
            may("previous", "previousUserMode", named(_MODES)),
            may("action", "requestedAction", named(_ACTIONS)),
            may("by_hand", "sleepStartedByGui", YES_NO),
            may("choice", "exerciseChoice", whole(0, 255)),
            may("exercise_min", "exerciseTime", MINUTES),
        ),
        _mode,
        ("spareA3", "activeSleepSchedule", "spareB6", "exerciseStoppedByTimer", "eatingSoonStoppedByTimer"),
    ),
    record(
        230,
        "control.changed",
        need("control", "currentPcm", named(_CONTROLS)),
        may("previous", "previousPcm", named(_CONTROLS)),
        spare=(
            "pumpSuspended",
            "calculationAvailable",
            "cgmAvailable",
            "closedLoopPreferred",
            "sufficientClosedLoopParams",
        ),
    ),
    # seen, but never explained: not read
    *(note(code, f"record_{code}", tolerant=True) for code in (8, 22, 23, 27, 52, 219, 434)),
    note(36, "usb_connected", _CURRENT),
    note(37, "usb_disconnected", _CURRENT),
    note(
        60,
        "history_log_corrupted",
        may("block", "block", SIGNED_32),
        may(
            "reason",
            "reason",
            named(
                {
                    0: "invalid_header_id",
                    1: "bad_integrity",
                    2: "invalid_block",
                    3: "spare_deactivation_failed",
                    4: "invalid_sequence_number",
                    5: "pattern_mismatch",
                    6: "bad_first_block",
                    7: "bad_sequence_increment",
                }
            ),
        ),
    ),
    _profile(57, "profile_name_continued", _PROFILE_SLOT),
    _profile(
        69,
        "profile_changed",
        _PROFILE_SLOT,
        may("status", "status", named({0: "new", 1: "copy", 2: "delete", 3: "activate", 4: "rename"})),
        may("source_profile_slot", "sourceIdp", whole(0, 255)),
    ),
    note(
        99,
        "pump_started",
        may("version", "version", SIGNED_32),
        may("log_entries", "numLogEntries", SIGNED_32),
        spare=("configABits", "configBBits"),
    ),
    note(
        140,
        "basal_iq_status",
        may("glucose_mg_dl", "fmr", GLUCOSE_OR_NONE),
        may("predicted_glucose_mg_dl", "pgv", GLUCOSE_OR_NONE),
        may("prediction_valid", "pgvValid", YES_NO),
        may(
            "state",
            "hoMinState",
            named({0: "on_available", 1: "on_suspended", 2: "off", 3: "on_unavailable"}),
        ),
        may("rule", "ruleState", bits({0: "suspend", 1: "recovery", 2: "unavailable"})),
        may(
            "status",
            "status",
            bits(
                {
                    0: "suspend_predicted",
                    1: "suspend_current",
                    4: "resume_glucose_rise",
                    6: "resume_nadir_lock",
                    7: "unavailable_time_small",
                    8: "unavailable_suspend_override",
                    9: "unavailable_cgm_off",
                    10: "unavailable_glucose_high",
                    11: "unavailable_not_therapy",
                    12: "unavailable_bolus_active",
                    13: "unavailable_no_current_glucose",
                }
            ),
        ),
        spare=("timestamp", "fmrStatus"),
    ),
    note(
        191,
        "version_info",
        may("version", "version", SIGNED_32),
        spare=("configABits", "configBBits", "armCrc"),
    ),
    note(
        203,
        "software_update",
        may("successful", "updateSuccessful", YES_NO),
        may("part_number", "swPartNum", SIGNED_32),
        may("status", "swUpdateStatus", _FLAGS),
        spare=("metadataAndVersionStatus", "fullDlAndCrcStatus", "fileDlAndSideloadStatus", "externalFlashStatus"),
    ),
    note(
        307,
        "versions",
        may("arm_part_number", "armPartNumber", COUNT_32),
        may("arm_version", "armSwVersion", COUNT_32),
        may("ble_part_number", "blePartNumber", COUNT_32),
        may("ble_version", "bleSwVersion", COUNT_32),
    ),
    note(
        313,
        "daily_status",
        may("control", "pumpControlState", named(_CONTROLS)),
        may("mode", "usermode", named(_MODES)),
        may("sensor", "sensorType", named(_SENSORS)),
        may("total_daily_insulin_u", "currentTdIpop", RESERVOIR_U),
        spare=("weightUnit", "weight"),
    ),
    note(
        371,
        "sensor_alert_acknowledged",
        may("alert", "dalertId", named(SENSOR_ALERTS)),
        may("sensor", "sensorType", named(_SENSORS)),
        may("by", "ackSource", named({0: "user", 1: "software"})),
        spare=("spareA2",),
    ),
    note(
        562,
        "algorithm_status_1",
        may("closed_loop_preferred", "closedLoopPreferred", YES_NO),
        may("total_daily_insulin_u", "totalDailyInsulinUnits", RESERVOIR_U),
        may("goal", "glycemicGoal", named({0: "relaxed", 1: "balanced", 2: "tightest"})),
        may("prior_therapy", "priorTherapy", named({0: "previous_pump", 1: "multiple_daily_injections", 2: "not_set"})),
        *_SEGMENTS,
    ),
    note(
        563,
        "algorithm_status_2",
        may("control", "pumpControlState", named(_CONTROLS)),
        may("sensor", "sensorType", named(_SENSORS)),
    ),
    note(566, "sleep_eat_schedule_changed", *_SEGMENTS),
)
