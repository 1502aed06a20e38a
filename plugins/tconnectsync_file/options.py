"""``[sinks.file]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from tconnectsync import events, option

USUAL = (
    "alarm.cleared", "alarm.raised", "basal.delivered", "basal.dose_completed", "basal.rate_changed", "bolus.completed",
    "bolus.extended_completed", "bolus.requested", "cannula.filled", "carbs.entered", "cartridge.filled",
    "control.changed", "day.summary", "glucose.fingerstick", "glucose.reading", "malfunction.raised", "mode.changed",
    "pumping.resumed", "pumping.suspended", "sensor.joined", "sensor.started", "sensor.stopped", "temp_basal.ended",
    "temp_basal.started", "tubing.filled",
)  # fmt: skip
"""The default kinds: all insulin, carbs and glucose. The carbs of a bolus are in ``bolus.requested``.

``bolus.delivered`` is left out: it has the same insulin as ``bolus.completed``, and a sum would count it twice.
"""
POSSIBLE = frozenset(events.BODIES) - events.FACTS - {"wear.began", "wear.ended"}


def _kinds(value: object) -> str | None:
    fits = isinstance(value, (list, tuple)) and value and all(kind in POSSIBLE for kind in value)
    return None if fits else "kinds of pump events, such as bolus.completed and glucose.reading"


def _whole_path(value: object) -> str | None:
    """Require an absolute path: a relative one would mean another folder in each working directory."""
    return (
        None
        if isinstance(value, Path) and value.is_absolute()
        else 'an absolute path, such as "/var/lib/tconnectsync/files"'
    )


@attrs.frozen(kw_only=True)
class FileOptions:
    """The folder of the files, and their contents."""

    folder: Path | None = option(None, check=_whole_path, help="folder for the files")
    format: Literal["jsonl", "csv"] = option("jsonl", help="jsonl or csv")
    kinds: tuple[str, ...] = option(USUAL, check=_kinds, help="kinds of events to write")


def problems(options: FileOptions, _sections: Mapping[str, Any]) -> Sequence[str]:
    """Settings that are missing."""
    return [] if options.folder else ["sinks.file.folder: missing; set it to the folder for the files"]
