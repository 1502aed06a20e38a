"""Where a numbered stream has events, and where its record numbers show that events are missing: holes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from itertools import pairwise

import attrs
import msgspec

from tconnectsync.events.basal_rates import CONFIRMED_FOR
from tconnectsync.timeline.active_pump import SUPERSEDING
from tconnectsync.timeline.borders import BASAL_STATE, LAST_KEY
from tconnectsync.timeline.spans import Span, union
from tconnectsync.timeline.time_index import TimeIndex

MAX_SILENCE = timedelta(hours=36)
"""A pump logs its basal all day. If a numbered stream is silent for longer, events without numbers are used instead."""
HOLE = timedelta(hours=1)
"""The shortest silence that may be a hole. A pump that delivers writes record 279 every five minutes, so an hour without any
sign of delivery is no ordinary pause. A shorter hole is left alone: each one makes two borders between two sources."""
MISSING = 24
"""A silence is a hole if at least so many numbers are missing in it. Record 279 alone takes as many in two hours, and a pump with
a sensor two to five times as many. Numbers of records that no answer contains come a dozen at once, in minutes; a pump that is
switched off for hours uses hardly any."""
_APART = 4_096
"""New events whose numbers are further apart are looked at apart."""


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """A silence that is not covered: the event before it and the one after it, with their UTC times."""

    before_key: int
    after_key: int
    begin: datetime
    end: datetime


class CoveredTimes(msgspec.Struct, frozen=True, kw_only=True):
    """When a stream has events (``spans``), and the same from the first basal record of each span on (``basal``)."""

    spans: tuple[Span, ...]
    basal: tuple[Span, ...]


@attrs.define
class EventCoverage:
    """The breaks in a part of a numbered stream. They are read once, and then only where new events come."""

    _first: int = 0
    _last: int = -1
    """The part that was read: both keys are those of an event of :data:`SUPERSEDING`. Empty if ``_last`` is smaller."""
    _breaks: list[Break] = attrs.field(factory=list)
    _new: set[int] = attrs.field(factory=set)
    _found: tuple[datetime, datetime, int, CoveredTimes] | None = None
    """The last answer: begin and end that were asked for, the greatest key that it depends on, and the spans."""

    def note(self, keys: Iterable[int]) -> None:
        """There are new events, or new revisions of events, with these keys."""
        keys = list(keys)
        self._new.update(key for key in keys if self._first <= key <= self._last)
        if self._found is not None and any(key <= self._found[2] for key in keys):
            self._found = None

    def covered(self, index: TimeIndex, begin: datetime, end: datetime) -> CoveredTimes:
        """Return the times around ``begin`` to ``end`` (UTC) in which the stream has events without a break.

        From the first event after ``end`` on, everything counts as covered.
        """
        if self._found is None or self._found[:2] != (begin, end):
            # of events with greater keys, none is earlier than this one by more than the slack
            last = max(end + MAX_SILENCE, index.after(end, SUPERSEDING) or end) + 2 * index.slack
            behind = index.first_key(index.ranges[-1], last, SUPERSEDING) if index.ranges else None
            spans = self._spans(index, begin, end)
            basal = union(_from_basal(index, span, end) for span in spans)
            self._found = begin, end, LAST_KEY if behind is None else behind, CoveredTimes(spans=spans, basal=basal)
        return self._found[3]

    def _spans(self, index: TimeIndex, begin: datetime, end: datetime) -> tuple[Span, ...]:
        self._read(index, begin - MAX_SILENCE, end + MAX_SILENCE)
        spans = []
        first = index.after(begin - MAX_SILENCE, SUPERSEDING)
        last = None if first is None else index.last_before(end + MAX_SILENCE, SUPERSEDING)
        if first is not None and last is not None and first <= last:
            breaks = sorted(_between_ranges(index) | set(self._breaks), key=lambda each: each.before_key)
            for each in breaks:
                if each.begin < first or each.end > last:
                    continue
                spans.append(_span(first, each.begin))
                first = each.end
            spans.append(_span(first, last))
        after = index.after(end, SUPERSEDING)
        return union(spans if after is None else [*spans, Span(begin=after)])

    def _read(self, index: TimeIndex, begin: datetime, end: datetime) -> None:
        keys = [
            key
            for first, last in index.keys_between(begin, end)
            for found in (
                index.log.neighbour(index.stream.id, first - 1, SUPERSEDING, before=False),
                index.log.neighbour(index.stream.id, last + 1, SUPERSEDING, before=True),
            )
            if found is not None and first <= (key := found[0]) <= last
        ]
        if not keys:
            return
        low, high = min(keys), max(keys)
        if self._last < self._first:
            self._first, self._last, self._breaks = low, high, _breaks(index, low, high)
        else:
            if low < self._first:
                self._breaks += _breaks(index, low, self._first)
                self._first = low
            if high > self._last:
                self._breaks += _breaks(index, self._last, high)
                self._last = high
        for some in _groups(self._new):
            self._read_again(index, *some)
        self._new = set()

    def _read_again(self, index: TimeIndex, low: int, high: int) -> None:
        """Read again from the event before the key ``low`` to the one after ``high``."""
        before = index.log.neighbour(index.stream.id, low, SUPERSEDING, before=True)
        after = index.log.neighbour(index.stream.id, high, SUPERSEDING, before=False)
        low = low if before is None else before[0]
        high = high if after is None else after[0]
        self._breaks = [each for each in self._breaks if each.after_key <= low or each.before_key >= high]
        self._breaks += _breaks(index, low, high)


def _breaks(index: TimeIndex, low: int, high: int) -> list[Break]:
    """Return the breaks between two keys, as far as the clock is the same on both sides."""
    found = index.log.silences(index.stream.id, SUPERSEDING, low, high, HOLE)
    return [each for before, after in found if (each := _break(index, before, after)) is not None]


def _between_ranges(index: TimeIndex) -> set[Break]:
    """Return the breaks between parts of the stream: there the clock changed, or times are unknown."""
    edges = []
    for first, last in index.ranges:
        one = index.log.neighbour(index.stream.id, first - 1, SUPERSEDING, before=False)
        other = index.log.neighbour(index.stream.id, last + 1, SUPERSEDING, before=True)
        if one is not None and other is not None and one[0] <= last:
            edges.append((one, other))
    found = (_break(index, before, after) for (_, before), (after, _) in pairwise(edges))
    return {each for each in found if each is not None}


def _break(index: TimeIndex, before: tuple[int, datetime], after: tuple[int, datetime]) -> Break | None:
    begin, end = index.clock.utc(*before), index.clock.utc(*after)
    if begin is None or end is None or end - begin < HOLE:
        return None
    if end - begin <= MAX_SILENCE and _missing(index, before[0], after[0]) < MISSING:
        return None
    return Break(before_key=before[0], after_key=after[0], begin=begin, end=end)


def _missing(index: TimeIndex, before: int, after: int) -> int:
    """Return how many numbers between two keys the log does not have."""
    there = {key for key, _ in index.log.times(index.stream.id, None, before + 1, after - 1)}
    return after - before - 1 - len(there)


def _from_basal(index: TimeIndex, span: Span, end: datetime) -> Span:
    """Return the span from its first basal record on, which is some minutes after the first reading; unchanged if it is later."""
    if span.begin is None or span.begin > end:
        return span
    at = index.after(span.begin - timedelta(microseconds=1), BASAL_STATE)
    is_soon = at is not None and at - span.begin < CONFIRMED_FOR and (span.end is None or at < span.end)
    return Span(begin=at, end=span.end) if is_soon else span


def _span(first: datetime, last: datetime) -> Span:
    return Span(begin=min(first, last), end=max(first, last) + timedelta(seconds=1))


def _groups(keys: Collection[int]) -> Iterable[tuple[int, int]]:
    """Yield the first and the last of keys that are near each other."""
    ordered = sorted(keys)
    start = 0
    for i, key in enumerate(ordered):
        if i + 1 == len(ordered) or ordered[i + 1] - key > _APART:
            yield ordered[start], key
            start = i + 1
