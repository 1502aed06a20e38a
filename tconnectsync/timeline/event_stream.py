"""The streams of the log as folds read them: events with their UTC time, hand-overs between pumps, delivery windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import attrs

from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.events import ACCOUNT_KINDS, Event
from tconnectsync.timeline.spans import EARLIEST, LATEST, difference
from tconnectsync.timeline.stream_timeline import StreamTimeline
from tconnectsync.timeline.time_index import TimeIndex


def stream_name(stream: Stream) -> str:
    """A stream's stable name: the pump with its sequence group, or with the source that has no numbers."""
    return f"{stream.pump}:{stream.group}" if stream.numbered else f"{stream.pump}@{stream.source}"


@attrs.define
class EventStream:
    """One stream of the log, read with its timeline."""

    events: EventLog
    stream: Stream
    timeline: StreamTimeline
    gaps: tuple[tuple[int, int], ...] = ()
    """Periods (ms since 1970) in which nothing is withdrawn: a repair took events out and the source has not sent them again."""
    hand_overs: tuple[tuple[int, datetime, str], ...] = ()
    """Changes of the active pump: (key of the first event at or after it, UTC time, kind)."""

    def __attrs_post_init__(self) -> None:
        self.hand_overs = self.timeline.hand_overs(self.events, self.stream)

    @property
    def name(self) -> str:
        """See :func:`stream_name`."""
        return stream_name(self.stream)

    @property
    def pump(self) -> str:
        """Serial number."""
        return self.stream.pump

    @property
    def group(self) -> int | None:
        """Sequence group; None without numbers."""
        return self.stream.group

    @property
    def numbered(self) -> bool:
        """Whether the pump's own sequence numbers order it."""
        return self.stream.numbered

    def read(self, first_key: int, last_key: int, kinds: frozenset[str]) -> Sequence[Event]:
        """Events of these kinds in key order with ``at`` set, without those that have no UTC time or are superseded."""
        return list(self._timed(first_key, last_key, kinds))

    def _timed(self, first_key: int, last_key: int, kinds: frozenset[str]) -> Iterator[Event]:
        timeline = self.timeline
        for event in self.events.read(self.stream.id, first_key, last_key, kinds):
            key = event.seq if event.seq is not None else first_key
            at = timeline.at(key, event.pump_time)
            if at is not None and event.kind in ACCOUNT_KINDS:  # stamped by the account, maybe in another zone
                at = min(at, event.received_at)
            if at is not None and not timeline.is_superseded(at):
                yield event.with_time(at)

    def in_delivery_window(self, at: datetime) -> bool:
        """Whether documents of this time are delivered."""
        return self.timeline.in_delivery_window(at)

    def keys_between(self, first: datetime, last: datetime) -> Sequence[tuple[int, int]]:
        """Key ranges, both inclusive, that hold all events from ``first`` to ``last`` (UTC), too many rather than too few."""
        return TimeIndex.of(self.events, self.stream, self.timeline.clock).keys_between(first, last)

    def differs(self, other: EventStream | None) -> bool:
        """Whether any event has another time than under ``other``, or any other part of the view changed."""
        mine = self.timeline, self.hand_overs, self.gaps
        return other is None or mine != (other.timeline, other.hand_overs, other.gaps)

    def changed_keys(self, old: StreamTimeline | None) -> Sequence[tuple[int, int]]:
        """Key ranges, both inclusive, whose events have another time or count in another way than under ``old``."""
        if old is None:
            return ()
        return self.timeline.changed_keys(old, self.events, self.stream)

    def changed_windows(self, old: StreamTimeline | None) -> Sequence[tuple[datetime, datetime]]:
        """UTC spans, both inclusive, that came into the delivery windows or left them since ``old``."""
        spans = () if old is None else difference(old.delivery_windows, self.timeline.delivery_windows)
        return [(span.begin or EARLIEST, span.end or LATEST) for span in spans]


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
