"""What is done to sealed segments in the background: compressing them, and reading them again from time to time."""

from __future__ import annotations

from datetime import datetime, timedelta

from tconnectsync.clock import Clock
from tconnectsync.eventlog.damage import Segment, damage_of
from tconnectsync.eventlog.framing import DamagedRange
from tconnectsync.eventlog.index import Index
from tconnectsync.eventlog.index_queries import IndexReader
from tconnectsync.eventlog.segments import Segments

VERIFY_AGAIN = timedelta(days=30)
"""How often a sealed segment is read again."""

CLOCK_TOLERANCE = timedelta(days=1)
"""A check so little in the future is believed: reading the whole log again for a clock that is a little behind is not worth it."""


class SegmentMaintenance:
    """Looks after the sealed segments, one at a time; damage that it finds is remembered in the index."""

    def __init__(self, segments: Segments, index: Index, order: IndexReader, clock: Clock) -> None:
        self._segments = segments
        self._index = index
        self._order = order
        self._clock = clock

    def step(self) -> bool:
        """Compress or check one segment; False when there is nothing to do."""
        segment = self._to_pack()
        if segment is not None:
            if self._verify(segment):
                self._segments.pack(segment)
            return True
        segment = self._to_verify()
        if segment is not None:
            self._verify(segment)
        return segment is not None

    def _to_pack(self) -> Segment | None:
        harmed = {damage.path for damage in self._order.damage()}
        for segment in self._segments.all()[:-1]:
            if not segment.packed and str(segment.path) not in harmed:
                return segment
        return None

    def _to_verify(self) -> Segment | None:
        """The one that waits longest, if it has waited long enough."""
        verified, now = self._order.verified(), self._clock.now()
        oldest: tuple[datetime, Segment] | None = None
        for segment in self._segments.all()[:-1]:
            at = verified.get(segment.first)
            if at is None:
                return segment
            if at > now + CLOCK_TOLERANCE:  # by a clock that was ahead
                return segment
            if now - at > VERIFY_AGAIN and (oldest is None or at < oldest[0]):
                oldest = (at, segment)
        return None if oldest is None else oldest[1]

    def _verify(self, segment: Segment) -> bool:
        found = [damage_of(segment, item) for item in self._segments.walk(segment) if isinstance(item, DamagedRange)]
        for damage in found:
            self._index.damaged(damage)
        self._index.verified(segment.first, self._clock.now().isoformat())
        return not found
