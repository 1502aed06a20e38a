"""The age of each value when it is published. The fold has no clock, and a broker does not track age."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tconnectsync_mqtt.discovery import ENTITIES, Entity

_TOGETHER = {"glucose": ("glucose_mmol",)}
"""Fields that expire with an entity's own."""


def left_s(entity: Entity, content: Mapping[str, Any], now: datetime) -> float | None:
    """Return for how many more seconds the value is valid at ``now``; None: always; 0 or less: expired."""
    if entity.good_for_s is None:
        return None
    measured_at = content.get(entity.at)
    if measured_at is None:
        return 0.0
    age_s = (now - datetime.fromisoformat(measured_at)).total_seconds()
    left = entity.good_for_s - max(age_s, 0.0)  # a time in the future does not extend it
    ends_at = None if entity.ends is None else content.get(entity.ends)
    return left if ends_at is None else min(left, (datetime.fromisoformat(ends_at) - now).total_seconds())


def without_expired(topic: str, content: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return ``content`` of a topic as published at ``now``: expired values are null. Their times stay."""
    lapsed = {entity.key for entity in ENTITIES if entity.topic == topic and _is_expired(left_s(entity, content, now))}
    lapsed |= {name for key in lapsed for name in _TOGETHER.get(key, ())}
    return {name: None if name in lapsed else value for name, value in content.items()}


def _is_expired(left: float | None) -> bool:
    return left is not None and left <= 0
