"""Captured binary records and the published list of their layouts, kept outside of this repository.

``TCONNECTSYNC_CONFORMANCE_DATA`` names a folder with ``examples.json`` (captured records), ``history_log.json`` (layouts) and
``bff_events.json`` (the properties of the JSON API).
"""

from __future__ import annotations

import io
import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import ImportOptions, events
from tconnectsync_tandem.decode import decode
from tconnectsync_tandem.files.binary.importer import read
from tconnectsync_tandem.files.binary.layouts import LAYOUTS
from tconnectsync_tandem.files.binary.record import entry_of

FOLDER = os.environ.get("TCONNECTSYNC_CONFORMANCE_DATA")
pytestmark = pytest.mark.skipif(not FOLDER, reason="TCONNECTSYNC_CONFORMANCE_DATA names no folder of captured records")

SPARE = r"spare|reserved"
TYPES = {"bits8": "u8", "bits16": "u16", "bits32": "u32"}
SEEN_WITHOUT_MEANING = {10, 17, 22, 23, 52, 219, 237, 263, 264, 290, 300, 309, 434}

# Per record id: body field -> how the list of captures says it.
SAYS: dict[int, dict[str, Any]] = {
    2: {"temp_rate_id": lambda v: v["temp_rate_id"], "percent": lambda v: v["percent"], "duration_s": lambda v: v["duration"] / 1000},
    3: {"rate_u_per_h": lambda v: v["commanded_rate"], "base_rate_u_per_h": lambda v: v["profile_rate"], "max_rate_u_per_h": lambda v: v["max_basal_rate"], "profile_slot": lambda v: v["profile_id"]},
    4: {"alert_id": lambda v: v["alert_id"]},
    5: {"alarm_id": lambda v: v["alarm_id"]},
    11: {"reservoir_u": lambda v: v["reservoir_units"], "reason": lambda v: ["user"][v["reason"]]},
    12: {"reservoir_u": lambda v: v["reservoir_units"]},
    14: {"step_s": lambda v: (v["date_after"] - v["date_before"]) * 86_400, "rtc_ms": lambda v: v["uptime"]},
    15: {"temp_rate_id": lambda v: v["temp_rate_id"], "time_left_s": lambda v: v["time_left"] / 1000},
    20: {"bolus_id": lambda v: v["bolus_id"], "delivered_u": lambda v: v["delivered"], "requested_u": lambda v: v["requested"], "iob_u": lambda v: v["iob"], "status": lambda v: {3: "completed"}[v["completion_status"]]},
    48: {"carbs_g": lambda v: v["carbs"]},
    55: {"bolus_id": lambda v: v["bolus_id"], "size_u": lambda v: v["size"], "iob_u": lambda v: v["iob"]},
    64: {"bolus_id": lambda v: v["bolus_id"], "carbs_g": lambda v: v["carbs"], "iob_u": lambda v: v["iob"], "glucose_mg_dl": lambda v: v["bg"] or None, "carb_ratio_g_per_u": lambda v: v["carb_ratio"] or None},
    65: {"bolus_id": lambda v: v["bolus_id"], "immediate_percent": lambda v: v["immediate_percent"], "extended_duration_min": lambda v: v["extended_duration"], "isf_mg_dl_per_u": lambda v: v["isf"], "target_mg_dl": lambda v: v["target_bg"], "user_override": lambda v: v["user_override"] == 1, "declined_correction": lambda v: v["correction_declined"] == 1},
    66: {"bolus_id": lambda v: v["bolus_id"], "food_u": lambda v: v["food_size"], "correction_u": lambda v: v["correction_size"], "total_u": lambda v: v["total_size"]},
    81: {"basal_total_u": lambda v: v["basal_total_today"], "basal_rate_u_per_h": lambda v: v["basal_rate"], "iob_u": lambda v: v["iob"], "battery_mv": lambda v: v["battery_voltage"], "battery_percent": lambda v: v["battery_percent"]},
    90: {"basal_rate_u_per_h": lambda v: v["commanded_rate"]},
    229: {"mode": lambda v: ["normal", "sleep", "exercise"][v["current_mode"]], "previous": lambda v: ["normal", "sleep", "exercise"][v["previous_mode"]]},
    279: {"rate_u_per_h": lambda v: v["commanded_rate"], "profile_rate_u_per_h": lambda v: v["profile_rate"], "algorithm_rate_u_per_h": lambda v: v["algorithm_rate"], "temp_rate_u_per_h": lambda v: v["temp_rate"]},
    280: {"bolus_id": lambda v: v["bolus_id"], "status": lambda v: ["completed", "started"][v["delivery_status"]], "requested_now_u": lambda v: v["requested_now"], "requested_later_u": lambda v: v["requested_later"], "correction_u": lambda v: v["correction"], "delivered_u": lambda v: v["delivered_total"], "extended_duration_min": lambda v: v["extended_duration"]},
    256: {"glucose_mg_dl": lambda v: v["glucose"], "trend_mg_dl_per_min": lambda v: v["rate"], "backfilled": lambda v: v["reading_type"] == 2},
}  # fmt: skip
SAYS[399] = SAYS[256]
SAID_AS_IT_IS = {22, 36, 263, 290}


def load(name: str) -> Any:
    return json.loads((Path(FOLDER or ".") / name).read_text(encoding="utf-8"))


def fields_of(code: int) -> dict[str, tuple[str, int]]:
    """Property: type and offset."""
    fields = [field.split() for field in LAYOUTS[code].split(",")] if LAYOUTS[code] else []
    return {field[0]: (TYPES.get(field[1], field[1]), int(field[2])) for field in fields if field[1] != "rest"}


def test_every_captured_record_says_what_was_captured() -> None:
    captured = load("examples.json")["records"]
    assert len(captured) >= 54
    for one in captured:
        record = bytes.fromhex(one["hex"])
        found = entry_of(record)
        kind, body = decode(found)
        assert (found["eventCode"], found["sequenceNumber"], found["pumpDateTime"]) == (
            one["id"], one["sequence"], one["pump_local"],
        )  # fmt: skip
        assert one["id"] in SAYS or one["id"] in SAID_AS_IT_IS
        assert (kind == "unknown") == (one["id"] in (263, 290))
        for field, says in SAYS.get(one["id"], {}).items():
            expected = says(one["values"])
            told = getattr(body, field)
            assert told == (pytest.approx(expected, rel=1e-6) if isinstance(expected, float) else expected), (
                field,
                one,
            )
    text = b"".join(bytes.fromhex(one["hex"]) for one in captured)
    options = ImportOptions(pump="90556643", skip_bad=False, received_at=datetime(2026, 11, 20, tzinfo=timezone.utc))
    assert sum(len(batch.events) for batch in read(io.BytesIO(text), options)) == len(captured)


def test_published_fields_read() -> None:
    """Every published field is read at its place, and nothing else is read."""
    published = {int(code): spec for code, spec in load("history_log.json").items() if code.isdigit()}
    with_fields = {code for code, spec in published.items() if spec["fields"]}
    assert {code for code, line in LAYOUTS.items() if line} == with_fields
    assert {code for code, line in LAYOUTS.items() if not line} <= SEEN_WITHOUT_MEANING
    for code in with_fields:
        ours = fields_of(code)
        theirs = {(field["type"], field["offset"]) for field in published[code]["fields"]}
        assert theirs <= set(ours.values()), code
        for name, place in ours.items():
            assert place in theirs or re.match(SPARE, name) or (code, name) == (460, "spareA2"), (code, name)
        sets = {field["offset"] for field in published[code]["fields"] if "flags" in field}
        bits = {int(field.split()[2]) for field in LAYOUTS[code].split(",") if "bits" in field}
        assert sets <= bits, code


def test_the_properties_are_those_of_the_json_api() -> None:
    catalogue = load("bff_events.json")
    newer = {"queued", "sessionDurationSecs"}
    for text, spec in catalogue.items():
        code, properties = int(text), spec.get("properties") or {}
        if code not in LAYOUTS or not properties:
            continue
        names = {field.split()[0] for field in LAYOUTS[code].split(",")}
        assert set(properties) - names <= newer, code
        assert names - set(properties) <= {"spareA2"}, code
        for name, one in properties.items():
            if name in names:
                line = next(field for field in LAYOUTS[code].split(",") if field.split()[0] == name)
                assert (one["type"] == "bitmask") == (" bits" in line), (code, name)


def test_every_decoded_kind_is_one_of_the_vocabulary() -> None:
    for one in load("examples.json")["records"]:
        kind, body = decode(entry_of(bytes.fromhex(one["hex"])))
        assert isinstance(body, events.BODIES[kind])
