"""Finds in the log when each pump was the active one: boluses, fills and glucose readings show that a pump is worn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

import attrs
import msgspec

from tconnectsync.eventlog import Stream
from tconnectsync.events import WEAR_SIGNS
from tconnectsync.timeline.spans import Span, any_contains, union
from tconnectsync.timeline.stream_timeline import ALWAYS
from tconnectsync.timeline.time_index import TimeIndex
from tconnectsync.timeline.wear import WearRange, active_spans

SUPERSEDING = WEAR_SIGNS | {"basal.delivered", "basal.rate_changed", "pumping.resumed", "pumping.suspended"}
"""Kinds that show that a numbered stream has the events of a period. Clock records do not: they come for a pump's whole life."""
_CacheKey = tuple[int, datetime, datetime]
"""A stream's id and a period."""


@attrs.define
class ActivePump:
    """Finds when each stream is the active one, and caches the times that it reads."""

    index_of: Callable[[Stream], TimeIndex]
    _times: dict[_CacheKey, list[datetime]] = attrs.field(factory=dict)
    _used: set[_CacheKey] = attrs.field(factory=set)

    def active_spans(
        self, streams: Iterable[Stream], superseded: Mapping[int, tuple[Span, ...]]
    ) -> dict[int, tuple[Span, ...]]:
        """Return by the stream's id when its pump is the active one. ``superseded`` by id, as in the stream's timeline."""
        self._used = set()
        ordered = sorted(streams, key=lambda each: (each.pump, each.numbered, each.group or 0, each.source))
        active: dict[int, tuple[Span, ...]] = {stream.id: ALWAYS for stream in ordered}
        if len(ordered) > 1:
            active = active_spans({stream.id: self._ranges(stream, superseded[stream.id]) for stream in ordered})
            for stream in ordered:
                if self._has_settings_only(stream):
                    others = [other for other in ordered if other.pump == stream.pump and other.id != stream.id]
                    active[stream.id] = union([span for other in others for span in active[other.id]])
        self._times = {name: times for name, times in self._times.items() if name in self._used}
        return active

    def clear(self) -> None:
        """Clear the cache: the log is another one."""
        self._times = {}

    def forget(self, streams: Mapping[int, Stream], moved: set[int], touched: set[tuple[int, int, str]]) -> None:
        """Remove times from the cache that new events (``touched``) or a changed clock (``moved``) made invalid."""
        shown = {(stream_id, key) for stream_id, key, kind in touched if kind in WEAR_SIGNS or kind == "unknown"}
        for stream_id, begin, end in list(self._times):
            stream = streams.get(stream_id)
            if stream is None or stream_id in moved:
                del self._times[stream_id, begin, end]
                continue
            keys = [key for id_, key in shown if id_ == stream_id]
            if keys and any(
                first <= key <= last for first, last in self.index_of(stream).keys_between(begin, end) for key in keys
            ):
                del self._times[stream_id, begin, end]

    def _has_settings_only(self, stream: Stream) -> bool:
        """Whether no event of the stream shows that the pump is in use. Then the pump's other streams decide."""
        whole = (stream.first_key, stream.last_key)
        return not stream.numbered and self.index_of(stream).bounds(whole, SUPERSEDING) is None

    def _ranges(self, stream: Stream, superseded: tuple[Span, ...]) -> list[WearRange]:
        index = self.index_of(stream)
        if superseded:
            return _ranges_outside(index, superseded)
        ranges = []
        for range_ in index.ranges:
            bounds = index.bounds(range_, WEAR_SIGNS)
            if bounds is not None:
                ranges.append(self._range(msgspec.structs.replace(index, ranges=(range_,)), *bounds))
        return ranges

    def _range(self, index: TimeIndex, first: datetime, last: datetime) -> WearRange:
        def between(begin: datetime, end: datetime) -> Iterable[datetime]:
            name = (index.stream.id, begin, end)
            self._used.add(name)
            if name not in self._times:
                self._times[name] = index.between(begin, end, WEAR_SIGNS)
            return self._times[name]

        return WearRange(first=first, last=last, between=between, after=lambda at: index.after(at, WEAR_SIGNS))


def _ranges_outside(index: TimeIndex, superseded: tuple[Span, ...]) -> list[WearRange]:
    """Return the ranges of an unnumbered stream that are not superseded. All of it is read, because such streams are short."""
    runs: list[list[datetime]] = []
    hidden = True
    bounds = index.bounds(index.ranges[0], WEAR_SIGNS)
    for at in index.between(*bounds, WEAR_SIGNS) if bounds else ():
        if any_contains(superseded, at):
            hidden = True
            continue
        if hidden or not runs:
            runs.append([])
        hidden = False
        runs[-1].append(at)
    return [_range_of_times(run) for run in runs]


def _range_of_times(run: Sequence[datetime]) -> WearRange:
    return WearRange(
        first=run[0],
        last=run[-1],
        between=lambda begin, end: [at for at in run if begin <= at <= end],
        after=lambda at: next((time for time in run if time > at), None),
    )
