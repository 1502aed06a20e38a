"""Finds a stream's events by UTC time through the log's index, without reading the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import msgspec

from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.timeline.pump_clock import PumpClock, ZoneClock

KeyRange = tuple[int, int]
"""First and last key of a part of a stream, both inclusive."""


class TimeIndex(msgspec.Struct, frozen=True, kw_only=True):
    """Looks up events of a stream by UTC time.

    Time increases within each of ``ranges``, except for ``slack``: drift was corrected, or a zone has a repeated hour.
    """

    log: EventLog
    stream: Stream
    clock: PumpClock | ZoneClock
    ranges: tuple[KeyRange, ...]
    slack: timedelta

    @classmethod
    def of(cls, log: EventLog, stream: Stream, clock: PumpClock | ZoneClock) -> TimeIndex:
        """Return the index of the whole stream, without parts whose UTC time is unknown."""
        whole = (stream.first_key, stream.last_key)
        if isinstance(clock, ZoneClock):
            slack = timedelta(hours=28 if clock.zones.moves else 2)
            return cls(log=log, stream=stream, clock=clock, ranges=(whole,), slack=slack)
        ranges: list[KeyRange] = []
        ends = [piece.from_key - 1 for piece in clock.pieces[1:]]
        for piece, end in zip(clock.pieces, [*ends, stream.last_key], strict=True):
            first, last = max(piece.from_key, whole[0]), min(end, whole[1])
            if piece.offset_s is not None and first <= last:
                ranges.append((first, last))
        return cls(log=log, stream=stream, clock=clock, ranges=tuple(ranges), slack=timedelta(minutes=30))

    def bounds(self, range_: KeyRange, kinds: frozenset[str] | None = None) -> tuple[datetime, datetime] | None:
        """Return the UTC times of the first and the last event of these kinds in a range, by key; None if there is none."""
        first = self._after(range_[0] - 1, range_[1], kinds)
        last = self.log.neighbour(self.stream.id, range_[1] + 1, kinds, before=True)
        if first is None or last is None:
            return None
        begin, end = self.clock.utc(*first), self.clock.utc(*last)
        return None if begin is None or end is None else (min(begin, end), max(begin, end))

    def first_key(self, range_: KeyRange, at: datetime, kinds: frozenset[str] | None = None) -> int | None:
        """Return the first key in a range whose event is not before ``at``. Assumes that time increases."""
        low, high = range_[0], range_[1] + 1
        while low < high:
            middle = (low + high) // 2
            found = self._after(middle - 1, range_[1], kinds)
            utc = None if found is None else self.clock.utc(*found)
            if found is None or utc is None or utc >= at:
                high = middle
            else:
                low = found[0] + 1
        found = self._after(low - 1, range_[1], kinds)
        return None if found is None else found[0]

    def first_keys(self, times: Sequence[datetime]) -> list[int | None]:
        """Return for each of these sorted times the key of the first event in the stream that is not before it."""
        keys: list[int | None] = [None] * len(times)
        for range_ in self.ranges:
            waiting = [i for i, key in enumerate(keys) if key is None]
            first = self.first_key(range_, times[waiting[0]]) if waiting else None
            if first is None:
                continue
            for key, pump_time in self.log.times(self.stream.id, None, first, range_[1]):
                at = self.clock.utc(key, pump_time)
                while waiting and at is not None and at >= times[waiting[0]]:
                    keys[waiting.pop(0)] = key
                if not waiting:
                    break
        return keys

    def between(self, begin: datetime, end: datetime, kinds: frozenset[str] | None = None) -> list[datetime]:
        """Return the sorted UTC times of the events of these kinds with begin <= time <= end."""
        return sorted(at for at in self._times_between(begin, end, kinds) if begin <= at <= end)

    def after(self, at: datetime, kinds: frozenset[str] | None = None) -> datetime | None:
        """Return the UTC time of the first event of these kinds that is later than ``at``."""
        earliest: datetime | None = None
        for range_ in self.ranges:
            for found in self._times_from(range_, at, kinds):
                if earliest is not None and found > earliest + self.slack:
                    break
                if found > at:
                    earliest = found if earliest is None else min(earliest, found)
        return earliest

    def last_before(self, at: datetime, kinds: frozenset[str] | None = None) -> datetime | None:
        """Return the UTC time of the last event of these kinds that is not later than ``at``. Assumes that time increases."""
        latest: datetime | None = None
        for first, last in self.ranges:
            key = self.first_key((first, last), at + timedelta(microseconds=1), kinds)
            found = self.log.neighbour(self.stream.id, last + 1 if key is None else key, kinds, before=True)
            utc = self.clock.utc(*found) if found is not None and found[0] >= first else None
            if utc is not None and (latest is None or utc > latest):
                latest = utc
        return latest

    def keys_between(self, begin: datetime | None, end: datetime | None) -> list[KeyRange]:
        """Return key ranges with at least all events of begin <= time < end and the event after them."""
        ranges = []
        for range_ in self.ranges:
            first = range_[0] if begin is None else self.first_key(range_, begin - self.slack)
            if first is None:
                continue
            last = range_[1] if end is None else self.first_key(range_, end + self.slack)
            ranges.append((first, range_[1] if last is None else last))
        return ranges

    def _times_between(self, begin: datetime, end: datetime, kinds: frozenset[str] | None) -> Iterator[datetime]:
        for range_ in self.ranges:
            for at in self._times_from(range_, begin, kinds):
                if at > end + self.slack:
                    break
                yield at

    def _times_from(self, range_: KeyRange, begin: datetime, kinds: frozenset[str] | None) -> Iterator[datetime]:
        first = self.first_key(range_, begin - self.slack, kinds)
        if first is None:
            return
        for key, pump_time in self.log.times(self.stream.id, kinds, first, range_[1]):
            at = self.clock.utc(key, pump_time)
            if at is not None:
                yield at

    def _after(self, key: int, last_key: int, kinds: frozenset[str] | None) -> tuple[int, datetime] | None:
        found: tuple[int, datetime] | None = self.log.neighbour(self.stream.id, key, kinds, before=False)
        return found if found is not None and found[0] <= last_key else None
