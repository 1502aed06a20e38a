"""The units in which a receiver, such as a Nightscout site, shows glucose."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import RECEIVER_MEMORY
from tconnectsync.plugin.receiver import UNITS_WORD
from tconnectsync.text.glucose_units import GlucoseUnits, parse_glucose_units


def receiver_units(data_dir: Path) -> GlucoseUnits | None:
    """Return the units that a receiver reported; None if none did. An outbox that cannot be read is skipped."""
    for path in sorted((data_dir / "outbox").glob("*.sqlite")):
        try:
            with closing(Outbox(path, writable=False)) as outbox:
                words = outbox.values.get(RECEIVER_MEMORY).split()
        except (OSError, sqlite3.Error):
            continue
        for word in words:
            if word.startswith(UNITS_WORD):
                return parse_glucose_units(word.removeprefix(UNITS_WORD))
    return None
