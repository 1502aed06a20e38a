"""What can be written to the log and read again, whatever it is: JSON of a moderate depth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

MOST_LEVELS = 100
"""Readers go down a level by calling themselves, and not all have the same room for that."""

_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]')


def storable(value: Any, levels: int = MOST_LEVELS - 10) -> Any:
    """``value`` with what JSON cannot hold (lone surrogates, huge integers, foreign objects, too many levels) as text."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if levels == 0 and isinstance(value, (Mapping, list, tuple)):
        return "nested too deeply"
    if isinstance(value, Mapping):
        return {storable(str(key)): storable(item, levels - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(item, levels - 1) for item in value]
    if value is None or isinstance(value, (bool, float, datetime)):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else str(value)
    return storable(repr(value))


def nested_too_deeply(text: bytes) -> bool:
    """Whether this JSON has more levels than are written."""
    if text.count(b"[") + text.count(b"{") <= MOST_LEVELS:
        return False
    level = 0
    for mark in _MARKS.finditer(text):
        level += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(mark[0], 0)
        if level > MOST_LEVELS:
            return True
    return False
