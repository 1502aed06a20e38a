"""How old each value is at the moment in which it is told: the fold has no clock, and a broker keeps no account of age."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tconnectsync_mqtt.discovery import SENSORS, SensorEntity


def left_s(sensor: SensorEntity, content: Mapping[str, Any], now: datetime) -> float | None:
    """For how many seconds more the value is good at ``now``; None where it is good always, 0 or less: no more."""
    if sensor.good_for_s is None:
        return None
    said_at = content.get(sensor.at)
    if said_at is None:
        return 0.0
    age_s = (now - datetime.fromisoformat(said_at)).total_seconds()
    return sensor.good_for_s - max(age_s, 0.0)  # a time ahead of this computer's clock is no longer good for it


def as_known(topic: str, content: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """``content`` of a topic as it is told at ``now``: what is too old is not known any more. Its time stays."""
    lapsed = {sensor.key for sensor in SENSORS if sensor.topic == topic and _is_lapsed(left_s(sensor, content, now))}
    if "glucose" in lapsed:
        lapsed.add("glucose_mark")
    return {name: None if name in lapsed else value for name, value in content.items()}


def _is_lapsed(left: float | None) -> bool:
    return left is not None and left <= 0
