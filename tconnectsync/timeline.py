"""A pump's wall clock in UTC: constant pieces between clock changes, tied together by what the changes say.

A pump's clock has no zone and does not follow daylight saving. Its offset (wall clock minus UTC) is constant until the wearer
sets the clock, and the pump logs that (records 14 and 13). So one known offset gives all others, as far as the records reach;
where the clock fell back without a record (a reset), a new component begins that needs an anchor of its own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import attrs

from tconnectsync.events import Event
from tconnectsync.wallclock import UTC, Zones

__all__ = [
    "UTC",
    "Clock",
    "ClockSet",
    "Component",
    "Jump",
    "Piece",
    "Step",
    "ZoneClock",
    "Zones",
    "clock_of",
    "clock_sets",
    "components_of",
    "drift_message",
    "hidden_jump",
    "steps_of",
]

QUARTER_S = 900
DAY_S = 86400
DRIFT_S = 60
"""More than a pump's clock usually drifts between two settings: beyond this, what is left of a long step was not drift."""
ZONE_STEP_S = 26 * 3600
"""The longest way between two zones. A longer step put a wrong date right, or wrong."""
PAIR_S = 60
PAIR_KEYS = 64
JUMP = timedelta(hours=3)
RTC_WRAP_MS = 1 << 32


@attrs.frozen(kw_only=True)
class Piece:
    """From the event with order key ``from_key`` on, the wall clock is ``offset_s`` seconds ahead of UTC; None: unknown."""

    from_key: int
    offset_s: int | None


@attrs.frozen(kw_only=True)
class Clock:
    """A numbered stream's clock. ``pieces`` are in key order; the first one reaches back to any earlier key."""

    pieces: tuple[Piece, ...]
    _from_keys: tuple[int, ...] = attrs.field(
        init=False, eq=False, repr=False, default=attrs.Factory(lambda self: _keys(self.pieces), takes_self=True)
    )

    def piece(self, key: int) -> Piece:
        """The piece that an order key lies in."""
        return self.pieces[max(0, bisect_right(self._from_keys, key) - 1)]

    def utc(self, key: int, pump_time: datetime) -> datetime | None:
        """The UTC time of an event, or None while nobody can know it."""
        offset_s = self.piece(key).offset_s
        return None if offset_s is None else (pump_time - timedelta(seconds=offset_s)).replace(tzinfo=UTC)


@attrs.frozen(kw_only=True)
class ZoneClock:
    """The clock of a source without clock records: the zone's own rules, each event by its wall time alone.

    The hour that happens twice is read as its first run: rows without numbers do not tell which one they mean.
    """

    zones: Zones

    def utc(self, key: int, pump_time: datetime) -> datetime | None:  # noqa: ARG002 - the same call as Clock's
        """The UTC time of an event."""
        return self.zones.utc_of(pump_time)


@attrs.frozen(kw_only=True)
class ClockSet:
    """A clock.changed event: ``part`` date (record 14) or time (13), stamped on the clock after this part's change."""

    key: int
    part: str
    pump_time: datetime
    step_s: float
    rtc_ms: int | None = None


@attrs.frozen(kw_only=True)
class Step:
    """The wearer set the clock: at ``key`` it began to change, from ``done_key`` on it is as set.

    ``wall`` is the wall time right after; ``date_s`` the date's part where time and date changed apart (a 14-13 pair).
    """

    key: int
    done_key: int
    wall: datetime
    exact_s: float
    date_s: int | None = None

    @property
    def rounded_s(self) -> int:
        """The step between two zones' clocks: a quarter of an hour is the grain, what is left is drift put right."""
        return round_s(self.exact_s)

    @property
    def wall_before(self) -> datetime:
        """The wall time that the clock showed just before."""
        return self.wall - timedelta(seconds=self.exact_s)


@attrs.frozen(kw_only=True)
class Jump:
    """An event more than three hours before the one that precedes it in the pump's own order."""

    key: int
    before: datetime
    after: datetime


@attrs.frozen(kw_only=True)
class Component:
    """A stretch whose pieces recorded steps tie together; ``jump`` is the unrecorded fall-back that it begins with."""

    from_key: int
    jump: Jump | None
    steps: tuple[Step, ...]

    def offsets(self, at_key: int, offset_s: int) -> tuple[int, ...]:
        """The offset before the first step and after each, when it is ``offset_s`` at ``at_key``."""
        known = sum(1 for step in self.steps if step.key <= at_key)
        offsets = {known: offset_s}
        for i in range(known, len(self.steps)):
            offsets[i + 1] = _onward(offsets[i], self.steps[i])
        for i in range(known, 0, -1):
            arbitrary = self.jump is not None and i == 1
            offsets[i - 1] = offsets[i] - _backward_s(self.steps[i - 1], arbitrary=arbitrary)
        return tuple(offsets[i] for i in range(len(self.steps) + 1))

    def pieces(self, anchor: tuple[int, int] | None) -> tuple[Piece, ...]:
        """The pieces for an anchor (key, offset in seconds); without one, a single piece of unknown time."""
        if anchor is None:
            return (Piece(from_key=self.from_key, offset_s=None),)
        offsets = self.offsets(*anchor)
        pieces = [Piece(from_key=self.from_key, offset_s=offsets[0])]
        for i, step in enumerate(self.steps):
            if step.date_s is not None:
                pieces.append(Piece(from_key=step.key, offset_s=offsets[i] + step.date_s))
            pieces.append(Piece(from_key=step.done_key, offset_s=offsets[i + 1]))
        return tuple(pieces)


def round_s(seconds: float) -> int:
    """To the next quarter of an hour, in seconds."""
    return round(seconds / QUARTER_S) * QUARTER_S


def clock_sets(events: Iterable[Event]) -> tuple[ClockSet, ...]:
    """The clock.changed events of a numbered stream, in key order."""
    sets = [
        ClockSet(
            key=event.seq,
            part=event.body.part,
            pump_time=event.pump_time,
            step_s=event.body.step_s,
            rtc_ms=event.body.rtc_ms,
        )
        for event in events
        if event.kind == "clock.changed" and event.seq is not None
    ]
    return tuple(sorted(sets, key=lambda each: each.key))


def steps_of(sets: Sequence[ClockSet]) -> tuple[Step, ...]:
    """What the wearer did: a 14 and the 13 right behind it are one step, any other record is one of its own."""
    steps: list[Step] = []
    waiting: ClockSet | None = None
    for each in sets:
        if waiting is not None and _is_pair(waiting, each):
            steps[-1] = Step(
                key=waiting.key,
                done_key=each.key,
                wall=each.pump_time,
                exact_s=waiting.step_s + each.step_s,
                date_s=round(waiting.step_s),
            )
            waiting = None
            continue
        steps.append(Step(key=each.key, done_key=each.key, wall=each.pump_time, exact_s=each.step_s))
        waiting = each if each.part == "date" else None
    return tuple(steps)


def hidden_jump(step: Step, previous: tuple[int, datetime] | None) -> Jump | None:
    """The fall-back that a setting hides: the clock was reset and set again before anything else was logged.

    ``previous`` is the event (key, wall time) right before the step: the step must have begun on about its clock.
    """
    if previous is None or previous[1] - step.wall_before <= JUMP:
        return None
    return Jump(key=step.key, before=previous[1], after=step.wall_before)


def components_of(sets: Sequence[ClockSet], jumps: Sequence[Jump]) -> tuple[Component, ...]:
    """Cut a stream's order where the clock fell back without a record."""
    recorded = {each.key: each.step_s for each in sets}
    steps = steps_of(sets)
    unexplained = [jump for jump in sorted(jumps, key=lambda jump: jump.key) if not _explained(jump, recorded, steps)]
    bounds: list[tuple[int, Jump | None]] = [(0, None), *((jump.key, jump) for jump in unexplained)]
    ends = [from_key for from_key, _ in bounds[1:]]
    components = []
    for (from_key, jump), end in zip(bounds, [*ends, None], strict=True):
        inside = tuple(step for step in steps if step.key >= from_key and (end is None or step.key < end))
        components.append(Component(from_key=from_key, jump=jump, steps=inside))
    return tuple(components)


def clock_of(components: Sequence[Component], anchors: Sequence[tuple[int, int] | None]) -> Clock:
    """The clock for one anchor (key, offset in seconds) per component; a setting that moved nothing begins no piece."""
    pieces: list[Piece] = []
    for component, anchor in zip(components, anchors, strict=True):
        for piece in component.pieces(anchor):
            if piece.from_key == component.from_key or pieces[-1].offset_s != piece.offset_s:
                pieces.append(piece)
    return Clock(pieces=tuple(pieces))


def drift_message(
    pump: str, *, offset_s: int, zones: Zones, newest: datetime, since: datetime | None = None
) -> str | None:
    """How the pump's clock differs from its zone's at the UTC time of its newest event; None where it does not.

    ``since`` is when the pump's clock got this offset (UTC), None for longer than anyone knows.
    """
    difference_s = offset_s - zones.offset_at(newest)
    if abs(difference_s) < 60:
        return None
    began = _differs_since(newest, difference_s, offset_s, zones, since)
    day = (began + timedelta(seconds=offset_s)).date()
    when = f"{day.day} {_MONTHS[day.month - 1]}" + (f" {day.year}" if day.year != newest.year else "")
    side = "ahead" if difference_s > 0 else "behind"
    return (
        f"The clock of pump {pump} looks {span_text(abs(difference_s))} {side} since {when}. Times in the documents allow for it. "
        "Set the pump's clock when it suits; if the pump is right, correct `timezone` or add a `[[zones]]` entry for the move."
    )


def _differs_since(
    newest: datetime, difference_s: int, offset_s: int, zones: Zones, since: datetime | None
) -> datetime:
    """To the minute; at most about a year before ``newest``, since a zone's offset returns with the seasons."""
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


def span_text(seconds: float) -> str:
    """A length of time in words: "1 h", "5 h 30 min", "1 day"."""
    minutes = round(seconds / 60)
    days, minutes = divmod(minutes, 1440)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{days} day{'s' if days > 1 else ''}"] if days else []
    parts += [f"{hours} h"] if hours else []
    parts += [f"{minutes} min"] if minutes else []
    return " ".join(parts) or "0 min"


_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _keys(pieces: Sequence[Piece]) -> tuple[int, ...]:
    return tuple(piece.from_key for piece in pieces)


def _onward(offset_s: int, step: Step) -> int:
    """After a set clock the offset is on a quarter of an hour again, whatever the clock showed before."""
    if offset_s % QUARTER_S:
        return round_s(offset_s + step.exact_s)
    return offset_s + step.rounded_s


def _backward_s(step: Step, *, arbitrary: bool) -> int:
    """How far the step moved the clock. A clock that came up after a reset, or with a factory date, was on no zone's grid."""
    left_s = abs(step.exact_s - step.rounded_s)
    if arbitrary or (abs(step.exact_s) > ZONE_STEP_S and left_s > DRIFT_S):
        return round(step.exact_s)
    return step.rounded_s


def _is_pair(date: ClockSet, time: ClockSet) -> bool:
    """Setting the clock writes 14 (date) then 13 (time), each stamped after its own change."""
    if time.part != "time" or not 0 < time.key - date.key <= PAIR_KEYS:
        return False
    if date.rtc_ms is not None and time.rtc_ms is not None:
        return (time.rtc_ms - date.rtc_ms) % RTC_WRAP_MS <= PAIR_S * 1000
    between_s = (time.pump_time - date.pump_time).total_seconds() - time.step_s
    return -2 <= between_s <= PAIR_S


def _explained(jump: Jump, recorded: dict[int, float], steps: Sequence[Step]) -> bool:
    step_s = recorded.get(jump.key)
    if step_s is not None and jump.after - jump.before >= timedelta(seconds=step_s) - JUMP:
        return True
    return any(step.key < jump.key <= step.done_key for step in steps)
