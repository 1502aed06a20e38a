"""When the events of one stream happened, when its pump is the active one, and which periods are delivered."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from tconnectsync.eventlog import EventLog, Stream
from tconnectsync.timeline import wear
from tconnectsync.timeline.pump_clock import ClockPiece, PumpClock, ZoneClock
from tconnectsync.timeline.spans import Span, any_contains, difference
from tconnectsync.timeline.time_index import KeyRange, TimeIndex
from tconnectsync.timeline.zones import Zones

ALWAYS = (Span(),)


@attrs.frozen(kw_only=True)
class StreamTimeline:
    """Where a stream's events lie. A comparable value, that :func:`placement_to_json` keeps.

    ``worn``: when the pump is the worn one. ``covered``: where a numbered stream of the same pump has events, so that these
    ones are not read. ``horizon``: the times of which documents are wanted.
    """

    clock: PumpClock | ZoneClock
    active: tuple[Span, ...] = ALWAYS
    superseded: tuple[Span, ...] = ()
    delivery_windows: tuple[Span, ...] = ALWAYS

    def at(self, key: int, pump_time: datetime) -> datetime | None:
        """The UTC time of an event; None while nobody can know it: its documents wait."""
        return self.clock.utc(key, pump_time)

    def in_delivery_window(self, at: datetime) -> bool:
        """Whether documents of this UTC time are delivered."""
        return any_contains(self.delivery_windows, at)

    def is_superseded(self, at: datetime) -> bool:
        """Whether a numbered stream of the pump has better events of this UTC time."""
        return bool(self.superseded) and any_contains(self.superseded, at)

    def wear_changes(self) -> tuple[tuple[datetime, str], ...]:
        """Hand-overs: (UTC, "wear.began" or "wear.ended"); a stream that is not active from its beginning starts with an end in 1970."""
        return wear.wear_changes(self.active)

    def hand_overs(self, log: EventLog, stream: Stream) -> tuple[tuple[int, datetime, str], ...]:
        """Where :meth:`wear_changes` lie in the stream's order: (key of the first event not before it, UTC, kind).

        One that no event follows stands at the last key. Found through the index, whatever the stream's age.
        """
        order = TimeIndex.of(log, stream, self.clock)
        found = []
        for near in _group_by_day(self.wear_changes()):
            keys = order.first_keys([at for at, _ in near])
            found += [
                (stream.last_key if key is None else key, at, kind) for key, (at, kind) in zip(keys, near, strict=True)
            ]
        return tuple(found)

    def changed_keys(self, old: StreamTimeline | None, log: EventLog, stream: Stream) -> list[KeyRange]:
        """Key ranges, both inclusive and disjoint, whose events have another time or count in another way than under ``old``.

        Too many rather than too few, but never old keys because of new events at the end.
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


def timeline_to_json(placement: StreamTimeline) -> str:
    """One line of text; equal placements have equal texts."""
    clock = placement.clock
    content: dict[str, Any] = {
        name: [span.to_json() for span in spans]
        for name, spans in (
            ("worn", placement.active),
            ("covered", placement.superseded),
            ("horizon", placement.delivery_windows),
        )
    }
    if isinstance(clock, PumpClock):
        content["pieces"] = [[piece.from_key, piece.offset_s] for piece in clock.pieces]
    else:
        content["zones"] = clock.zones.to_json()
    return json.dumps(content, separators=(",", ":"), sort_keys=True)


def timeline_from_json(text: str) -> StreamTimeline:
    """The inverse of :func:`placement_to_json`."""
    content = json.loads(text)
    worn, covered, horizon = (
        tuple(Span.from_json(pair) for pair in content[name]) for name in ("worn", "covered", "horizon")
    )
    clock: PumpClock | ZoneClock
    if "pieces" in content:
        clock = PumpClock(
            pieces=tuple(ClockPiece(from_key=key, offset_s=offset_s) for key, offset_s in content["pieces"])
        )
    else:
        clock = ZoneClock(zones=Zones.from_json(content["zones"]))
    return StreamTimeline(clock=clock, active=worn, superseded=covered, delivery_windows=horizon)


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
    """Changes that follow each other within a day, which are looked up in one go."""
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
