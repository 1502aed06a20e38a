"""Resolves the timeline of every stream from the log: UTC times, the active pump, and the delivery windows."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

import attrs
import msgspec

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.events import PUMP_KINDS, Event
from tconnectsync.text.serials import short_serial
from tconnectsync.timeline.active_pump import SUPERSEDING, ActivePump
from tconnectsync.timeline.pump_clock import PumpClock, ZoneClock, drift_message
from tconnectsync.timeline.spans import EARLIEST, LATEST, Span, union
from tconnectsync.timeline.stream_clock import StreamClock
from tconnectsync.timeline.stream_timeline import ALWAYS, StreamTimeline
from tconnectsync.timeline.time_index import TimeIndex
from tconnectsync.timeline.zone_decision import LATE_SPAN
from tconnectsync.timeline.zones import Zones

log = logging.getLogger("tconnectsync.timeline")
MAX_SILENCE = timedelta(hours=36)
"""A pump logs its basal all day. If a numbered stream is silent for longer, events without numbers are used instead."""
UPLOADS, MAX_UPLOADS, MAX_FACTS = 200, 1_200, 10_000
UPLOADS_SPAN = LATE_SPAN + timedelta(days=1)
"""If the last 200 uploads are all younger, more of them are looked at: a wrong offset needs uploads of days to be corrected."""


@attrs.define
class TimelineResolver:
    """Resolves the timelines of the streams of ``log`` for a wearer who lives in ``zones``.

    Append :meth:`pending_facts` to the log, then call :meth:`resolve`. If the log cannot be written, ``resolve`` alone gives the
    same answer. Both cost little while the log does not grow.
    """

    log: EventLog
    zones: Zones
    _seen: tuple[str, int] = ("", -1)
    _streams: dict[int, Stream] = attrs.field(factory=dict)
    _clocks: dict[int, StreamClock] = attrs.field(factory=dict)
    _superseded: dict[int, tuple[object, tuple[Span, ...]]] = attrs.field(factory=dict)
    _timelines: dict[int, StreamTimeline] = attrs.field(factory=dict)
    _active_pump: ActivePump = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # weak, and no bound method: a closed log and what was read of it would stay until Python searches for cycles
        weak = weakref.proxy(self)
        self._active_pump = ActivePump(lambda stream: weak.index_of(stream))  # noqa: PLW0108

    def resolve(self) -> dict[int, StreamTimeline]:
        """Return the timeline of every stream by its id in the log. Raises LogCorrupt if a record that it needs is corrupt."""
        self._refresh()
        return dict(self._timelines)

    def pending_facts(self, now: datetime) -> list[Event]:
        """Return the clock.anchored events to append: choices that the log does not have yet. The newest in the log wins.

        A choice waits up to a day while the log lacks the events of an upload, because they may change it.
        """
        self._refresh()
        return [fact for clock in self._clocks.values() for fact in clock.pending_facts(now)]

    def messages(self, source: str | None = None) -> list[str]:
        """Return messages for ``status`` about the clocks, of all sources or of one."""
        self._refresh()
        messages: list[str] = []
        for id_, stream in self._streams.items():
            if source is not None and stream.source != source:
                continue
            clock = self._clocks.get(id_)
            if clock is None:
                continue
            messages += clock.messages()
            messages += self._drift_messages(stream, clock)
            if stream.group and any(
                other.numbered and other.pump == stream.pump and (other.group or 0) < stream.group
                for other in self._streams.values()
            ):
                messages.append(
                    f"Pump {stream.pump} started a new numbering of its events (sequence group {stream.group}). "
                    "The two numberings are stored separately. You do not need to do anything."
                )
        return messages

    def status(self, source: str | None = None) -> dict[str, dict[str, Any]]:
        """Return by serial number the state of the pump's newest stream, of all sources or of one.

        Keys: ``clock_offset_minutes``, ``clock_basis``, ``worn`` (it is the active pump), ``newest_event`` (UTC).
        """
        self._refresh()
        found: dict[str, dict[str, Any]] = {}
        for id_, stream in self._streams.items():
            if source is not None and stream.source != source:
                continue
            state = self._stream_status(id_, stream)
            known = found.get(stream.pump)
            if known is None or _later(state["newest_event"], known["newest_event"]):
                found[stream.pump] = state
        return found

    def _stream_status(self, id_: int, stream: Stream) -> dict[str, Any]:
        timeline = self._timelines[id_]
        newest = self._newest(stream, PUMP_KINDS)
        offset_s = None
        if newest is not None:
            if isinstance(timeline.clock, PumpClock):
                offset_s = timeline.clock.piece(newest[0]).offset_s
            else:
                offset_s = self.zones.offset_of(newest[1])
        clock = self._clocks.get(id_)
        return {
            "clock_offset_minutes": None if offset_s is None else offset_s // 60,
            "clock_basis": "zone_rules" if clock is None else clock.basis,
            "worn": bool(timeline.active) and timeline.active[-1].end is None,
            "newest_event": None if newest is None else timeline.at(*newest),
        }

    def newest(self, source: str | None = None) -> datetime | None:
        """Return the UTC time of the newest event of the worn pumps, of all sources or of one; of any pump if none is worn."""
        pumps = self.status(source).values()
        counted = [pump for pump in pumps if pump["worn"]] or pumps
        return max((pump["newest_event"] for pump in counted if pump["newest_event"]), default=None)

    # --- reading the log --------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        end = (self.log.log_id, self.log.end)
        if end == self._seen:
            return
        log_id, before = self._seen
        is_other_log = log_id != end[0] or end[1] < before
        if is_other_log:
            self._clocks, self._superseded = {}, {}
            self._active_pump.clear()
        streams = {stream.id: stream for stream in self.log.streams()}
        rows = () if is_other_log else self.log.touched(before, end[1])
        touched = {(stream_id, key, kind) for _, stream_id, key, kind in rows}
        clocks_before = {id_: clock.clock for id_, clock in self._clocks.items()}
        self._streams = streams
        self._read_clocks(touched)
        moved = {id_ for id_, clock in self._clocks.items() if clocks_before.get(id_) != clock.clock}
        self._active_pump.forget(streams, moved, touched)
        self._superseded = {
            id_: cached
            for id_, cached in self._superseded.items()
            if id_ in streams and not moved and not self._may_supersede_more(id_, touched)
        }
        timelines = {}
        for id_, stream in streams.items():
            timelines[id_] = StreamTimeline(
                clock=self._clock(stream),
                superseded=() if stream.numbered else self._superseded_spans(stream),
                delivery_windows=self._delivery_windows(stream.pump),
            )
        superseded = {id_: timeline.superseded for id_, timeline in timelines.items()}
        active = self._active_pump.active_spans(streams.values(), superseded)
        self._timelines = {
            id_: msgspec.structs.replace(timeline, active=active[id_]) for id_, timeline in timelines.items()
        }
        self._seen = end

    def _read_clocks(self, touched: set[tuple[int, int, str]]) -> None:
        changed = {stream_id for stream_id, _, kind in touched if kind in {"clock.changed", "unknown"}}
        written = {stream_id for stream_id, _, _ in touched}
        numbered = [stream for stream in self._streams.values() if stream.numbered]
        self._clocks = {stream.id: self._clocks[stream.id] for stream in numbered if stream.id in self._clocks}
        for stream in numbered:
            clock = self._clocks.get(stream.id)
            if clock is None:
                clock = self._clocks[stream.id] = StreamClock(self.log, self.zones, stream)
                clock.read_settings(stream, changed=True)
            elif stream.id in written:
                clock.read_settings(stream, changed=stream.id in changed)
        for pump in {stream.pump for stream in numbered}:
            anchored = self.log.facts("clock.anchored", pump=pump, limit=MAX_FACTS)
            uploads = self._uploads(pump)
            groups = [stream for stream in numbered if stream.pump == pump]
            active = max(groups, key=self._position) if len(groups) > 1 else groups[0]
            for stream in groups:
                facts = [fact for fact in anchored if fact.group == stream.group]
                self._clocks[stream.id].choose(facts, uploads if stream is active else ())

    def _uploads(self, pump: str) -> Sequence[Event]:
        """Return the pump's uploads, newest first; none if one is corrupt, and then the stored choice stays."""
        try:
            found = self.log.facts("upload.seen", pump=pump, limit=UPLOADS)
            if len(found) == UPLOADS and found[0].body.uploaded_at - found[-1].body.uploaded_at < UPLOADS_SPAN:
                found = self.log.facts("upload.seen", pump=pump, limit=MAX_UPLOADS)
                oldest = found[0].body.uploaded_at - UPLOADS_SPAN
                found = [fact for fact in found if fact.body.uploaded_at >= oldest]
        except LogCorrupt as error:
            log.warning('uploads_not_read pump=%s reason="%s"', short_serial(pump), error.message)
            return ()
        return found

    def _position(self, stream: Stream) -> int:
        newest = self.log.newest(stream.id)
        return 0 if newest is None else newest.pos

    def _newest(self, stream: Stream, kinds: frozenset[str] | None = None) -> tuple[int, datetime] | None:
        return self.log.neighbour(stream.id, stream.last_key + 1, kinds, before=True)

    def _delivery_windows(self, pump: str) -> tuple[Span, ...]:
        opened = self.log.facts("history.opened", pump=pump, limit=MAX_FACTS)
        spans = []
        for fact in opened:
            last_day = fact.body.last_day
            end = None if last_day is None else self.zones.day_start(date.fromisoformat(last_day) + timedelta(days=1))
            spans.append(Span(begin=self.zones.day_start(date.fromisoformat(fact.body.first_day)), end=end))
        return union(spans) or ALWAYS

    # --- events with numbers supersede those without ----------------------------------------------------------------

    def _superseded_spans(self, stream: Stream) -> tuple[Span, ...]:
        cached = self._superseded.get(stream.id)
        keys = (stream.first_key, stream.last_key)
        if cached is not None and cached[0] == keys:
            return cached[1]
        bounds, rivals = self._rivals(stream)
        spans = [span for index in rivals for span in _covered_spans(index, *bounds)]
        self._superseded[stream.id] = (keys, union(spans))
        return self._superseded[stream.id][1]

    def _may_supersede_more(self, id_: int, touched: set[tuple[int, int, str]]) -> bool:
        """Whether new events of a numbered stream may supersede more of this one: not if they are all later."""
        (begin, end), rivals = self._rivals(self._streams[id_])
        for index in rivals:
            keys = [key for stream_id, key, _ in touched if stream_id == index.stream.id]
            for first, last in index.keys_between(begin - MAX_SILENCE, end + MAX_SILENCE) if keys else ():
                if any(first <= key <= last for key in keys):
                    return True
        return False

    def _rivals(self, stream: Stream) -> tuple[tuple[datetime, datetime], list[TimeIndex]]:
        """Return the time bounds of an unnumbered stream, and the numbered streams of its pump.

        There are none if no event of the stream could be superseded (settings only).
        """
        index, keys = self.index_of(stream), (stream.first_key, stream.last_key)
        bounds = None if index.bounds(keys, SUPERSEDING) is None else index.bounds(keys)
        if bounds is None:
            return (EARLIEST, LATEST), []
        others = [other for other in self._streams.values() if other.numbered and other.pump == stream.pump]
        return bounds, [self.index_of(other) for other in others]

    def index_of(self, stream: Stream) -> TimeIndex:
        """Return the index of a stream's times."""
        return TimeIndex.of(self.log, stream, self._clock(stream))

    def _clock(self, stream: Stream) -> PumpClock | ZoneClock:
        return self._clocks[stream.id].clock if stream.id in self._clocks else ZoneClock(zones=self.zones)

    def _drift_messages(self, stream: Stream, clock: StreamClock) -> list[str]:
        timeline, newest = self._timelines[stream.id], self._newest(stream)
        at = None if newest is None else timeline.at(*newest)
        if newest is None or at is None or not timeline.active or timeline.active[-1].end is not None:
            return []
        piece = clock.clock.piece(newest[0])
        begun = self.log.neighbour(stream.id, piece.from_key - 1, before=False) if piece.from_key else None
        message = drift_message(
            stream.pump,
            offset_s=piece.offset_s or 0,
            zones=self.zones,
            newest=at,
            since=None if begun is None else timeline.at(*begun),
        )
        return [] if message is None else [message]


def _covered_spans(index: TimeIndex, begin: datetime, end: datetime) -> list[Span]:
    """Return the spans, within about begin to end, in which a numbered stream has events without a long silence."""
    spans: list[Span] = []
    first = index.after(begin - MAX_SILENCE, SUPERSEDING)
    while first is not None and first <= end + MAX_SILENCE:
        last = first
        while last <= end:
            further = index.last_before(last + MAX_SILENCE, SUPERSEDING)
            if further is None or further <= last:
                break
            last = further
        spans.append(
            Span(begin=first, end=min(last, end) + timedelta(seconds=1))
            if first <= end
            else Span(begin=first, end=first)
        )
        first = index.after(last, SUPERSEDING)
    return [span for span in spans if span.begin != span.end]


def _later(this: datetime | None, that: datetime | None) -> bool:
    return this is not None and (that is None or this > that)
