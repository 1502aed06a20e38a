"""``[sinks.file]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs

from tconnectsync import events, option

USUAL = (
    "alarm.cleared", "alarm.raised", "basal.delivered", "basal.dose_completed", "basal.rate_changed", "bolus.completed",
    "bolus.extended_completed", "bolus.requested", "cannula.filled", "carbs.entered", "cartridge.filled",
    "control.changed", "day.summary", "glucose.fingerstick", "glucose.reading", "malfunction.raised", "mode.changed",
    "pumping.resumed", "pumping.suspended", "sensor.joined", "sensor.started", "sensor.stopped", "temp_basal.ended",
    "temp_basal.started", "tubing.filled",
)  # fmt: skip
"""What a person wants to see: all insulin, carbs and glucose among it. The carbs of a bolus are in ``bolus.requested``.

Without ``bolus.delivered``, which tells the same insulin as ``bolus.completed``: whoever adds up would count it twice.
"""
POSSIBLE = frozenset(events.BODIES) - events.FACTS - {"wear.began", "wear.ended"}


def _kinds(value: object) -> str | None:
    fits = isinstance(value, (list, tuple)) and value and all(kind in POSSIBLE for kind in value)
    return None if fits else "kinds of pump events, such as bolus.completed and glucose.reading"


def _whole_path(value: object) -> str | None:
    """Commands are typed anywhere: a relative path would mean another folder each time."""
    return (
        None
        if isinstance(value, Path) and value.is_absolute()
        else 'a whole path, such as "/var/lib/tconnectsync/files"'
    )


@attrs.frozen(kw_only=True)
class FileOptions:
    """Where the files go, and what is in them."""

    folder: Path | None = option(None, check=_whole_path, help="where the files go")
    format: Literal["jsonl", "csv"] = option("jsonl", help="jsonl or csv")
    kinds: tuple[str, ...] = option(USUAL, check=_kinds, help="the kinds of events that are written")
