"""Captured records, kept outside of this repository: every one is decoded to exactly what it says.

``TCONNECTSYNC_CONFORMANCE_DATA`` names a folder with ``bff_examples.json`` (captured answers) and ``bff_events.json`` (the
catalogue of record ids and their properties).
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync import events
from tconnectsync_tandem.api.pumps import read_pumps
from tconnectsync_tandem.api.responses import split_answer
from tconnectsync_tandem.decode import decode
from tconnectsync_tandem.decode.entries import RECORDS, read_entry

FOLDER = os.environ.get("TCONNECTSYNC_CONFORMANCE_DATA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="TCONNECTSYNC_CONFORMANCE_DATA names no folder of captured records")

EPOCH = datetime(2008, 1, 1)
KINDS = {
    4: "alert.raised", 5: "alarm.raised", 11: "pumping.suspended", 12: "pumping.resumed", 13: "clock.changed",
    14: "clock.changed", 16: "glucose.fingerstick", 20: "bolus.completed", 21: "bolus.extended_completed",
    26: "alert.cleared", 28: "alarm.cleared", 33: "cartridge.filled", 55: "bolus.started", 59: "bolus.extended_started",
    61: "cannula.filled", 63: "tubing.filled", 64: "bolus.requested", 65: "bolus.requested", 66: "bolus.requested",
    90: "day.started", 229: "mode.changed", 230: "control.changed", 256: "glucose.reading", 279: "basal.delivered",
    280: "bolus.delivered", 307: "pump.noted", 313: "pump.noted", 369: "sensor.alert_raised", 370: "sensor.alert_cleared",
    371: "pump.noted", 394: "sensor.joined", 399: "glucose.reading", 447: "sensor.stopped",
}  # fmt: skip

# Per record id: body field -> how the captured properties say it. Written down apart from the decoder's own tables.
EXPECTED: dict[int, dict[str, Any]] = {
    279: {
        "rate_u_per_h": lambda p: p["commandedRate"] / 1000,
        "rate_source": lambda p: ["suspended", "profile", "temp_rate", "algorithm", "temp_rate_and_algorithm"][p["commandedRateSource"]],
        "profile_rate_u_per_h": lambda p: p["profileBasalRate"] / 1000,
        "algorithm_rate_u_per_h": lambda p: None if p["algorithmRate"] == 65535 else p["algorithmRate"] / 1000,
        "temp_rate_u_per_h": lambda p: None if p["tempRate"] == 65535 else p["tempRate"] / 1000,
        "span_s": lambda p: None,
    },
    280: {
        "bolus_id": lambda p: p["bolusId"],
        "status": lambda p: ["completed", "started"][p["bolusDeliveryStatus"]],
        "types": lambda p: tuple(["now", "later", "override", "correction", "carb"][bit] for bit in p["bolusType"]),
        "bolus_source": lambda p: {0: "button", 1: "pump_screen", 7: "algorithm", 8: "ble"}[p["bolusSource"]],
        "requested_now_u": lambda p: p["requestedNow"] / 1000,
        "requested_later_u": lambda p: p["requestedLater"] / 1000,
        "correction_u": lambda p: p["correction"] / 1000,
        "extended_duration_min": lambda p: p["extendedDurationRequested"],
        "delivered_u": lambda p: p["deliveredTotal"] / 1000,
    },
    20: {
        "bolus_id": lambda p: p["bolusId"],
        "status": lambda p: {0: "user_aborted", 3: "completed"}[p["completionStatus"]],
        "delivered_u": lambda p: p["insulinDelivered"],
        "requested_u": lambda p: p["insulinRequested"],
        "iob_u": lambda p: p["iob"],
    },
    55: {"bolus_id": lambda p: p["bolusId"], "size_u": lambda p: p["bolusSize"], "iob_u": lambda p: p["iob"]},
    59: {"bolus_id": lambda p: p["bolusId"], "size_u": lambda p: p["bolexSize"], "iob_u": lambda p: p["iob"]},
    64: {
        "part": lambda p: 1,
        "bolus_id": lambda p: p["bolusId"],
        "bolus_type": lambda p: ["insulin", "carb", "automatic_correction", "remote"][p["bolusType"]],
        "correction_included": lambda p: p["correctionBolusIncluded"] == 1,
        "carbs_g": lambda p: p["carbAmount"],
        "glucose_mg_dl": lambda p: p["bg"] or None,
        "iob_u": lambda p: p["iob"],
        "carb_ratio_g_per_u": lambda p: p["carbRatio"] / 1000 or None,
    },
    65: {
        "part": lambda p: 2,
        "options": lambda p: {2: "quick", 4: "ble_standard", 5: "ble_extended"}[p["options"]],
        "immediate_percent": lambda p: p["standardPercent"],
        "extended_duration_min": lambda p: p["duration"],
        "isf_mg_dl_per_u": lambda p: p["isf"] or None,
        "target_mg_dl": lambda p: p["targetBg"] or None,
        "user_override": lambda p: p["userOverride"] == 1,
        "declined_correction": lambda p: p["declinedCorrection"] == 1,
    },
    66: {
        "part": lambda p: 3,
        "food_u": lambda p: p["foodBolusSize"],
        "correction_u": lambda p: p["correctionBolusSize"],
        "total_u": lambda p: p["totalBolusSize"],
    },
    399: {
        "mark": lambda p: "low" if p["glucoseValueStatus"] == 2 else "value",
        "reading_time": lambda p: EPOCH + timedelta(seconds=p["egvTimeStamp"]),
        "glucose_mg_dl": lambda p: None if p["glucoseValueStatus"] else p["currentGlucoseDisplayValue"],
        "trend_mg_dl_per_min": lambda p: None if p["rate"] == 127 else p["rate"] / 10,
        "backfilled": lambda p: 1 in p["cgmDataType"],
    },
    11: {"reason": lambda p: ["user"][p["suspendReason"]], "reservoir_u": lambda p: p["insulinAmount"]},
    12: {"reservoir_u": lambda p: p["insulinAmount"]},
    13: {"part": lambda p: "time", "step_s": lambda p: (p["timeAfter"] - p["timePrior"]) / 1000, "rtc_ms": lambda p: p["rawRtcTime"]},
    14: {"part": lambda p: "date", "step_s": lambda p: (p["dateAfter"] - p["datePrior"]) * 86400, "rtc_ms": lambda p: p["rawRtcTime"]},
    16: {"glucose_mg_dl": lambda p: p["bg"], "entry": lambda p: "manual", "iob_u": lambda p: p["iob"], "target_mg_dl": lambda p: p["targetBg"], "isf_mg_dl_per_u": lambda p: p["isf"], "calibration": lambda p: False},
    33: {"volume_u": lambda p: p["insulinVolume"], "measured_u": lambda p: p["v2Volume"] or None},
    61: {"prime_u": lambda p: p["primeSize"], "status": lambda p: "completed"},
    63: {"prime_u": lambda p: None, "status": lambda p: "completed"},
    90: {"basal_rate_u_per_h": lambda p: p["commandedBasalRate"]},
    229: {
        "mode": lambda p: ["normal", "sleep", "exercise"][p["currentUserMode"]],
        "previous": lambda p: ["normal", "sleep", "exercise"][p["previousUserMode"]],
        "action": lambda p: {1: "start_sleep", 2: "stop_sleep"}[p["requestedAction"]],
        "by_schedule": lambda p: p["sleepStartedByGui"] == 0,
        "exercise_min": lambda p: None,
    },
    230: {
        "control": lambda p: ["no_control", "open_loop", "pining", "closed_loop"][p["currentPcm"]],
        "previous": lambda p: ["no_control", "open_loop", "pining", "closed_loop"][p["previousPcm"]],
    },
    394: {"sensor": lambda p: "dexcom_g7", "session_age_s": lambda p: p["cgmTimestamp"], "signature": lambda p: str(p["sessionSignature"])},
    447: {"sensor": lambda p: "dexcom_g7", "session_age_s": lambda p: p["currentTransmitterTime"], "reason": lambda p: str(p["sessionStopReason"])},
}  # fmt: skip
EXPECTED[21] = EXPECTED[20]
EXPECTED[256] = EXPECTED[399]


def load(name: str) -> Any:
    return json.loads((Path(FOLDER or ".") / name).read_text(encoding="utf-8"))


def names(code: int, key: str) -> dict[str, str]:
    found: dict[str, str] = load("bff_events.json")[str(code)]["properties"][key]["enum"]
    return found


def test_every_captured_record_says_exactly_what_it_says() -> None:
    captured = load("bff_examples.json")["captured"]
    assert len(captured) >= 99
    for one in captured:
        raw = one["event"]
        code, properties = raw["eventCode"], raw["eventProperties"]
        entry = read_entry(raw)
        assert (entry.kind, entry.group, entry.seq) == (KINDS[code], raw["sequenceGroup"], raw["sequenceNumber"]), raw
        assert entry.pump_time == datetime.fromisoformat(raw["pumpDateTime"])
        assert entry.notes == (), raw
        assert decode(raw) == (entry.kind, entry.body)
        for field, expected in EXPECTED.get(code, {}).items():
            assert getattr(entry.body, field) == expected(properties), (code, field, properties)
        if code in (4, 26, 5, 28, 369, 370):
            key = {4: "alertId", 26: "alertId", 5: "alarmId", 28: "alarmId"}.get(code, "dalertId")
            assert entry.body.name == names(code, key)[str(properties[key])]


def test_every_captured_code_has_its_expectation() -> None:
    codes = {one["event"]["eventCode"] for one in load("bff_examples.json")["captured"]}
    assert codes <= KINDS.keys()
    assert codes - EXPECTED.keys() == {4, 5, 26, 28, 307, 313, 369, 370, 371}


def _sample(spec: dict[str, Any]) -> Any:
    kind = spec["type"]
    if kind == "bitmask":
        return [int(bit) for bit in list(spec.get("enum") or {"0": ""})[:2]]
    if kind == "enum":
        return int(next(iter(spec["enum"])))
    return 0.5 if kind == "float" else 50


def test_catalogue_is_read_whole() -> None:
    """Every code of the catalogue is read whole, and every name in it is known."""
    catalogue = load("bff_events.json")
    assert {int(code) for code in catalogue} <= RECORDS.keys()
    for text, spec in catalogue.items():
        code, properties = int(text), spec.get("properties") or {}
        given = {key: _sample(one) for key, one in properties.items()}
        if "egvTimeStamp" in given:
            given["egvTimeStamp"] = int((datetime(2026, 11, 19, 12) - EPOCH).total_seconds())
            given["currentGlucoseDisplayValue"] = 120
        raw = {
            "deviceAssignmentId": "x", "eventCode": code, "sequenceGroup": 0, "sequenceNumber": 1,
            "pumpDateTime": "2026-11-19T12:00:00", "eventProperties": given, "estimatedDateTime": "2026-11-19T12:00:00Z",
        }  # fmt: skip
        entry = read_entry(raw)
        assert entry.kind != "unknown", (code, entry.body)
        assert isinstance(entry.body, events.BODIES[entry.kind])
        assert entry.notes == (), (code, entry.notes)
        for key, one in properties.items():
            if one["type"] == "enum" and set(one["enum"].values()) != {"no", "yes"}:
                _every_name(raw, key, one["enum"])


def _every_name(raw: dict[str, Any], key: str, table: dict[str, str]) -> None:
    """Each number of a table means its name wherever the record shows it at all."""
    told = []
    for number in table:
        kind, found = decode({**raw, "eventProperties": {**raw["eventProperties"], key: int(number)}})
        assert kind != "unknown", (raw["eventCode"], key, number)
        told.append(repr(attrs.asdict(found)))
    if len(set(told)) == 1:
        return  # a property that nothing is made of
    if key in ("glucoseValueStatus", "pumpControlState", "sensorType"):
        return  # marks, and a table of which one number means none
    for name, text in zip(table.values(), told, strict=True):
        assert repr(name) in text or name == "prime", (raw["eventCode"], key, name, text)


def test_captured_answers_are_read_whole() -> None:
    examples = load("bff_examples.json")
    for one in examples["pump_logs_responses"]:
        answer = split_answer(json.dumps(one["body"]).encode(), "events")
        assert answer.new_keys == ()
        kinds = [read_entry(raw).kind for _, raw in answer.entries()]
        assert "unknown" not in kinds
        everything = {
            (raw["sequenceGroup"], raw["sequenceNumber"])
            for key in ("events", "clockChanges")
            for raw in one["body"][key]
        }
        assert len(everything) == len({place for place, _ in answer.entries()})
    for one in examples["pumper_responses"]:
        pumps = read_pumps(one["body"]).pumps
        assert [pump.serial for pump in pumps] == [pump["serialNumber"] for pump in one["body"]["pumps"]]
        assert "Test" not in repr(pumps)
    for one in (*examples["synthetic"],):
        assert decode(one["event"])[1] == events.MalfunctionRaised(malfunction_id=7, name="display")
    for one in examples["values_only"]:
        raw = {"sequenceNumber": 1, "pumpDateTime": "2026-11-19T12:00:00", **one}
        assert decode(raw)[0] != "unknown"
