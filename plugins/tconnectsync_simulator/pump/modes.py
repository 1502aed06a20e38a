"""Sleep and exercise: by schedule, by hand, by timer, and directly after each other."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from tconnectsync_simulator.pump import records
from tconnectsync_simulator.pump.ledger import OpenSpan
from tconnectsync_simulator.pump.machine import Machine
from tconnectsync_simulator.pump.pump_clock import DAY_S

NORMAL, SLEEP, EXERCISE = 0, 1, 2
NAMES = {SLEEP: "sleep", EXERCISE: "exercise"}
START_SLEEP, STOP_SLEEP, START_EXERCISE, STOP_EXERCISE, STOP_ALL = 1, 2, 3, 4, 5

WEEKDAY, WEEKEND = ((1350, 1830, 0),), ((1395, 1920, 1),)  # minutes from midnight of the evening, schedule number
CHANGE_OVER = ((1350, 1560, 0), (1560, 1830, 1))  # one schedule follows another in the night


def nights(day: int) -> tuple[tuple[int, int, int], ...]:
    """The sleep schedules that begin on a day (number since 1970, pump clock): (begin, end, number) in local seconds."""
    weekday = (day + 3) % 7
    spans = CHANGE_OVER if weekday == 2 else WEEKEND if weekday in {4, 5} else WEEKDAY
    return tuple((day * DAY_S + begin * 60, day * DAY_S + end * 60, number) for begin, end, number in spans)


@attrs.define
class Modes:
    """The pump's user mode."""

    machine: Machine
    on_change: Callable[[int], None]
    mode: int = NORMAL
    _schedule: int | None = None  # of the current sleep; None: started by hand
    _exercise: tuple[int, int] = (0, 0)
    _span: OpenSpan | None = None
    _armed: int = 0

    def begin(self) -> None:
        """Start to follow the schedules; called again after each change of the clock."""
        by_hand = self.mode == SLEEP and self._schedule is None
        if not by_hand and (self._due() is None) == (self.mode == SLEEP):
            self.machine.after(60, self._follow)
        self._arm()

    def _due(self) -> int | None:
        local_s = self.machine.clock.local_s(self.machine.now_s)
        day = local_s // DAY_S
        spans = (*nights(day - 1), *nights(day))
        return next((number for begin, end, number in spans if begin <= local_s < end), None)

    def _arm(self) -> None:
        self._armed += 1
        armed = self._armed
        local_s = self.machine.clock.local_s(self.machine.now_s)
        day = local_s // DAY_S
        edges = sorted({edge for each in (day - 1, day, day + 1) for span in nights(each) for edge in span[:2]})
        wait_s = next(edge for edge in edges if edge > local_s) - local_s

        def edge() -> None:
            if armed == self._armed and self.machine.worn:
                self._follow()
                self._arm()

        self.machine.after(wait_s, edge)

    def _follow(self) -> None:
        due = self._due()
        if not self.machine.worn or self.mode == EXERCISE:
            return
        if due is None:
            if self.mode == SLEEP:
                self._change(NORMAL, STOP_SLEEP)
        elif self.mode == NORMAL or (self._schedule is not None and self._schedule != due):
            self._schedule = due
            self._change(SLEEP, START_SLEEP)

    def exercise(self, minutes: int, *, timed: bool) -> None:
        """Start exercise; a timer or the wearer ends it."""
        if self.mode == EXERCISE or not self.machine.worn:
            return
        self._exercise = (int(timed), minutes if timed else 0)
        self._change(EXERCISE, START_EXERCISE)
        span = self._span

        def over() -> None:
            if self._span is not span or not self.machine.worn:
                return
            self._schedule = self._due()
            if self._schedule is not None:
                self._change(SLEEP, STOP_EXERCISE, timer=timed)
            elif not timed and self.machine.chance(0.2):
                self._change(NORMAL, STOP_ALL)
            else:
                self._change(NORMAL, STOP_EXERCISE, timer=timed)

        self.machine.after(minutes * 60, over)

    def nap(self, minutes: int) -> None:
        """Start sleep by hand, and end it by hand."""
        if self.mode != NORMAL or not self.machine.worn:
            return
        self._schedule = None
        self._change(SLEEP, START_SLEEP)
        span = self._span

        def over() -> None:
            if self._span is span and self.machine.worn:
                self._change(NORMAL, STOP_ALL if self.machine.chance(0.2) else STOP_SLEEP)

        self.machine.after(minutes * 60, over)

    def stop_all(self) -> None:
        """End the current mode."""
        if self.mode != NORMAL:
            self._change(NORMAL, STOP_ALL)

    def _change(self, mode: int, action: int, *, timer: bool = False) -> None:
        machine, previous = self.machine, self.mode
        by_hand = SLEEP in {mode, previous} and self._schedule is None
        schedules = [] if self._schedule is None or mode == EXERCISE else [self._schedule]
        self.mode = mode
        record = machine.write(
            229,
            records.mode_change(
                mode, previous, action, by_hand=by_hand, schedules=schedules, timer=timer, exercise=self._exercise
            ),
        )
        if mode != previous:
            if self._span is not None:
                self._span.ended_s = machine.now_s
                self._span.uploaded_s = max(self._span.uploaded_s, record.uploaded_s)
                self._span = None
            if mode != NORMAL:
                self._span = OpenSpan(name=NAMES[mode], started_s=machine.now_s, uploaded_s=record.uploaded_s)
                machine.ledger.modes.append(self._span)
            self.on_change(mode)
        if mode != SLEEP:
            self._schedule = None
