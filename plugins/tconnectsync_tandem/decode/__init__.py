"""From Tandem's JSON records to typed events. Pure: no I/O, no clock, and no exception for odd data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tconnectsync.events import Body
from tconnectsync_tandem.decode.entries import read_entry

DECODER = 3
"""Raise it whenever the same entry gives another body; every stored entry is then read again."""


def decode(raw: Mapping[str, Any]) -> tuple[str, Body]:
    """The kind and body of one entry of ``events`` or ``clockChanges``; kind ``unknown`` for what cannot be read."""
    entry = read_entry(raw)
    return entry.kind, entry.body
