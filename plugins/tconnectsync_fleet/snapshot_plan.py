"""When a person's next snapshot is due while the person stays with one worker, and which one the next worker may use.

A worker that ends in order gives everybody back with a snapshot. These are for the case that its computer is lost.
"""

from __future__ import annotations

import random
import threading
import time
from datetime import datetime, timedelta, timezone

import attrs

from tconnectsync_fleet.stream_replica import LastMessage, OlderSnapshot

NO_SNAPSHOT = "none"
LATE = timedelta(days=2)
"""If documents are delivered that are older than this, the snapshot before does not count any more."""
FIRST_S = 3600.0
"""The longest wait for the first snapshot of a person who has none that counts."""
PAUSE_S = 600.0
"""After a snapshot that could not be stored, a worker stores nobody's for this long."""


def offered_by(last: LastMessage) -> OlderSnapshot | None:
    """Return the snapshot that the last owner of a log leaves to the next."""
    if last.snapshot in ("", NO_SNAPSHOT):
        return last.older
    return OlderSnapshot(last.snapshot, delivered_from())


def delivered_from() -> datetime:
    """Return the time (UTC) from which on documents may be delivered after a snapshot that is made now."""
    return datetime.now(timezone.utc) - LATE


@attrs.define
class SnapshotLane:
    """One turn of a worker at a time stores a snapshot, and none for a while after a failure: its calls may take long, and hold a place."""

    _busy: threading.Lock = attrs.field(factory=threading.Lock)
    _not_before: float = 0.0

    def enter(self) -> bool:
        """Whether a snapshot may be stored now. Then :meth:`leave` must follow."""
        return time.monotonic() >= self._not_before and self._busy.acquire(blocking=False)

    def leave(self, *, failed: bool) -> None:
        """Let others store theirs; after a failure, later."""
        if failed:
            self._not_before = time.monotonic() + PAUSE_S
        self._busy.release()


@attrs.define
class SnapshotPlan:
    """Plans one person's snapshots. ``every_s``: how often; 0: never."""

    every_s: float = 0.0
    lane: SnapshotLane = attrs.field(factory=SnapshotLane)
    """Shared by all people of a worker."""
    _planned: tuple[OlderSnapshot | None, float] | None = None
    """The snapshot that counts, and when (monotonic) the next is due."""
    _stored_records: int = -1
    _given_up: int = 0
    """How many snapshots in a row were given up before the next one was due."""

    def is_due(self, older: OlderSnapshot | None, records: int) -> bool:
        """Whether to store a snapshot now. ``older`` counts at present; without new ``records`` in the log it stays.

        After True, :meth:`ended` must follow.
        """
        if not self.every_s:
            return False
        if self._planned is None or self._planned[0] != older:
            self._given_up += older is None and self._planned is not None
            self._planned = older, time.monotonic() + self._wait_s(older)
        if time.monotonic() < self._planned[1]:
            return False
        if older is not None:
            self._given_up = 0
            if records == self._stored_records:
                self._planned = older, time.monotonic() + self.every_s
                return False
        if not self.lane.enter():
            self._planned = older, time.monotonic() + random.uniform(0.0, self._first_s() / 10)  # noqa: S311
            return False
        return True

    def _first_s(self) -> float:
        """Return the longest wait without a snapshot that counts: longer each time that one was given up early."""
        return float(min(FIRST_S * 2 ** min(self._given_up, 10), self.every_s))

    def _wait_s(self, older: OlderSnapshot | None) -> float:
        """Return the seconds until a snapshot is due. They differ, so that not everybody's are stored at once."""
        if older is None:
            return self._first_s() * random.uniform(0.1, 1.0)  # noqa: S311
        age_s = (datetime.now(timezone.utc) - LATE - older.since).total_seconds()
        return max(0.0, self.every_s - age_s) + self.every_s * random.uniform(0.0, 0.1)  # noqa: S311

    def ended(self, records: int | None) -> None:
        """A snapshot was stored when the log had so many records; None: it was not.

        Then the next one comes sooner: the stored one may have been replaced, so that the one that was named does not count.
        """
        if records is not None:
            self._planned, self._stored_records = None, records
        elif self._planned is not None:
            self._planned = self._planned[0], time.monotonic() + self._wait_s(None)
        self.lane.leave(failed=records is None)
