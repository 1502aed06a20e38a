"""Makes any value safe for the log: JSON of a limited depth that every reader accepts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

MAX_DEPTH = 100
"""JSON readers are recursive, and some have little stack."""

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]')


def json_safe(value: Any, levels: int = MAX_DEPTH - 10) -> Any:
    """Return ``value`` with everything that JSON cannot hold as text: lone surrogates, huge integers, objects, deep nesting."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if levels == 0 and isinstance(value, (Mapping, list, tuple)):
        return "nested too deeply"
    if isinstance(value, Mapping):
        return {json_safe(str(key)): json_safe(item, levels - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_safe(item, levels - 1) for item in value]
    if value is None or isinstance(value, (bool, float, datetime)):
        return value
    if isinstance(value, int):
        return value if -(1 << 63) <= value < 1 << 63 else str(value)
    return json_safe(repr(value))


def is_too_deep(text: bytes) -> bool:
    """Whether this JSON has more than :data:`MAX_DEPTH` levels."""
    if len(text) <= 2 * MAX_DEPTH:
        return False
    # almost every text has few brackets, and deleting them is faster than counting
    brackets = 2 * len(text) - len(text.replace(b"[", b"")) - len(text.replace(b"{", b""))
    if brackets <= MAX_DEPTH:
        return False
    level = 0
    for token in _TOKENS.finditer(text):
        level += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(token[0], 0)
        if level > MAX_DEPTH:
            return True
    return False
