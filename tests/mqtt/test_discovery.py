"""The discovery message against what Home Assistant documents, in a table of our own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest

from tconnectsync import GlucoseUnits
from tconnectsync.testing import example_events, final_documents
from tconnectsync_mqtt.alarm_fold import EVENT_TYPES, AlarmFold
from tconnectsync_mqtt.details_fold import DETAILS, DetailsFold
from tconnectsync_mqtt.discovery import ALARM, ENTITIES, STATUS, device_message, device_topic, node_of
from tconnectsync_mqtt.presence import status_payload
from tconnectsync_mqtt.state_fold import CURRENT, LASTING, StateFold

EVERY_PLATFORM: Mapping[str, type | tuple[type, ...]] = {
    "platform": str, "name": str, "unique_id": str, "default_entity_id": str, "state_topic": str, "value_template": str,
    "icon": str, "entity_category": str, "availability": list, "availability_mode": str, "json_attributes_topic": str,
    "device_class": str,
}  # fmt: skip
ONE_PLATFORM: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "sensor": {"unit_of_measurement": str, "state_class": str, "expire_after": int, "options": list,
               "suggested_display_precision": int, "last_reset_value_template": str},
    "binary_sensor": {"expire_after": int, "off_delay": int, "payload_on": str, "payload_off": str},
    "event": {"event_types": list},
}  # fmt: skip
"""The settings of each MQTT platform and their types, as far as we use them."""
REQUIRED = {"sensor": {"state_topic"}, "binary_sensor": {"state_topic"}, "event": {"state_topic", "event_types"}}
UNITS: Mapping[str | None, set[str | None]] = {
    "battery": {"%"}, "timestamp": {None}, "enum": {None}, "problem": {None}, None: {"U", "U/h"},
    "blood_glucose_concentration": {"mg/dL", "mmol/L"},
}  # fmt: skip
"""The units that each device class allows."""

EXAMPLE = {
    document.id: document
    for fold in (StateFold(), DetailsFold(), AlarmFold())
    for document in final_documents(fold, example_events(fold.kinds))
}.values()
PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    CURRENT: next(each.content for each in EXAMPLE if "iob" in each.content),
    LASTING: next(each.content for each in EXAMPLE if "battery" in each.content),
    DETAILS: next(each.content for each in EXAMPLE if "mode" in each.content),
    ALARM: next(each.content for each in EXAMPLE if "event_type" in each.content),
    STATUS: json.loads(status_payload("online", ())),
}
"""An example of what each topic gets."""


@pytest.mark.parametrize("units", GlucoseUnits)
def test_message_is_as_documented(units: GlucoseUnits) -> None:
    """Device, origin and components; each with known settings of the right type that fit together."""
    said = device_message("home/pump", "4.0.0", units)
    assert said.keys() == {"device", "origin", "components"}
    assert said["device"]["identifiers"] == ["home_pump"]
    assert said["origin"] == {"name": "tconnectsync", "sw_version": "4.0.0"}
    assert device_topic("home/pump", "homeassistant") == "homeassistant/device/home_pump/config"
    assert len({component["unique_id"] for component in said["components"].values()}) == len(ENTITIES)
    for key, component in said["components"].items():
        platform, kind = component["platform"], component.get("device_class")
        known = {**EVERY_PLATFORM, **ONE_PLATFORM[platform]}
        assert component.keys() <= known.keys(), key
        assert component.keys() >= {"platform", "unique_id", "default_entity_id"} | REQUIRED[platform]
        for name, value in component.items():
            assert isinstance(value, known[name]), f"{key}: {name}"
        assert re.fullmatch(rf"{platform}\.[a-z0-9_]+", component["default_entity_id"])
        assert component.get("unit_of_measurement") in (UNITS[kind] if platform == "sensor" else {None}), key
        assert component.get("state_class") in {None, "measurement", "total"}
        assert component.get("entity_category") in {None, "diagnostic"}
        if "options" in component:  # Home Assistant refuses them together with others
            assert kind == "enum"
            assert not {"state_class", "unit_of_measurement"} & component.keys()
        if "last_reset_value_template" in component:
            assert component["state_class"] == "total"
        for place in component.get("availability", ()):
            assert place.keys() == {"topic", "value_template"}
            assert place["topic"].startswith("home/pump/")


def test_glucose_in_both_units() -> None:
    """The template takes the number of the unit that is named."""
    for units, unit, field, value in (
        (GlucoseUnits.MG_DL, "mg/dL", "glucose", 140),
        (GlucoseUnits.MMOL_L, "mmol/L", "glucose_mmol", 7.8),
    ):
        component = device_message("p", "4", units)["components"]["glucose"]
        assert component["unit_of_measurement"] == unit
        assert component["value_template"] == f"{{{{ value_json.{field} }}}}"
        assert PUBLISHED[CURRENT][field] == value


def test_every_template_finds_its_field() -> None:
    """Each field that a template or an age names is published on the topic of its entity, and an enum has an allowed value."""
    said = device_message("p", "4", GlucoseUnits.MMOL_L)["components"]
    for entity in ENTITIES:
        component, content = said[entity.key], PUBLISHED[entity.topic]
        templates = [component.get("value_template", ""), component.get("last_reset_value_template", "")]
        templates += [
            each["value_template"] for each in component.get("availability", ()) if each["topic"] == f"p/{entity.topic}"
        ]
        for field in re.findall(r"value_json\.(\w+)", " ".join(templates)):
            assert field in content, f"{entity.key}: {field}"
        if "options" in component:
            assert content[entity.key] in component["options"]
    assert PUBLISHED[ALARM]["event_type"] in EVENT_TYPES
    assert PUBLISHED[STATUS] == {"availability": "online", "problem": "OFF", "problems": []}
    assert json.loads(status_payload("online", ["x"]))["problem"] == "ON"


def test_names_of_odd_prefixes() -> None:
    """Home Assistant accepts only letters, digits, _ and - in a topic's name."""
    assert node_of("home/pump 1") == "home_pump_1"
    assert re.fullmatch("home_p_mp_1_[0-9a-f]{6}", node_of("home/p\u00fcmp 1"))


@pytest.mark.parametrize(
    ("one", "other"), [("\u82b1\u5b50", "\u592a\u90ce"), ("home/Zo\u00eb", "home/Zo\u00e9"), ("anna", "ben")]
)
def test_two_people_are_two_devices(one: str, other: str) -> None:
    """Their devices have different topics, identifiers and names, whatever the letters of their prefixes are."""
    assert device_topic(one, "homeassistant") != device_topic(other, "homeassistant")
    first, second = (device_message(prefix, "4", GlucoseUnits.MG_DL) for prefix in (one, other))
    assert first["device"]["identifiers"] != second["device"]["identifiers"]
    assert (first["device"]["name"], second["device"]["name"]) == (f"Insulin pump ({one})", f"Insulin pump ({other})")
    ids = [{each["unique_id"] for each in said["components"].values()} for said in (first, second)]
    assert not ids[0] & ids[1]


def test_the_usual_prefix_is_not_in_the_name() -> None:
    assert device_message("tconnectsync", "4", GlucoseUnits.MG_DL)["device"]["name"] == "Insulin pump"
