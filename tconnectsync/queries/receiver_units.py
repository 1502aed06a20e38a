"""The units in which a receiver, such as a Nightscout site, shows glucose."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tconnectsync.outbox import Outbox
from tconnectsync.outbox.stored_values import RECEIVER_MEMORY
from tconnectsync.plugin.receiver import units_in_memory
from tconnectsync.text.glucose_units import GlucoseUnits


def receiver_units(data_dir: Path) -> GlucoseUnits | None:
    """Return the units that a receiver reported; None if none did. An outbox that cannot be read is skipped."""
    for path in sorted((data_dir / "outbox").glob("*.sqlite")):
        try:
            with closing(Outbox(path, writable=False)) as outbox:
                units = units_in_memory(outbox.values.get(RECEIVER_MEMORY))
        except (OSError, sqlite3.Error):
            continue
        if units is not None:
            return units
    return None
