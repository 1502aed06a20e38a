"""Converts a pump's wall clock to UTC.

A pump's clock has no zone and does not follow daylight saving. Its offset (wall clock minus UTC) is constant until the wearer
sets the clock, and the pump logs that (records 14 and 13). So one known offset, the anchor, gives all others. If the clock went
back without a record (a reset), a new component begins, which needs another anchor.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs
import msgspec

from tconnectsync.text.durations import exact_span_words
from tconnectsync.timeline.clock_settings import ClockSetting, Step, steps_of
from tconnectsync.timeline.utc_offsets import LONGEST_DRIFT_S, REAL_OFFSETS_S, ZoneOffsets, offset_across_step_s
from tconnectsync.timeline.zones import UTC, Zones

MIN_JUMP = timedelta(hours=3)
EARLY = timedelta(hours=48)
"""How long before a daylight-saving change the wearer may already set the clock for it."""
_WALL_START = datetime(2008, 1, 1)


class ClockPiece(msgspec.Struct, frozen=True, kw_only=True):
    """From ``from_key`` on, the wall clock is ``offset_s`` seconds ahead of UTC (None: unknown)."""

    from_key: int
    offset_s: int | None


@attrs.frozen(kw_only=True)
class PumpClock:
    """A numbered stream's clock. ``pieces`` are in key order; the first one holds for all earlier keys too."""

    pieces: tuple[ClockPiece, ...]
    _from_keys: tuple[int, ...] = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(lambda self: _keys(self.pieces), takes_self=True)
    )
    _utc_starts: tuple[datetime | None, ...] = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(lambda self: _utc_starts(self.pieces), takes_self=True)
    )

    def piece(self, key: int) -> ClockPiece:
        return self.pieces[self._index(key)]

    def _index(self, key: int) -> int:
        return bisect_right(self._from_keys, key, 1) - 1  # the first piece holds for all earlier keys too

    def utc(self, key: int, pump_time: datetime) -> datetime | None:
        """Return the UTC time of an event; None if it is unknown."""
        start = self._utc_starts[self._index(key)]
        return None if start is None else start + (pump_time - _WALL_START)


class ZoneClock(msgspec.Struct, frozen=True, kw_only=True):
    """The clock of a source without clock records: the zone's rules give the offset.

    In the repeated hour at the end of daylight saving, the first run is assumed: rows without numbers do not tell the order.
    """

    zones: Zones

    def utc(self, key: int, pump_time: datetime) -> datetime | None:  # noqa: ARG002 - a protocol
        """Return the UTC time of an event."""
        return self.zones.utc_of(pump_time)


class ClockJump(msgspec.Struct, frozen=True, kw_only=True):
    """The clock went back by over three hours without a record, between two events that follow each other."""

    key: int
    before: datetime
    after: datetime


class Component(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a stream in which every clock change has a record (``steps``). It begins with an unrecorded ``jump``, or None.

    ``zone_offsets``: offsets of the configured zones before the first step and after each step; empty if no zone is known.
    """

    from_key: int
    jump: ClockJump | None
    steps: tuple[Step, ...]
    zone_offsets: tuple[ZoneOffsets, ...] = ()

    def at_home(self, zones: Zones, first_wall: datetime | None) -> Component:
        """Return the component with the offsets of ``zones``; ``first_wall`` is the wall time of its first event."""
        if not self.steps:
            return self
        before = self.steps[0].wall_before if first_wall is None else first_wall
        offsets = [(before, zones.offset_of(before))]
        offsets += [(step.wall, zone_offset_after(self.steps, i, zones)) for i, step in enumerate(self.steps)]
        zone_offsets = tuple(
            ZoneOffsets(
                offset_s=offset_s, others_s=tuple(o for o in zones.all_offsets_near(wall.date()) if o != offset_s)
            )
            for wall, offset_s in offsets
        )
        return msgspec.structs.replace(self, zone_offsets=zone_offsets)

    def offsets(self, at_key: int, offset_s: int) -> tuple[int, ...]:
        """Return the offsets before the first step and after each step, if it is ``offset_s`` at ``at_key``."""
        known = sum(1 for step in self.steps if step.key <= at_key)
        offsets = {known: offset_s}
        for i in range(known, len(self.steps)):
            offsets[i + 1] = self._offset_across(offsets[i], i, before=False)
        for i in range(known, 0, -1):
            offsets[i - 1] = self._offset_across(offsets[i], i - 1, before=True)
        return tuple(offsets[i] for i in range(len(self.steps) + 1))

    def _offset_across(self, known_s: int, index: int, *, before: bool) -> int:
        """Return the offset on one side of a step, if it is ``known_s`` on the other side."""
        exact_s = self.steps[index].exact_s
        if before and index == 0 and self.jump is not None:
            return known_s - round(exact_s)  # right after a reset the clock shows no zone's time
        zone: ZoneOffsets | None = None
        zone_moved = False
        if self.zone_offsets:
            earlier, later = self.zone_offsets[index], self.zone_offsets[index + 1]
            zone, zone_moved = (earlier if before else later), earlier.offset_s != later.offset_s
        moved_s = -exact_s if before else exact_s
        return offset_across_step_s(known_s, moved_s, zone, zone_moved=zone_moved, before=before)

    def pieces(self, anchor: tuple[int, int] | None) -> tuple[ClockPiece, ...]:
        """Return the pieces for an anchor (key, offset in seconds); without one, a single piece with an unknown offset."""
        if anchor is None:
            return (ClockPiece(from_key=self.from_key, offset_s=None),)
        offsets = self.offsets(*anchor)
        pieces = [ClockPiece(from_key=self.from_key, offset_s=offsets[0])]
        for i, step in enumerate(self.steps):
            if step.first_s is not None:
                pieces.append(ClockPiece(from_key=step.key, offset_s=offsets[i] + step.first_s))
            pieces.append(ClockPiece(from_key=step.done_key, offset_s=offsets[i + 1]))
        return tuple(pieces)


def zone_offset_after(steps: Sequence[Step], index: int, zones: Zones) -> int:
    """Return the zone's offset right after a setting, or the next one if the clock was set for a change within two days.

    In the repeated hour it is the second run if the clock was set back before.
    """
    step = steps[index]
    recent = [each for each in steps[: index + 1] if abs(step.wall - each.wall) <= EARLY]
    repeated = [each for each in recent if abs(step.wall - each.wall) <= MIN_JUMP]
    now_s = zones.offset_of(step.wall, fold=1 if any(each.exact_s < -LONGEST_DRIFT_S for each in repeated) else 0)
    soon = step.wall + EARLY
    change_s = zones.offset_of(soon) - now_s
    if change_s and zones.name_at(step.wall.date()) == zones.name_at(soon.date()):
        followed = sum(_explains(change_s, each.exact_s) - _explains(-change_s, each.exact_s) for each in recent)
        return now_s + change_s if followed > 0 else now_s
    return now_s


def _explains(change_s: int, exact_s: float) -> bool:
    """Whether this change of a zone's offset explains a step better than drift does."""
    return abs(exact_s - change_s) <= LONGEST_DRIFT_S and abs(exact_s - change_s) < abs(exact_s)


def hidden_jump(step: Step, previous: tuple[int, datetime] | None) -> ClockJump | None:
    """Return the jump before a setting if the clock was reset and set again with no other event in between, else None.

    ``previous``: the event (key, wall time) right before the step.
    """
    if previous is None or previous[1] - step.wall_before <= MIN_JUMP:
        return None
    return ClockJump(key=step.key, before=previous[1], after=step.wall_before)


def components_of(sets: Sequence[ClockSetting], jumps: Sequence[ClockJump]) -> tuple[Component, ...]:
    """Return the components of a stream: it is cut where the clock went back without a record."""
    recorded = {each.key: each.step_s for each in sets}
    steps = steps_of(sets)
    unexplained = [
        jump for jump in sorted(jumps, key=lambda jump: jump.key) if not _is_explained(jump, recorded, steps)
    ]
    bounds: list[tuple[int, ClockJump | None]] = [(0, None), *((jump.key, jump) for jump in unexplained)]
    ends = [from_key for from_key, _ in bounds[1:]]
    components = []
    for (from_key, jump), end in zip(bounds, [*ends, None], strict=True):
        inside = tuple(step for step in steps if step.key >= from_key and (end is None or step.key < end))
        components.append(Component(from_key=from_key, jump=jump, steps=inside))
    return tuple(components)


def clock_of(components: Sequence[Component], anchors: Sequence[tuple[int, int] | None]) -> PumpClock:
    """Return the clock for one anchor (key, offset in seconds) per component. A setting without a change begins no piece."""
    pieces: list[ClockPiece] = []
    for component, anchor in zip(components, anchors, strict=True):
        for piece in component.pieces(anchor):
            if piece.from_key == component.from_key or pieces[-1].offset_s != piece.offset_s:
                pieces.append(piece)
    return PumpClock(pieces=tuple(pieces))


def drift_message(
    pump: str, *, offset_s: int, zones: Zones, newest: datetime, since: datetime | None = None
) -> str | None:
    """Return a message if the pump's clock differs from its zone at the UTC time ``newest`` of its newest event, else None.

    ``since``: when the pump's clock got this offset (UTC); None: unknown.
    """
    difference_s = offset_s - zones.offset_at(newest)
    if abs(difference_s) < 60:
        return None
    began = _drift_start(newest, difference_s, offset_s, zones, since)
    day = (began + timedelta(seconds=offset_s)).date()
    when = f"{day.day} {_MONTHS[day.month - 1]}" + (f" {day.year}" if day.year != newest.year else "")
    side = "ahead" if difference_s > 0 else "behind"
    looks = f"The clock of pump {pump} seems to have been {exact_span_words(abs(difference_s))} {side} since {when}."
    advice = f"{looks} Times in the documents are corrected for it. Set the pump's clock when it suits you."
    if offset_s not in REAL_OFFSETS_S:  # no zone has this offset
        return advice
    return f"{advice} If the pump is right, correct `timezone` or add a `[[zones]]` entry for the move."


def _drift_start(newest: datetime, difference_s: int, offset_s: int, zones: Zones, since: datetime | None) -> datetime:
    """Return to the minute when this difference began; at most a year before ``newest``, as daylight saving repeats."""
    began = newest
    for _ in range(366):
        earlier = began - timedelta(days=1)
        if since is not None and earlier <= since:
            return since
        if offset_s - zones.offset_at(earlier) != difference_s:
            while began - earlier > timedelta(minutes=1):
                middle = earlier + (began - earlier) / 2
                if offset_s - zones.offset_at(middle) == difference_s:
                    began = middle
                else:
                    earlier = middle
            return began
        began = earlier
    return since or began


_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _keys(pieces: Sequence[ClockPiece]) -> tuple[int, ...]:
    return tuple(piece.from_key for piece in pieces)


def _utc_starts(pieces: Sequence[ClockPiece]) -> tuple[datetime | None, ...]:
    """Return the UTC time at which each piece's wall clock shows ``_WALL_START``: with it, a time needs no new time zone."""
    offsets = [None if piece.offset_s is None else timedelta(seconds=piece.offset_s) for piece in pieces]
    return tuple(None if offset is None else _WALL_START.replace(tzinfo=UTC) - offset for offset in offsets)


def _is_explained(jump: ClockJump, recorded: dict[int, float], steps: Sequence[Step]) -> bool:
    step_s = recorded.get(jump.key)
    if step_s is not None and jump.after - jump.before >= timedelta(seconds=step_s) - MIN_JUMP:
        return True
    return any(step.key < jump.key <= step.done_key for step in steps)
