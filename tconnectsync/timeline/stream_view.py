"""The log's streams as the folds see them: events with their UTC time, hand-overs, the edge of history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs

from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.events import ACCOUNT_KINDS, Event
from tconnectsync.timeline.placement import StreamTimeline
from tconnectsync.timeline.spans import EARLIEST, LATEST, difference
from tconnectsync.timeline.time_index import TimeIndex


def stream_name(stream: Stream) -> str:
    """A stream's stable name: the pump with its sequence group, or with the source that has no numbers."""
    return f"{stream.pump}:{stream.group}" if stream.numbered else f"{stream.pump}@{stream.source}"


@attrs.define
class PlacedStream:
    """One stream of the log under its placement; satisfies :class:`tconnectsync.projection.fold_runner.StreamView`."""

    events: EventLog
    stream: Stream
    placement: StreamTimeline
    gaps: tuple[tuple[int, int], ...] = ()
    """See :class:`tconnectsync.projection.fold_runner.StreamView`."""
    hand_overs: tuple[tuple[int, datetime, str], ...] = ()

    def __attrs_post_init__(self) -> None:
        self.hand_overs = self.placement.hand_overs(self)

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
        """See :class:`tconnectsync.projection.fold_runner.StreamView`."""
        return list(self._placed(first_key, last_key, kinds))

    def _placed(self, first_key: int, last_key: int, kinds: frozenset[str]) -> Iterator[Event]:
        placement = self.placement
        for event in self.events.read(self.stream.id, first_key, last_key, kinds):
            key = event.seq if event.seq is not None else first_key
            at = placement.at(key, event.pump_time)
            if at is not None and event.kind in ACCOUNT_KINDS:  # stamped by the account, maybe in another zone
                at = min(at, event.received_at)
            if at is not None and not placement.ignored(at):
                yield attrs.evolve(event, at=at)

    def wear(self) -> Sequence[tuple[int, datetime, str]]:
        """See :class:`tconnectsync.projection.fold_runner.StreamView`."""
        return self.hand_overs

    def wanted(self, at: datetime) -> bool:
        """See :class:`tconnectsync.projection.fold_runner.StreamView`."""
        return self.placement.wanted(at)

    def keys_between(self, first: datetime, last: datetime) -> Sequence[tuple[int, int]]:
        """Key ranges, both inclusive, that hold all events from ``first`` to ``last`` (UTC), rather too many than too few."""
        return TimeIndex.of(self.events, self.stream, self.placement.clock).keys_between(first, last)

    def differs(self, other: PlacedStream | None) -> bool:
        """Whether anything lies elsewhere in time than under ``other``, or has become certain."""
        mine = self.placement, self.hand_overs, self.gaps
        return other is None or mine != (other.placement, other.hand_overs, other.gaps)

    def changed_keys(self, old: StreamTimeline | None) -> Sequence[tuple[int, int]]:
        """Key ranges, both inclusive, whose events lie elsewhere than under ``old``."""
        if old is None:
            return ()
        return self.placement.changed_keys(old, self)

    def changed_edge(self, old: StreamTimeline | None) -> Sequence[tuple[datetime, datetime]]:
        """UTC spans, both inclusive, whose documents are wanted now and were not under ``old``, or the other way round."""
        spans = () if old is None else difference(old.horizon, self.placement.horizon)
        return [(span.begin or EARLIEST, span.end or LATEST) for span in spans]
