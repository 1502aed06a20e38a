"""Where every stream of the log lies: in time, under which pump's wear, within which history. Made from the log alone."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import attrs

from tconnectsync.errors import LogCorrupt
from tconnectsync.events import PUMP_KINDS, WEAR_MARKS, Event
from tconnectsync.timeline.placement import ALWAYS, StreamTimeline, placement_from_json, placement_to_json
from tconnectsync.timeline.pump_clock import PumpClock, ZoneClock, drift_message
from tconnectsync.timeline.spans import Span, any_holds, union
from tconnectsync.timeline.stream_clock import StreamClock
from tconnectsync.timeline.time_index import PlacedLog, StreamLike, TimeIndex
from tconnectsync.timeline.wear import MarkRange, worn_spans
from tconnectsync.timeline.zones import Zones

__all__ = ["StreamTimeline", "TimelineResolver", "placement_from_json", "placement_to_json"]

log = logging.getLogger("tconnectsync.timeline")
COVERING = WEAR_MARKS | {"basal.delivered", "basal.rate_changed", "pumping.resumed", "pumping.suspended"}
"""Kinds whose events show that a numbered source really tells a stretch; clock records come for a pump's whole life."""
HOLE = timedelta(hours=36)
"""A pump logs its basal all day: a longer silence of a numbered stream leaves room for events without numbers."""
UPLOADS, FACTS = 200, 10_000


@attrs.define
class TimelineResolver:
    """Places the streams of ``log`` for a wearer who lives in ``zones``. Costs little while the log does not grow.

    In a cycle: append :meth:`pending_facts` to the log, then :meth:`place`. Without a log to write to, ``place`` alone answers
    the same.
    """

    log: PlacedLog
    zones: Zones
    _seen: tuple[str, int] = ("", -1)
    _streams: dict[int, StreamLike] = attrs.field(factory=dict)
    _clocks: dict[int, StreamClock] = attrs.field(factory=dict)
    _covered: dict[int, tuple[object, tuple[Span, ...]]] = attrs.field(factory=dict)
    _marks: dict[tuple[int, datetime, datetime], list[datetime]] = attrs.field(factory=dict)
    _asked: set[tuple[int, datetime, datetime]] = attrs.field(factory=set)
    _placements: dict[int, StreamTimeline] = attrs.field(factory=dict)

    def place(self) -> dict[int, StreamTimeline]:
        """The placement of every stream, by the stream's id in the log. LogCorrupt where a needed record is damaged."""
        self._refresh()
        return dict(self._placements)

    def pending_facts(self, now: datetime) -> list[Event]:
        """The clock.anchored events to append: choices that the log does not hold yet. The newest in the log wins.

        A choice is kept back, up to a day, while an upload was seen whose events are not in the log: they may decide otherwise.
        """
        self._refresh()
        return [fact for clock in self._clocks.values() for fact in clock.pending_facts(now)]

    def messages(self, source: str | None = None) -> list[str]:
        """Sentences for ``status`` about the clocks, of all sources or of one."""
        self._refresh()
        words: list[str] = []
        for id_, stream in self._streams.items():
            if source is not None and stream.source != source:
                continue
            clock = self._clocks.get(id_)
            if clock is None:
                continue
            words += clock.messages()
            words += self._drift(stream, clock)
            if stream.group and any(
                other.numbered and other.pump == stream.pump and (other.group or 0) < stream.group
                for other in self._streams.values()
            ):
                words.append(
                    f"Pump {stream.pump} numbers its events anew (sequence group {stream.group}); both are kept apart."
                )
        return words

    def status(self, source: str | None = None) -> dict[str, dict[str, Any]]:
        """Per serial number, by the pump's newest stream (of one source): clock_offset_minutes, clock_basis, worn, newest_event."""
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

    def _stream_status(self, id_: int, stream: StreamLike) -> dict[str, Any]:
        placement = self._placements[id_]
        newest = self._newest(stream, PUMP_KINDS)
        offset_s = None
        if newest is not None:
            if isinstance(placement.clock, PumpClock):
                offset_s = placement.clock.piece(newest[0]).offset_s
            else:
                offset_s = self.zones.offset_of(newest[1])
        clock = self._clocks.get(id_)
        return {
            "clock_offset_minutes": None if offset_s is None else offset_s // 60,
            "clock_basis": "zone_rules" if clock is None else clock.basis,
            "worn": bool(placement.worn) and placement.worn[-1].end is None,
            "newest_event": None if newest is None else placement.at(*newest),
        }

    # --- reading the log --------------------------------------------------------------------------------------------

    def _refresh(self) -> None:
        end = (self.log.log_id, self.log.end)
        if end == self._seen:
            return
        log_id, before = self._seen
        fresh = log_id != end[0] or end[1] < before
        if fresh:
            self._clocks, self._covered, self._marks = {}, {}, {}
        streams = {stream.id: stream for stream in self.log.streams()}
        touched = set() if fresh else self._touched(before, end[1])
        clocks_before = {id_: clock.clock for id_, clock in self._clocks.items()}
        self._streams = streams
        self._read_clocks(touched)
        moved = {id_ for id_, clock in self._clocks.items() if clocks_before.get(id_) != clock.clock}
        self._forget_marks(moved, touched)
        self._covered = {
            id_: kept
            for id_, kept in self._covered.items()
            if id_ in streams and not moved and not self._recovers(id_, touched)
        }
        placements = {}
        for id_, stream in streams.items():
            clock: PumpClock | ZoneClock = (
                self._clocks[id_].clock if id_ in self._clocks else ZoneClock(zones=self.zones)
            )
            covered = () if stream.numbered else self._covered_of(stream)
            placements[id_] = StreamTimeline(clock=clock, covered=covered, horizon=self._horizon(stream.pump))
        self._asked = set()
        worn = self._worn(placements)
        self._marks = {name: marks for name, marks in self._marks.items() if name in self._asked}
        self._placements = {id_: attrs.evolve(placement, worn=worn[id_]) for id_, placement in placements.items()}
        self._seen = end

    def _touched(self, after: int, end: int) -> set[tuple[int, int, str]]:
        found: set[tuple[int, int, str]] = set()
        while after < end:
            rows = list(self.log.touched(after, end))
            if not rows:
                break
            found.update((stream_id, key, kind) for _, stream_id, key, kind in rows)
            after = rows[-1][0]
        return found

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
            anchored = self.log.facts("clock.anchored", pump=pump, limit=FACTS)
            uploads = self._uploads(pump)
            groups = [stream for stream in numbered if stream.pump == pump]
            active = max(groups, key=self._position) if len(groups) > 1 else groups[0]
            for stream in groups:
                facts = [fact for fact in anchored if fact.group == stream.group]
                self._clocks[stream.id].choose(facts, uploads if stream is active else ())

    def _uploads(self, pump: str) -> Sequence[Event]:
        """Evidence, newest first. Where a record of it is harmed there is none: what was chosen stands without it."""
        try:
            return self.log.facts("upload.seen", pump=pump, limit=UPLOADS)
        except LogCorrupt as error:
            log.warning('uploads_not_read pump=%s reason="%s"', pump, error.message)
            return ()

    def _position(self, stream: StreamLike) -> int:
        newest = self.log.newest(stream.id)
        return 0 if newest is None else newest.pos

    def _newest(self, stream: StreamLike, kinds: frozenset[str] | None = None) -> tuple[int, datetime] | None:
        return self.log.neighbour(stream.id, stream.last_key + 1, kinds, before=True)

    def _horizon(self, pump: str) -> tuple[Span, ...]:
        opened = self.log.facts("history.opened", pump=pump, limit=FACTS)
        spans = []
        for fact in opened:
            last_day = fact.body.last_day
            end = None if last_day is None else self.zones.day_start(date.fromisoformat(last_day) + timedelta(days=1))
            spans.append(Span(begin=self.zones.day_start(date.fromisoformat(fact.body.first_day)), end=end))
        return union(spans) or ALWAYS

    # --- numbered beats unnumbered ----------------------------------------------------------------------------------

    def _covered_of(self, stream: StreamLike) -> tuple[Span, ...]:
        kept = self._covered.get(stream.id)
        shape = (stream.first_key, stream.last_key)
        if kept is not None and kept[0] == shape:
            return kept[1]
        own = self._order(stream)
        # a stream that tells nothing that a numbered one could tell better (settings) is never covered
        bounds = None if own.bounds(shape, COVERING) is None else own.bounds(shape)
        spans: list[Span] = []
        for other in self._streams.values() if bounds is not None else ():
            if bounds is not None and other.numbered and other.pump == stream.pump:
                spans += _covering(self._order(other), *bounds)
        self._covered[stream.id] = (shape, union(spans))
        return self._covered[stream.id][1]

    def _recovers(self, id_: int, touched: set[tuple[int, int, str]]) -> bool:
        """Whether new events of a numbered stream may cover more of this one: not when they are all later than it."""
        stream = self._streams[id_]
        shape = (stream.first_key, stream.last_key)
        own = self._order(stream)
        bounds = None if own.bounds(shape, COVERING) is None else own.bounds(shape)
        for other in self._streams.values():
            if other.numbered and other.pump == stream.pump and bounds is not None:
                keys = [key for stream_id, key, _ in touched if stream_id == other.id]
                order = self._order(other)
                for first, last in order.keys_between(bounds[0] - HOLE, bounds[1] + HOLE) if keys else ():
                    if any(first <= key <= last for key in keys):
                        return True
        return False

    def _order(self, stream: StreamLike) -> TimeIndex:
        clock = self._clocks[stream.id].clock if stream.id in self._clocks else ZoneClock(zones=self.zones)
        return TimeIndex.of(self.log, stream, clock)

    # --- which pump is worn -----------------------------------------------------------------------------------------

    def _worn(self, placements: Mapping[int, StreamTimeline]) -> dict[int, tuple[Span, ...]]:
        streams = sorted(
            self._streams.values(), key=lambda each: (each.pump, each.numbered, each.group or 0, each.source)
        )
        if len(streams) == 1:
            return {streams[0].id: ALWAYS}
        ranges = {stream.id: self._ranges(stream, placements[stream.id].covered) for stream in streams}
        worn = worn_spans(ranges)
        for stream in streams:
            if self._tells_settings_only(stream):
                others = [other for other in streams if other.pump == stream.pump and other.id != stream.id]
                worn[stream.id] = union([span for other in others for span in worn[other.id]])
        return worn

    def _tells_settings_only(self, stream: StreamLike) -> bool:
        """Whether nothing in it shows that the pump is worn or delivers: it then goes with the pump's other streams."""
        return not stream.numbered and self._order(stream).bounds((stream.first_key, stream.last_key), COVERING) is None

    def _ranges(self, stream: StreamLike, covered: tuple[Span, ...]) -> list[MarkRange]:
        order = self._order(stream)
        if covered:
            return self._uncovered_ranges(order, covered)
        ranges = []
        for stretch in order.stretches:
            bounds = order.bounds(stretch, WEAR_MARKS)
            if bounds is not None:
                part = attrs.evolve(order, stretches=(stretch,))
                ranges.append(self._range(part, *bounds))
        return ranges

    def _range(self, order: TimeIndex, first: datetime, last: datetime) -> MarkRange:
        def between(begin: datetime, end: datetime) -> Iterable[datetime]:
            name = (order.stream.id, begin, end)
            self._asked.add(name)
            if name not in self._marks:
                self._marks[name] = order.between(begin, end, WEAR_MARKS)
            return self._marks[name]

        return MarkRange(first=first, last=last, between=between, after=lambda at: order.after(at, WEAR_MARKS))

    def _uncovered_ranges(self, order: TimeIndex, covered: tuple[Span, ...]) -> list[MarkRange]:
        """Runs of marks that no numbered stream tells better. Such a stream is old and short: its marks are all read."""
        runs: list[list[datetime]] = []
        hidden = True
        marks = order.between(*bounds, WEAR_MARKS) if (bounds := order.bounds(order.stretches[0], WEAR_MARKS)) else []
        for at in marks:
            if any_holds(covered, at):
                hidden = True
                continue
            if hidden or not runs:
                runs.append([])
            hidden = False
            runs[-1].append(at)
        return [_listed(run) for run in runs]

    def _forget_marks(self, moved: set[int], touched: set[tuple[int, int, str]]) -> None:
        """Drop remembered marks where new ones came, or a clock moved."""
        dirty = set(moved)
        marked = {(stream_id, key) for stream_id, key, kind in touched if kind in WEAR_MARKS or kind == "unknown"}
        for stream_id, begin, end in list(self._marks):
            stream = self._streams.get(stream_id)
            if stream is None or stream_id in dirty:
                del self._marks[stream_id, begin, end]
                continue
            keys = [key for marked_id, key in marked if marked_id == stream_id]
            if keys and any(
                first <= key <= last for first, last in self._order(stream).keys_between(begin, end) for key in keys
            ):
                del self._marks[stream_id, begin, end]

    def _drift(self, stream: StreamLike, clock: StreamClock) -> list[str]:
        placement, newest = self._placements[stream.id], self._newest(stream)
        at = None if newest is None else placement.at(*newest)
        if newest is None or at is None or not placement.worn or placement.worn[-1].end is not None:
            return []
        piece = clock.clock.piece(newest[0])
        begun = self.log.neighbour(stream.id, piece.from_key - 1, before=False) if piece.from_key else None
        message = drift_message(
            stream.pump,
            offset_s=piece.offset_s or 0,
            zones=self.zones,
            newest=at,
            since=None if begun is None else placement.at(*begun),
        )
        return [] if message is None else [message]


def _covering(order: TimeIndex, begin: datetime, end: datetime) -> list[Span]:
    """Where a numbered stream has events without a hole, within about begin to end."""
    spans: list[Span] = []
    first = order.after(begin - HOLE, COVERING)
    while first is not None and first <= end + HOLE:
        last = first
        while last <= end:
            further = order.last_before(last + HOLE, COVERING)
            if further is None or further <= last:
                break
            last = further
        spans.append(
            Span(begin=first, end=min(last, end) + timedelta(seconds=1))
            if first <= end
            else Span(begin=first, end=first)
        )
        first = order.after(last, COVERING)
    return [span for span in spans if span.begin != span.end]


def _listed(run: Sequence[datetime]) -> MarkRange:
    return MarkRange(
        first=run[0],
        last=run[-1],
        between=lambda begin, end: [at for at in run if begin <= at <= end],
        after=lambda at: next((mark for mark in run if mark > at), None),
    )


def _later(this: datetime | None, that: datetime | None) -> bool:
    return this is not None and (that is None or this > that)
