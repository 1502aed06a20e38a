"""Streams of the log as folds read them: events with UTC times, hand-overs between pumps, delivery windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import attrs
import msgspec

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.events import ACCOUNT_KINDS, Event
from tconnectsync.timeline.pump_clock import PumpClock
from tconnectsync.timeline.spans import EARLIEST, LATEST, difference
from tconnectsync.timeline.stream_timeline import StreamTimeline
from tconnectsync.timeline.time_index import TimeIndex


def stream_name(stream: Stream) -> str:
    """Return a stream's stable name: ``pump:group``, or ``pump@source`` if its source has no sequence numbers."""
    return f"{stream.pump}:{stream.group}" if stream.numbered else f"{stream.pump}@{stream.source}"


@attrs.define
class EventStream:
    """One stream of the log, read with its timeline."""

    events: EventLog
    stream: Stream
    timeline: StreamTimeline
    gaps: tuple[tuple[int, int], ...] = ()
    """Periods (ms since 1970) in which nothing is withdrawn: a repair removed events, and they were not fetched again yet."""
    hand_overs: tuple[tuple[int, datetime, str], ...] = ()
    """Changes of the active pump: (key of the first event at or after it, UTC time, kind)."""

    def __attrs_post_init__(self) -> None:
        self.hand_overs = self.timeline.hand_overs(self.events, self.stream)

    @property
    def id(self) -> int:
        """The stream's number in the log's index."""
        return self.stream.id

    @property
    def name(self) -> str:
        """See :func:`stream_name`."""
        return stream_name(self.stream)

    @property
    def pump(self) -> str:
        """The pump's serial number."""
        return self.stream.pump

    @property
    def group(self) -> int | None:
        """The sequence group; None without sequence numbers."""
        return self.stream.group

    @property
    def numbered(self) -> bool:
        """Whether the pump's own sequence numbers give the order."""
        return self.stream.numbered

    def read(
        self,
        first_key: int,
        last_key: int,
        kinds: frozenset[str] | None,
        only_times: frozenset[str] = frozenset(),
        *,
        with_raw: bool = True,
    ) -> Sequence[Event]:
        """Return events of these kinds (None: all) in key order with ``at`` set, without superseded ones and those without a UTC time.

        Without ``with_raw``, only ``unknown`` events have their ``raw``. Events of the kinds ``only_times`` may come without
        ``id``, ``body`` and ``raw``, which is several times as fast.
        """
        if kinds is None or not self.numbered:  # without numbers, the order of equal times is that of the ids
            wanted = None if kinds is None else kinds | only_times
            return list(self._timed(first_key, last_key, wanted, with_raw=with_raw))
        unread = only_times - kinds - ACCOUNT_KINDS
        events = self._timed(first_key, last_key, kinds | (only_times & ACCOUNT_KINDS), with_raw=with_raw)
        if not unread:
            return list(events)
        return sorted([*events, *self._marks(first_key, last_key, unread)], key=_number)

    def _timed(self, first_key: int, last_key: int, kinds: frozenset[str] | None, *, with_raw: bool) -> Iterator[Event]:
        timeline, utc = self.timeline, self.timeline.clock.utc
        for event in self.events.read(self.stream.id, first_key, last_key, kinds, with_raw=with_raw):
            key = event.seq if event.seq is not None else first_key
            at = utc(key, event.pump_time)
            if at is not None and event.kind in ACCOUNT_KINDS:  # the account's time may be in another zone
                at = min(at, event.received_at)
            if at is not None and not timeline.is_superseded(at):
                msgspec.structs.force_setattr(
                    event, "at", at
                )  # nobody else has it yet, and a copy takes a fifth of all reading
                yield event

    def _marks(self, first_key: int, last_key: int, kinds: frozenset[str]) -> Iterator[Event]:
        """Yield the events of a numbered stream as far as the index knows them."""
        stream, timeline, utc = self.stream, self.timeline, self.timeline.clock.utc
        for key, kind, pump_time in self.events.marks(stream.id, first_key, last_key, kinds):
            at = utc(key, pump_time)
            if at is not None and not timeline.is_superseded(at):
                yield Event(
                    id="", kind=kind, pump=stream.pump, group=stream.group, seq=key, pump_time=pump_time, source=stream.source,
                    received_at=at, body=None, at=at,
                )  # fmt: skip

    def in_delivery_window(self, at: datetime) -> bool:
        """Whether documents of this time are delivered."""
        return self.timeline.in_delivery_window(at)

    @property
    def delivery_begin(self) -> datetime | None:
        """The earliest UTC time whose documents are delivered and about which the log knows something; None: it is unknown."""
        windows = self.timeline.delivery_windows
        if not windows or windows[0].begin is None:
            return None
        try:
            first = next(iter(self.read(self.stream.first_key, self.stream.first_key, None)), None)
        except LogCorrupt:
            return None
        return None if first is None or first.at is None else max(windows[0].begin, first.at)

    @property
    def has_unknown_times(self) -> bool:
        """Whether the UTC time of some events is not known yet: their documents wait."""
        clock = self.timeline.clock
        return isinstance(clock, PumpClock) and any(piece.offset_s is None for piece in clock.pieces)

    def keys_between(self, first: datetime, last: datetime) -> Sequence[tuple[int, int]]:
        """Return key ranges, both ends inclusive, with at least all events from ``first`` to ``last`` (UTC)."""
        return TimeIndex.of(self.events, self.stream, self.timeline.clock).keys_between(first, last)

    def differs(self, other: EventStream | None) -> bool:
        """Whether the timeline, a hand-over or a gap differs from ``other`` (None: yes)."""
        mine = self.timeline, self.hand_overs, self.gaps
        return other is None or mine != (other.timeline, other.hand_overs, other.gaps)

    def changed_keys(self, old: StreamTimeline | None) -> Sequence[tuple[int, int]]:
        """Return key ranges, both ends inclusive, of events that ``old`` treats otherwise; nothing if it is None."""
        return () if old is None else self.timeline.changed_keys(old, self.events, self.stream)

    def changed_windows(self, old: StreamTimeline | None) -> Sequence[tuple[datetime, datetime]]:
        """Return UTC spans, both ends inclusive, that were added to or removed from the delivery windows since ``old``."""
        spans = () if old is None else difference(old.delivery_windows, self.timeline.delivery_windows)
        return [(span.begin or EARLIEST, span.end or LATEST) for span in spans]


def _number(event: Event) -> int:
    return event.seq or 0


def event_streams(
    events: EventLog,
    timelines: Mapping[int, StreamTimeline],
    gaps_of_source: Callable[[str], tuple[tuple[int, int], ...]] = lambda _: (),
) -> dict[str, EventStream]:
    """Return all streams of the log by name. ``timelines`` by the stream's id; ``gaps_of_source``: see :attr:`EventStream.gaps`."""
    streams = {stream.id: stream for stream in events.streams()}
    found = [
        EventStream(events, streams[id_], timeline, gaps=gaps_of_source(streams[id_].source))
        for id_, timeline in timelines.items()
    ]
    return {stream.name: stream for stream in found}
