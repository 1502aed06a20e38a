"""The sensors in Home Assistant's discovery format (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery)."""

from __future__ import annotations

from typing import Any

import attrs

from tconnectsync_mqtt.state_fold import CURRENT, CURRENT_FOR_S, LASTING

LASTING_FOR_S = 3 * 3600.0
"""Values that the pump records hourly, and phones upload hourly, expire after this."""


@attrs.frozen(kw_only=True)
class SensorEntity:
    """One value of a document as a sensor. ``key`` is its field, ``at`` the field with its time.

    ``good_for_s``: how long after that time it is shown (None: always, since it is a time itself).
    """

    key: str
    name: str
    topic: str
    at: str = "data_at"
    good_for_s: float | None = None
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = "measurement"
    icon: str | None = None


SENSORS = (
    SensorEntity(
        key="iob", name="Insulin on board", topic=CURRENT, at="iob_at", good_for_s=CURRENT_FOR_S, unit="U",
        icon="mdi:needle",
    ),
    SensorEntity(
        key="glucose", name="Glucose", topic=CURRENT, at="glucose_at", good_for_s=CURRENT_FOR_S, unit="mg/dL",
        icon="mdi:water",
    ),
    SensorEntity(
        key="basal_rate", name="Basal rate", topic=CURRENT, at="basal_rate_at", good_for_s=CURRENT_FOR_S, unit="U/h",
        icon="mdi:chart-timeline-variant",
    ),
    SensorEntity(
        key="pump_state", name="Pump state", topic=CURRENT, good_for_s=CURRENT_FOR_S, state_class=None, icon="mdi:pump"
    ),
    # as new as the newest data: a later bolus would be in it
    SensorEntity(
        key="last_bolus", name="Last bolus", topic=LASTING, good_for_s=LASTING_FOR_S, unit="U", state_class=None,
        icon="mdi:needle",
    ),
    SensorEntity(key="last_bolus_at", name="Time of last bolus", topic=LASTING, device_class="timestamp", state_class=None),
    SensorEntity(
        key="reservoir", name="Reservoir", topic=LASTING, at="reservoir_at", good_for_s=LASTING_FOR_S, unit="U",
        icon="mdi:cup",
    ),
    SensorEntity(
        key="battery", name="Battery", topic=LASTING, at="battery_at", good_for_s=LASTING_FOR_S, unit="%",
        device_class="battery",
    ),
    SensorEntity(key="data_at", name="Newest pump data", topic=LASTING, device_class="timestamp", state_class=None),
)  # fmt: skip
"""Every sensor. Home Assistant shows the age of the data from its timestamp."""


def configuration(sensor: SensorEntity, prefix: str, version: str, *, left_s: float | None = None) -> dict[str, Any]:
    """The retained message with which Home Assistant creates ``sensor``.

    Home Assistant counts ``expire_after`` from the arrival of a value, so it is set to the value's remaining time
    ``left_s`` (None: all of it). The template compares a late or retained message with its own time.
    """
    node, topic = node_of(prefix), f"{prefix}/{sensor.topic}"
    said: dict[str, Any] = {
        "name": sensor.name,
        "unique_id": f"{node}_{sensor.key}",
        "object_id": f"{node}_{sensor.key}",
        "state_topic": topic,
        "value_template": f"{{{{ value_json.{sensor.key} }}}}",
        "unit_of_measurement": sensor.unit,
        "device_class": sensor.device_class,
        "state_class": sensor.state_class,
        "icon": sensor.icon,
        "device": {"identifiers": [node], "name": "Insulin pump", "manufacturer": "Tandem", "sw_version": version},
        "origin": {"name": "tconnectsync", "sw_version": version},
    }
    if sensor.good_for_s is not None:
        said["expire_after"] = int(sensor.good_for_s if left_s is None else left_s)
        said["availability_topic"] = topic
        said["availability_template"] = (
            "{{ 'online' if value_json is defined and now().timestamp() - "
            f"as_timestamp(value_json.{sensor.at}, 0) < {int(sensor.good_for_s)} else 'offline' }}}}"
        )
    return {name: value for name, value in said.items() if value is not None}


def configuration_topic(sensor: SensorEntity, prefix: str, discovery_prefix: str) -> str:
    """The topic of that message."""
    return f"{discovery_prefix}/sensor/{node_of(prefix)}/{sensor.key}/config"


def node_of(prefix: str) -> str:
    """A name of letters, digits, _ and -, the only characters that Home Assistant accepts."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in prefix)
