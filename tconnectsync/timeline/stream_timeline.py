"""The timeline of one stream: UTC times of its events, when its pump is active, and which periods are delivered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.timeline.pump_clock import ClockPiece, PumpClock, ZoneClock
from tconnectsync.timeline.spans import Span, any_contains, difference, intersection
from tconnectsync.timeline.time_index import KeyRange, TimeIndex
from tconnectsync.timeline.wear import wear_changes
from tconnectsync.timeline.zones import Zones

ALWAYS = (Span(),)


class StreamTimeline(msgspec.Struct, frozen=True, kw_only=True):
    """The timeline of a stream, as a comparable value that :func:`timeline_to_json` can store.

    ``active``: when the pump is the active one. ``superseded``: when a numbered stream of the same pump has better events, so
    that the events of this stream are skipped. ``delivery_windows``: the times whose documents are delivered.
    """

    clock: PumpClock | ZoneClock
    active: tuple[Span, ...] = ALWAYS
    superseded: tuple[Span, ...] = ()
    delivery_windows: tuple[Span, ...] = ALWAYS

    def at(self, key: int, pump_time: datetime) -> datetime | None:
        """Return the UTC time of an event; None if it is unknown, and then its documents wait."""
        return self.clock.utc(key, pump_time)

    def in_delivery_window(self, at: datetime) -> bool:
        """Whether documents of this UTC time are delivered."""
        return any_contains(self.delivery_windows, at)

    def is_superseded(self, at: datetime) -> bool:
        """Whether a numbered stream of the pump has better events of this UTC time."""
        return bool(self.superseded) and any_contains(self.superseded, at)

    def hand_overs(self, log: EventLog, stream: Stream) -> tuple[tuple[int, datetime, str], ...]:
        """Return the :func:`wear_changes` with their place in the stream: (key of the first event not before it, UTC, kind).

        For a fold, the pump is not worn before a delivery window, so that what goes on at its edge begins there and is delivered.
        After the last window nothing changes. A change after the last event gets the last key. Uses only the index.
        """
        order = TimeIndex.of(log, stream, self.clock)
        *earlier, last = self.delivery_windows or ALWAYS
        shown = intersection(self.active, (*earlier, Span(begin=last.begin)))
        found = []
        for near in _group_by_day(wear_changes(shown)):
            keys = order.first_keys([at for at, _ in near])
            found += [
                (stream.last_key if key is None else key, at, kind) for key, (at, kind) in zip(keys, near, strict=True)
            ]
        return tuple(found)

    def changed_keys(self, old: StreamTimeline | None, log: EventLog, stream: Stream) -> list[KeyRange]:
        """Return disjoint key ranges, both ends inclusive, of events that ``old`` treats otherwise (None: all events).

        They may contain some events too many, but new events at the end never add old keys.
        """
        whole = (stream.first_key, stream.last_key)
        if old is None:
            return [whole]
        if self == old:
            return []
        changed = _keys_with_new_offset(old.clock, self.clock, whole)
        order = TimeIndex.of(log, stream, self.clock)
        for before, after in (
            (old.active, self.active),
            (old.superseded, self.superseded),
            (old.delivery_windows, self.delivery_windows),
        ):
            for span in difference(before, after):
                changed += order.keys_between(span.begin, span.end)
        return _merge(changed)


def timeline_to_json(timeline: StreamTimeline) -> str:
    """Return one line of text. Equal timelines have equal texts."""
    clock = timeline.clock
    content: dict[str, Any] = {
        name: [span.to_json() for span in spans]
        for name, spans in (
            ("worn", timeline.active),
            ("covered", timeline.superseded),
            ("horizon", timeline.delivery_windows),
        )
    }
    if isinstance(clock, PumpClock):
        content["pieces"] = [[piece.from_key, piece.offset_s] for piece in clock.pieces]
    else:
        content["zones"] = clock.zones.to_json()
    return json.dumps(content, separators=(",", ":"), sort_keys=True)


def timeline_from_json(text: str) -> StreamTimeline:
    """Return the timeline of :func:`timeline_to_json`."""
    content = json.loads(text)
    active, superseded, delivery_windows = (
        tuple(Span.from_json(pair) for pair in content[name]) for name in ("worn", "covered", "horizon")
    )
    clock: PumpClock | ZoneClock
    if "pieces" in content:
        clock = PumpClock(
            pieces=tuple(ClockPiece(from_key=key, offset_s=offset_s) for key, offset_s in content["pieces"])
        )
    else:
        clock = ZoneClock(zones=Zones.from_json(content["zones"]))
    return StreamTimeline(clock=clock, active=active, superseded=superseded, delivery_windows=delivery_windows)


def _keys_with_new_offset(old: PumpClock | ZoneClock, new: PumpClock | ZoneClock, whole: KeyRange) -> list[KeyRange]:
    if not isinstance(old, PumpClock) or not isinstance(new, PumpClock):
        return [] if old == new else [whole]
    bounds = sorted({whole[0], *(piece.from_key for piece in (*old.pieces, *new.pieces) if piece.from_key > whole[0])})
    return [
        (first, min(after - 1, whole[1]))
        for first, after in zip(bounds, [*bounds[1:], whole[1] + 1], strict=True)
        if first <= whole[1] and old.piece(first).offset_s != new.piece(first).offset_s
    ]


def _group_by_day(changes: Sequence[tuple[datetime, str]]) -> list[list[tuple[datetime, str]]]:
    """Group changes that follow each other within a day: each group is looked up together."""
    groups: list[list[tuple[datetime, str]]] = []
    for change in changes:
        if groups and change[0] - groups[-1][-1][0] <= timedelta(days=1):
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _merge(ranges: Sequence[KeyRange]) -> list[KeyRange]:
    joined: list[KeyRange] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
