"""Reads how the wearer set the pump's clock, from the pump's records 14 (date changed) and 13 (time changed)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from tconnectsync.events import Event
from tconnectsync.timeline.utc_offsets import DAY_S

PAIR_S = 60
PAIR_KEYS = 64
MIDNIGHT_PAIR_S, MIDNIGHT_PAIR_KEYS = 1800, 512
"""The longest distance of a date and a time that belong together because the time was set across midnight."""
RTC_WRAP_MS = 1 << 32


class ClockSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A clock.changed event: ``part`` date (record 14) or time (13), stamped on the clock after this part's change."""

    key: int
    part: str
    pump_time: datetime
    step_s: float
    rtc_ms: int | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """The wearer set the clock: it began to change at ``key`` and is set from ``done_key`` on.

    ``wall``: the wall time right after; ``exact_s``: after minus before; ``first_s``: the first part of it if date and time were
    set one after the other (a pair), else None.
    """

    key: int
    done_key: int
    wall: datetime
    exact_s: float
    first_s: int | None = None

    @property
    def wall_before(self) -> datetime:
        """The wall time just before the change."""
        return self.wall - timedelta(seconds=self.exact_s)


def clock_sets(events: Iterable[Event]) -> tuple[ClockSetting, ...]:
    """Return the clock.changed events of a numbered stream, in key order."""
    sets = [
        ClockSetting(
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


def steps_of(sets: Sequence[ClockSetting]) -> tuple[Step, ...]:
    """Return one step for each date and time that were set together, in either order, and one for any other record."""
    steps: list[Step] = []
    index = 0
    while index < len(sets):
        first = sets[index]
        if _begins_pair(sets, index):
            second = sets[index + 1]
            exact_s = first.step_s + second.step_s
            steps.append(
                Step(
                    key=first.key,
                    done_key=second.key,
                    wall=second.pump_time,
                    exact_s=exact_s,
                    first_s=round(first.step_s),
                )
            )
            index += 2
        else:
            steps.append(Step(key=first.key, done_key=first.key, wall=first.pump_time, exact_s=first.step_s))
            index += 1
    return tuple(steps)


def _begins_pair(sets: Sequence[ClockSetting], index: int) -> bool:
    """Whether this record and the next are one setting. The pump usually writes the date first: 13-14-13 means 13, then 14-13."""
    if index + 1 >= len(sets) or not _is_pair(sets[index], sets[index + 1]):
        return False
    if sets[index].part == "date" or index + 2 >= len(sets):
        return True
    return not _is_pair(sets[index + 1], sets[index + 2])


def _is_pair(first: ClockSetting, second: ClockSetting) -> bool:
    """Whether these are a date and a time that were set within a minute, or within half an hour across midnight."""
    if {first.part, second.part} != {"date", "time"}:
        return False
    date, time = (first, second) if first.part == "date" else (second, first)
    across_midnight = abs(date.step_s) == DAY_S and date.step_s * time.step_s < 0
    longest_s, max_keys = (MIDNIGHT_PAIR_S, MIDNIGHT_PAIR_KEYS) if across_midnight else (PAIR_S, PAIR_KEYS)
    if not 0 < second.key - first.key <= max_keys:
        return False
    if first.rtc_ms is not None and second.rtc_ms is not None:
        return (second.rtc_ms - first.rtc_ms) % RTC_WRAP_MS <= longest_s * 1000
    between_s = (second.pump_time - first.pump_time).total_seconds() - second.step_s
    return -2 <= between_s <= longest_s
