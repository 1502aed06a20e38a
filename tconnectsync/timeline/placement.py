"""How one stream of the log is to be read: its place in time, when its pump is worn, what is wanted of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import attrs

from tconnectsync.timeline import wear
from tconnectsync.timeline.pump_clock import ClockSegment, PumpClock, ZoneClock
from tconnectsync.timeline.spans import Span, any_holds, difference
from tconnectsync.timeline.time_index import PlacedLog, StreamLike, Stretch, TimeIndex
from tconnectsync.timeline.zones import Zones

ALWAYS = (Span(),)


class StreamInLog(Protocol):
    """A stream, and the log that it lies in (see :class:`tconnectsync.timeline.time_index.PlacedLog`)."""

    @property
    def stream(self) -> StreamLike: ...
    @property
    def events(self) -> PlacedLog: ...


@attrs.frozen(kw_only=True)
class StreamTimeline:
    """Where a stream's events lie. A comparable value, that :func:`placement_to_json` keeps.

    ``worn``: when the pump is the worn one. ``covered``: where a numbered stream of the same pump has events, so that these
    ones are not read. ``horizon``: the times of which documents are wanted.
    """

    clock: PumpClock | ZoneClock
    worn: tuple[Span, ...] = ALWAYS
    covered: tuple[Span, ...] = ()
    horizon: tuple[Span, ...] = ALWAYS

    def at(self, key: int, pump_time: datetime) -> datetime | None:
        """The UTC time of an event, None while nobody can know it: its documents wait."""
        return self.clock.utc(key, pump_time)

    def wanted(self, at: datetime) -> bool:
        """Whether documents of this UTC time are wanted (the edge of history)."""
        return any_holds(self.horizon, at)

    def ignored(self, at: datetime) -> bool:
        """Whether a numbered stream of the pump tells this UTC time better."""
        return bool(self.covered) and any_holds(self.covered, at)

    def wear_changes(self) -> tuple[tuple[datetime, str], ...]:
        """Hand-overs: (UTC, "wear.began" or "wear.ended"); a stream not worn from its beginning starts with an end in 1970."""
        return wear.wear_changes(self.worn)

    def hand_overs(self, view: StreamInLog) -> tuple[tuple[int, datetime, str], ...]:
        """Where :meth:`wear_changes` lie in the stream's order: (key of the first event not before it, UTC, kind).

        One that no event follows stands at the last key. Found through the index, whatever the stream's age.
        """
        order = TimeIndex.of(view.events, view.stream, self.clock)
        found = []
        for near in _neighbours(self.wear_changes()):
            keys = order.first_keys([at for at, _ in near])
            found += [
                (view.stream.last_key if key is None else key, at, kind)
                for key, (at, kind) in zip(keys, near, strict=True)
            ]
        return tuple(found)

    def changed_keys(self, old: StreamTimeline | None, view: StreamInLog) -> list[Stretch]:
        """Key ranges, both inclusive and disjoint, whose events lie elsewhere or count otherwise than under ``old``.

        Rather too many than too few, but never old keys because of something new at the end.
        """
        stream = view.stream
        whole = (stream.first_key, stream.last_key)
        if old is None:
            return [whole]
        if self == old:
            return []
        changed = _moved(old.clock, self.clock, whole)
        order = TimeIndex.of(view.events, stream, self.clock)
        for before, after in ((old.worn, self.worn), (old.covered, self.covered), (old.horizon, self.horizon)):
            for span in difference(before, after):
                changed += order.keys_between(span.begin, span.end)
        return _joined(changed)


def placement_to_json(placement: StreamTimeline) -> str:
    """One line of text; equal placements have equal texts."""
    clock = placement.clock
    content: dict[str, Any] = {
        name: [span.to_json() for span in spans]
        for name, spans in (("worn", placement.worn), ("covered", placement.covered), ("horizon", placement.horizon))
    }
    if isinstance(clock, PumpClock):
        content["pieces"] = [[piece.from_key, piece.offset_s] for piece in clock.pieces]
    else:
        content["zones"] = clock.zones.to_json()
    return json.dumps(content, separators=(",", ":"), sort_keys=True)


def placement_from_json(text: str) -> StreamTimeline:
    """The inverse of :func:`placement_to_json`."""
    content = json.loads(text)
    worn, covered, horizon = (
        tuple(Span.from_json(pair) for pair in content[name]) for name in ("worn", "covered", "horizon")
    )
    clock: PumpClock | ZoneClock
    if "pieces" in content:
        clock = PumpClock(
            pieces=tuple(ClockSegment(from_key=key, offset_s=offset_s) for key, offset_s in content["pieces"])
        )
    else:
        clock = ZoneClock(zones=Zones.from_json(content["zones"]))
    return StreamTimeline(clock=clock, worn=worn, covered=covered, horizon=horizon)


def _moved(old: PumpClock | ZoneClock, new: PumpClock | ZoneClock, whole: Stretch) -> list[Stretch]:
    if not isinstance(old, PumpClock) or not isinstance(new, PumpClock):
        return [] if old == new else [whole]
    bounds = sorted({whole[0], *(piece.from_key for piece in (*old.pieces, *new.pieces) if piece.from_key > whole[0])})
    return [
        (first, min(after - 1, whole[1]))
        for first, after in zip(bounds, [*bounds[1:], whole[1] + 1], strict=True)
        if first <= whole[1] and old.piece(first).offset_s != new.piece(first).offset_s
    ]


def _neighbours(changes: Sequence[tuple[datetime, str]]) -> list[list[tuple[datetime, str]]]:
    """Changes that follow each other within a day, which are looked up in one go."""
    groups: list[list[tuple[datetime, str]]] = []
    for change in changes:
        if groups and change[0] - groups[-1][-1][0] <= timedelta(days=1):
            groups[-1].append(change)
        else:
            groups.append([change])
    return groups


def _joined(ranges: Sequence[Stretch]) -> list[Stretch]:
    joined: list[Stretch] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined
