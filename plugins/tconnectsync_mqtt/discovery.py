"""The entities in Home Assistant's device discovery (https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload).

One retained message describes the device with all entities. Home Assistant has it since 2024.11.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import attrs

from tconnectsync import GlucoseUnits
from tconnectsync_mqtt.alarm_fold import EVENT_TYPES
from tconnectsync_mqtt.details_fold import DETAILS, MODES
from tconnectsync_mqtt.options import DEFAULT_PREFIX
from tconnectsync_mqtt.state_fold import CURRENT, CURRENT_FOR_S, LASTING, MARKS, TRENDS

LASTING_FOR_S = 3 * 3600.0
"""Values that the pump records hourly, and phones upload hourly, expire after this."""
STATUS, ALARM = "status", "alarm"
BIRTH = "status"
"""Below the discovery prefix: Home Assistant's birth message."""
ONLINE, OFFLINE = "online", "offline"


@attrs.frozen(kw_only=True)
class Entity:
    """One value of a topic as an entity. ``key`` is its field, ``at`` the field with its time.

    ``good_for_s``: how long after that time it is shown (None: always, since it is a time itself, or the daemon's own state).
    ``ends``: the field with the time at which it ends, however new it is.
    ``more``: further settings of Home Assistant for this platform.
    """

    key: str
    name: str
    topic: str
    platform: str = "sensor"
    at: str = "data_at"
    good_for_s: float | None = None
    ends: str | None = None
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = None
    icon: str | None = None
    diagnostic: bool = False
    more: Mapping[str, Any] = attrs.field(factory=dict)


def _current(key: str, name: str, *, at: str, icon: str, **more: Any) -> Entity:
    return Entity(key=key, name=name, topic=CURRENT, at=at, good_for_s=CURRENT_FOR_S, icon=icon, **more)


def _lasting(key: str, name: str, *, at: str = "data_at", topic: str = LASTING, **more: Any) -> Entity:
    return Entity(key=key, name=name, topic=topic, at=at, good_for_s=LASTING_FOR_S, **more)


def _time(key: str, name: str, topic: str, icon: str, *, diagnostic: bool = False) -> Entity:
    return Entity(key=key, name=name, topic=topic, device_class="timestamp", icon=icon, diagnostic=diagnostic)


def _precision(digits: int) -> Mapping[str, Any]:
    return {"suggested_display_precision": digits}


_MEASURED = "measurement"
ENTITIES = (
    _current("iob", "Insulin on board", at="iob_at", unit="U", state_class=_MEASURED, icon="mdi:needle", more=_precision(2)),
    _current(
        "glucose", "Glucose", at="glucose_at", unit="mg/dL", device_class="blood_glucose_concentration", state_class=_MEASURED,
        icon="mdi:water",
    ),
    _current(
        "glucose_trend", "Glucose trend", at="glucose_at", device_class="enum", icon="mdi:trending-up",
        more={"options": list(TRENDS)},
    ),
    _current(
        "glucose_mark", "Glucose reading", at="glucose_at", device_class="enum", icon="mdi:water-alert",
        more={"options": list(MARKS)},
    ),
    _current(
        "basal_rate", "Basal rate", at="basal_rate_at", unit="U/h", state_class=_MEASURED, icon="mdi:chart-timeline-variant",
        more=_precision(2),
    ),
    _current(
        "pump_state", "Pump state", at="data_at", device_class="enum", icon="mdi:pump",
        more={"options": ["delivering", "suspended"]},
    ),
    # as new as the newest data: a later bolus would be in it
    _lasting("last_bolus", "Last bolus", unit="U", icon="mdi:needle", more=_precision(2)),
    _time("last_bolus_at", "Time of last bolus", LASTING, "mdi:clock-outline"),
    _lasting("mode", "Mode", topic=DETAILS, device_class="enum", icon="mdi:sleep", more={"options": list(MODES)}),
    _lasting(
        "daily_dose", "Insulin today", topic=DETAILS, ends="day_ends_at", unit="U", state_class="total", icon="mdi:sigma",
        more={"last_reset_value_template": "{{ value_json.day_began_at }}", **_precision(1)},
    ),
    _time("site_at", "Infusion site changed", DETAILS, "mdi:bandage"),
    _time("sensor_at", "Glucose sensor started", DETAILS, "mdi:diabetes"),
    Entity(
        key="alarm", name="Alarm", topic=ALARM, platform="event", icon="mdi:alarm-light", more={"event_types": list(EVENT_TYPES)}
    ),
    _lasting(
        "reservoir", "Reservoir", at="reservoir_at", unit="U", state_class=_MEASURED, icon="mdi:cup", diagnostic=True,
        more=_precision(0),
    ),
    _lasting(
        "battery", "Battery", at="battery_at", unit="%", device_class="battery", state_class=_MEASURED, diagnostic=True
    ),
    _time("data_at", "Newest pump data", LASTING, "mdi:clock-check-outline", diagnostic=True),
    _time("received_at", "Last upload received", DETAILS, "mdi:cloud-download", diagnostic=True),
    Entity(
        key="problem", name="Sync problem", topic=STATUS, platform="binary_sensor", device_class="problem", diagnostic=True
    ),
)  # fmt: skip
"""Every entity. Home Assistant shows the age of a timestamp."""
_ONE_MESSAGE_EACH = (
    "iob", "glucose", "basal_rate", "pump_state", "last_bolus", "last_bolus_at", "reservoir", "battery", "data_at",
)  # fmt: skip
"""The sensors of earlier releases, which had a discovery message each."""
MIGRATE = {"migrate_discovery": True}
"""Tells Home Assistant to keep the entity of an older message until the device's message describes it."""


def device_message(
    prefix: str, version: str, units: GlucoseUnits, left_s: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """Return the retained message with which Home Assistant creates all entities.

    Home Assistant counts ``expire_after`` from the arrival of a value, so it is set to the value's remaining time ``left_s``
    by entity (missing: all of it). The template compares a late or retained message with its own time.
    """
    node = node_of(prefix)
    return {
        "device": {
            "identifiers": [node],
            "name": _device_name(prefix),
            "manufacturer": "Tandem",
            "sw_version": version,
        },
        "origin": {"name": "tconnectsync", "sw_version": version},
        "components": {
            entity.key: _component(entity, prefix, units, (left_s or {}).get(entity.key)) for entity in ENTITIES
        },
    }


def device_topic(prefix: str, discovery_prefix: str, last: str = "config") -> str:
    """The topic of that message. Home Assistant listens to no other ``last`` part."""
    return f"{discovery_prefix}/device/{node_of(prefix)}/{last}"


def older_topics(prefix: str, discovery_prefix: str) -> list[str]:
    """The topics of the discovery messages of earlier releases."""
    return [f"{discovery_prefix}/sensor/{_accepted(prefix)}/{key}/config" for key in _ONE_MESSAGE_EACH]


def _component(entity: Entity, prefix: str, units: GlucoseUnits, left_s: float | None) -> dict[str, Any]:
    node, topic, field = node_of(prefix), f"{prefix}/{entity.topic}", entity.key
    unit = entity.unit
    if entity.key == "glucose" and units is GlucoseUnits.MMOL_L:
        field, unit = "glucose_mmol", units.label
    said: dict[str, Any] = {
        "platform": entity.platform,
        "name": entity.name,
        "unique_id": f"{node}_{entity.key}",
        "default_entity_id": f"{entity.platform}.{node.lower()}_{entity.key}",
        "state_topic": topic,
        "value_template": f"{{{{ value_json.{field} }}}}",
        "unit_of_measurement": unit,
        "device_class": entity.device_class,
        "state_class": entity.state_class,
        "icon": entity.icon,
        "entity_category": "diagnostic" if entity.diagnostic else None,
        **entity.more,
    }
    if entity.platform == "event":
        del said["value_template"]  # the whole message: its other fields become attributes
    if entity.topic == STATUS:
        said["json_attributes_topic"] = topic
    if entity.topic == ALARM or entity.good_for_s is not None:  # a time stays true, whatever happens
        said |= {"availability_mode": "all", "availability": _availability(entity, prefix)}
    if entity.good_for_s is not None:
        said["expire_after"] = int(entity.good_for_s if left_s is None else left_s)
    return {name: value for name, value in said.items() if value is not None}


def _availability(entity: Entity, prefix: str) -> list[dict[str, str]]:
    """The daemon, or the last single cycle, and the value's own age."""
    found = [{"topic": f"{prefix}/{STATUS}", "value_template": "{{ value_json.availability }}"}]
    if entity.good_for_s is not None:
        ends = f"and now().timestamp() < as_timestamp(value_json.{entity.ends}, 0) " if entity.ends else ""
        age = (
            "{{ 'online' if value_json is defined and now().timestamp() - "
            f"as_timestamp(value_json.{entity.at}, 0) < {int(entity.good_for_s)} {ends}else 'offline' }}}}"
        )
        found.append({"topic": f"{prefix}/{entity.topic}", "value_template": age})
    return found


def node_of(prefix: str) -> str:
    """The device's name in topics and identifiers; with a part that tells two prefixes of other letters apart."""
    accepted = _accepted(prefix)
    return accepted if prefix.isascii() else f"{accepted}_{hashlib.sha256(prefix.encode()).hexdigest()[:6]}"


def _accepted(prefix: str) -> str:
    """The prefix with letters, digits, _ and -, the only characters that Home Assistant accepts."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in prefix)


def _device_name(prefix: str) -> str:
    """The device's name for people. A prefix of their own tells two people's devices apart."""
    return "Insulin pump" if prefix == DEFAULT_PREFIX else f"Insulin pump ({prefix})"
