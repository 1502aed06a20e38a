"""Compresses sealed segments in the background, and checks them again every 30 days."""

from __future__ import annotations

from datetime import datetime, timedelta

from tconnectsync.clock import Clock
from tconnectsync.eventlog.damage import Segment, damages
from tconnectsync.eventlog.index import Index
from tconnectsync.eventlog.index_queries import IndexReader
from tconnectsync.eventlog.segments import Segments

VERIFY_AGAIN = timedelta(days=30)
"""How often a sealed segment is checked again."""

CLOCK_TOLERANCE = timedelta(days=1)
"""A check in the future by less than this is accepted, because a host clock may be a little behind."""


class SegmentMaintenance:
    """Maintains the sealed segments, one at a time. Damage that it finds is stored in the index."""

    def __init__(self, segments: Segments, index: Index, order: IndexReader, clock: Clock) -> None:
        self._segments = segments
        self._index = index
        self._reader = order
        self._clock = clock

    def step(self) -> bool:
        """Compress or check one segment. Return False if there is nothing to do."""
        segment = self._next_to_compress()
        if segment is not None:
            if self._verify(segment):
                self._segments.pack(segment)
            return True
        segment = self._next_to_verify()
        if segment is not None:
            self._verify(segment)
        return segment is not None

    def _next_to_compress(self) -> Segment | None:
        damaged = {damage.path for damage in self._reader.damage()}
        for segment in self._segments.all()[:-1]:
            if not segment.packed and str(segment.path) not in damaged:
                return segment
        return None

    def _next_to_verify(self) -> Segment | None:
        """Return the segment that was checked longest ago, if it is due."""
        verified, now = self._reader.verified(), self._clock.now()
        oldest: tuple[datetime, Segment] | None = None
        for segment in self._segments.all()[:-1]:
            at = verified.get(segment.first)
            if at is None:
                return segment
            if at > now + CLOCK_TOLERANCE:  # the host clock was ahead then
                return segment
            if now - at > VERIFY_AGAIN and (oldest is None or at < oldest[0]):
                oldest = (at, segment)
        return None if oldest is None else oldest[1]

    def _verify(self, segment: Segment) -> bool:
        found = list(damages(segment, self._segments.walk(segment)))
        for damage in found:
            self._index.record_damage(damage)
        self._index.record_verified(segment.first, self._clock.now().isoformat())
        return not found
