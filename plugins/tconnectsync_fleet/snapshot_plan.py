"""When a person's next snapshot is due while the person stays with one worker, and which one the next worker may use.

A worker that ends in order gives everybody back with a snapshot. These are for the case that its computer is lost.
"""

from __future__ import annotations

import random
import time
from datetime import datetime, timedelta, timezone

import attrs

from tconnectsync_fleet.stream_replica import LastMessage, OlderSnapshot

NO_SNAPSHOT = "none"
LATE = timedelta(days=2)
"""If documents are delivered that are older than this, the snapshot before does not count any more."""
FIRST_S = 3600.0
"""The longest wait for the first snapshot of a person who has none that counts."""


def offered_by(last: LastMessage) -> OlderSnapshot | None:
    """Return the snapshot that the last owner of a log leaves to the next."""
    if not last.snapshot:
        return last.older
    return None if last.snapshot == NO_SNAPSHOT else OlderSnapshot(last.snapshot, delivered_from())


def delivered_from() -> datetime:
    """Return the time (UTC) from which on documents may be delivered after a snapshot that is made now."""
    return datetime.now(timezone.utc) - LATE


@attrs.define
class SnapshotPlan:
    """Plans one person's snapshots. ``every_s``: how often; 0: never."""

    every_s: float = 0.0
    _planned: tuple[OlderSnapshot | None, float] | None = None
    """The snapshot that counts, and when (monotonic) the next is due."""
    _stored_records: int = -1

    def is_due(self, older: OlderSnapshot | None, records: int) -> bool:
        """Whether to store a snapshot now. ``older`` counts at present; without new ``records`` in the log it stays."""
        if not self.every_s:
            return False
        if self._planned is None or self._planned[0] != older:
            self._planned = older, time.monotonic() + self._wait_s(older)
        if time.monotonic() < self._planned[1]:
            return False
        self._planned = older, time.monotonic() + self.every_s
        return older is None or records != self._stored_records

    def _wait_s(self, older: OlderSnapshot | None) -> float:
        """Return the seconds until a snapshot is due. They differ, so that not everybody's are stored at once."""
        if older is None:
            return min(FIRST_S, self.every_s) * random.uniform(0.1, 1.0)  # noqa: S311
        age_s = (datetime.now(timezone.utc) - LATE - older.since).total_seconds()
        return max(0.0, self.every_s - age_s) + self.every_s * random.uniform(0.0, 0.1)  # noqa: S311

    def not_stored(self) -> None:
        """Plan the next one sooner, because this one could not be stored."""
        self._planned = None

    def stored(self, records: int) -> None:
        """Remember that a snapshot was stored when the log had so many records."""
        self._stored_records = records
