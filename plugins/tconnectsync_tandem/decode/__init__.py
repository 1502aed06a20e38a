"""Decode Tandem's JSON records to typed events. Pure: no I/O, no clock, no exception for invalid data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tconnectsync.events import Body
from tconnectsync_tandem.decode.entries import read_entry

DECODER = 3
"""Increase it whenever the same entry gives another body; stored entries are then decoded again."""


def decode(raw: Mapping[str, Any]) -> tuple[str, Body]:
    """Return kind and body of one entry of ``events`` or ``clockChanges``; kind ``unknown`` if it is unreadable."""
    entry = read_entry(raw)
    return entry.kind, entry.body
