"""Count unreadable rows that a user would miss, and decide whether the vendor has changed something."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tconnectsync_tconnect.rows.csv_tables import BOLUS
from tconnectsync_tconnect.rows.decoder import CSV
from tconnectsync_tconnect.rows.provenance import ProvenancedRow

MOST_SHARE = 0.05
"""The largest share of unreadable rows that is no change. Not a single bolus may be unreadable."""


def unreadable(bad: Sequence[ProvenancedRow], therapy: Collection[str], export: Collection[str]) -> Counter[str]:
    """Unreadable rows by kind. ``therapy``: boluses of the therapy events, ``export``: those of the export alone.

    A bolus that the export has instead is not missed; nor is a row of the export if the therapy events have boluses.
    """
    found: Counter[str] = Counter()
    for one in bad:
        origin = str(one.raw["from"])
        if not origin.startswith(CSV) or not therapy:
            found[BOLUS if is_bolus(one.raw["row"]) else origin] += 1
    missed = max(0, found.pop(BOLUS, 0) - len(export))
    return found + Counter({BOLUS: missed})


def is_changed(kinds: Mapping[str, int], read: int) -> bool:
    """Whether a bolus, or more than :data:`MOST_SHARE` of the rows, is missing."""
    count = sum(kinds.values())
    return BOLUS in kinds or count > MOST_SHARE * (count + read)


def words_of(kinds: Mapping[str, int]) -> str:
    """The counts by kind as text."""
    return ", ".join(f"{number:,} {kind}" for kind, number in kinds.items()) + " cannot be read"


def is_bolus(row: Any) -> bool:
    """Whether a row is a bolus; a row without a readable type is one if any part of it mentions one."""
    if isinstance(row, Mapping):
        kind = row.get("type", row.get("Type", row.get("table")))
        if isinstance(kind, str) and kind:
            return kind.lower() == BOLUS.lower()
    return BOLUS.lower() in json.dumps(row, default=str).lower()
