"""The sensors as Home Assistant discovers them (https://www.home-assistant.io/integrations/mqtt/#mqtt-discovery)."""

from __future__ import annotations

from typing import Any

import attrs

from tconnectsync_mqtt.state import CURRENT, CURRENT_FOR_S, LASTING


@attrs.frozen(kw_only=True)
class Sensor:
    """One value of a document as a sensor. ``key`` is its field there."""

    key: str
    name: str
    topic: str
    unit: str | None = None
    device_class: str | None = None
    state_class: str | None = "measurement"
    icon: str | None = None


SENSORS = (
    Sensor(key="iob", name="Insulin on board", topic=CURRENT, unit="U", icon="mdi:needle"),
    Sensor(key="glucose", name="Glucose", topic=CURRENT, unit="mg/dL", icon="mdi:water"),
    Sensor(key="basal_rate", name="Basal rate", topic=CURRENT, unit="U/h", icon="mdi:chart-timeline-variant"),
    Sensor(key="pump_state", name="Pump state", topic=CURRENT, state_class=None, icon="mdi:pump"),
    Sensor(key="last_bolus", name="Last bolus", topic=LASTING, unit="U", state_class=None, icon="mdi:needle"),
    Sensor(key="last_bolus_at", name="Time of last bolus", topic=LASTING, device_class="timestamp", state_class=None),
    Sensor(key="reservoir", name="Reservoir", topic=LASTING, unit="U", icon="mdi:cup"),
    Sensor(key="battery", name="Battery", topic=LASTING, unit="%", device_class="battery"),
    Sensor(key="data_at", name="Newest pump data", topic=LASTING, device_class="timestamp", state_class=None),
)
"""Every sensor. The age of the data is what Home Assistant shows of its timestamp."""


def configuration(sensor: Sensor, prefix: str, version: str) -> dict[str, Any]:
    """The retained message that makes Home Assistant create ``sensor``."""
    node = node_of(prefix)
    said = {
        "name": sensor.name,
        "unique_id": f"{node}_{sensor.key}",
        "object_id": f"{node}_{sensor.key}",
        "state_topic": f"{prefix}/{sensor.topic}",
        "value_template": f"{{{{ value_json.{sensor.key} }}}}",
        "unit_of_measurement": sensor.unit,
        "device_class": sensor.device_class,
        "state_class": sensor.state_class,
        "icon": sensor.icon,
        "expire_after": int(CURRENT_FOR_S) if sensor.topic == CURRENT else None,
        "device": {"identifiers": [node], "name": "Insulin pump", "manufacturer": "Tandem", "sw_version": version},
        "origin": {"name": "tconnectsync", "sw_version": version},
    }
    return {name: value for name, value in said.items() if value is not None}


def configuration_topic(sensor: Sensor, prefix: str, discovery_prefix: str) -> str:
    """Where that message goes."""
    return f"{discovery_prefix}/sensor/{node_of(prefix)}/{sensor.key}/config"


def node_of(prefix: str) -> str:
    """A name of letters, digits, _ and -: all that Home Assistant takes."""
    return "".join(sign if sign.isascii() and (sign.isalnum() or sign in "_-") else "_" for sign in prefix)
