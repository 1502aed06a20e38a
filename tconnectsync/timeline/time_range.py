"""Reads the events of a stream by UTC time: a range, or the nearest event of some kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from tconnectsync.events import Event
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.spans import EARLIEST, LATEST
from tconnectsync.timeline.time_index import TimeIndex

CHUNK_NUMBERS = 4_096
"""How many sequence numbers are read at once, so that memory is bounded."""
CHUNK_MS = 86_400_000
"""The same for a stream without numbers, whose keys are milliseconds: a day."""
_MARGIN = timedelta(days=2)


def events_between(
    stream: EventStream, begin: datetime, end: datetime, kinds: frozenset[str] | None = None
) -> Iterator[Event]:
    """Yield the events with begin <= ``at`` < end in the pump's order; ``kinds`` None: of all kinds.

    Errors: LogCorrupt.
    """
    step = CHUNK_NUMBERS if stream.numbered else CHUNK_MS
    for first, last in stream.keys_between(max(begin, EARLIEST + _MARGIN), min(end, LATEST - _MARGIN)):
        for key in _chunks(stream, first, last, step):
            for event in stream.read(key, min(key + step - 1, last), kinds):
                if event.at is not None and begin <= event.at < end:
                    yield event


def last_before(stream: EventStream, at: datetime, kinds: frozenset[str]) -> Event | None:
    """Return the last event of these kinds before ``at`` in the pump's order. Uses the index, so it may be long ago."""
    events = next(_back_from(stream, at, kinds), ())
    return events[-1] if events else None


def last_where(stream: EventStream, kinds: frozenset[str], where: Callable[[Event], bool] | None) -> Event | None:
    """Return the last event of these kinds, in the pump's order, for which ``where`` is true."""
    for events in _back_from(stream, LATEST, kinds):
        for event in reversed(events):
            if where is None or where(event):
                return event
    return None


def _back_from(stream: EventStream, at: datetime, kinds: frozenset[str]) -> Iterator[Sequence[Event]]:
    """Yield the events of each key before ``at``, the last key first. Superseded ones are left out, so there may be none."""
    index = TimeIndex.of(stream.events, stream.stream, stream.timeline.clock)
    for range_ in reversed(index.ranges):
        first = index.first_key(range_, at)
        key = range_[1] + 1 if first is None else first
        while True:
            found = stream.events.neighbour(stream.id, key, kinds, before=True)
            if found is None or found[0] < range_[0]:
                break
            key = found[0]
            yield stream.read(key, key, kinds)


def first_from(stream: EventStream, at: datetime, kinds: frozenset[str]) -> Event | None:
    """Return the first event of these kinds that is not before ``at``."""
    index = TimeIndex.of(stream.events, stream.stream, stream.timeline.clock)
    for range_ in index.ranges:
        key = index.first_key(range_, at)  # by all kinds: the index finds those faster than a few
        found = None if key is None else stream.events.neighbour(stream.id, key - 1, kinds, before=False)
        if found is not None and found[0] <= range_[1]:
            events = stream.read(found[0], found[0], kinds)
            return events[0] if events else None
    return None


def _chunks(stream: EventStream, first: int, last: int, step: int) -> Iterator[int]:
    """Yield where chunks begin; parts of the stream without any event are skipped."""
    key = first
    while key <= last:
        yield key
        following = stream.events.neighbour(stream.id, key + step - 1, None, before=False)
        if following is None:
            return
        key = max(key + step, following[0])
