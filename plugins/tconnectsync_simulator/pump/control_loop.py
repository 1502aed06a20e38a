"""Basal: the profile, the control loop, temporary rates and suspensions, with their records."""

from __future__ import annotations

from collections.abc import Callable

import attrs

from tconnectsync_simulator.pump import records
from tconnectsync_simulator.pump.glucose_model import SENSITIVITY_MG_DL_PER_U, Body
from tconnectsync_simulator.pump.ledger import OpenSpan
from tconnectsync_simulator.pump.machine import Machine

NO_CONTROL, OPEN_LOOP, WAITING, CLOSED_LOOP = 0, 1, 2, 3
SUSPENDED, PROFILE, TEMP, ALGORITHM = 0, 1, 2, 3  # 279 commandedRateSource
REASONS = {0: "user", 1: "alarm", 6: "plgs"}
TARGETS = {0: (112, 160), 1: (112, 120), 2: (140, 160)}  # mg/dL by mode
TICK_S = 300
MAX_RATE_MU_H = 6000

Segments = tuple[tuple[int, int], ...]
"""(minute of the pump's day, mU/h), ascending, the first at 0."""


@attrs.define
class Control:
    """Sets the basal rate every five minutes and at every change, and delivers it."""

    machine: Machine
    body: Body
    segments: Segments
    mode: int = 0
    preferred: bool = True
    temp_mu_h: int | None = None
    glucose: float | None = None
    trend: float = 0.0
    suspension: OpenSpan | None = None
    state: int = CLOSED_LOOP
    rate_mu_h: int = 0
    on_suspend: Callable[[int], None] = lambda _: None
    on_high: Callable[[float], None] = lambda _: None
    _silent: bool = False
    _since_s: int = 0

    def begin(self) -> None:
        """Start to deliver."""
        self._since_s = self.machine.now_s
        self._decide()
        self.machine.after(self.machine.rng.randrange(1, TICK_S), self.tick)

    def profile_mu_h(self) -> int:
        """The profile's rate at this minute of the pump's day."""
        minute = self.machine.local_minute()
        return next(rate for start, rate in reversed(self.segments) if start <= minute)

    def settle(self) -> None:
        """Account for the insulin delivered at the current rate since the last call."""
        machine = self.machine
        seconds = machine.now_s - self._since_s
        if seconds > 0 and machine.worn:
            machine.ledger.delivered_basal(self._since_s, machine.now_s, self.rate_mu_h)
            machine.reservoir_mu -= self.rate_mu_h * seconds / 3600
            given_u = self.rate_mu_h * seconds / 3_600_000
            self.body.take(given_u)
            self.body.board(given_u - self.body.basal_need_u_per_h * seconds / 3600)
        self._since_s = machine.now_s

    def tick(self) -> None:
        """Run the five-minute step."""
        machine = self.machine
        machine.after(TICK_S + (machine.rng.random() < 0.2), self.tick)
        machine.skip(machine.rng.randrange(2, 11))
        self.settle()
        if machine.worn:
            self.body.step()
        if self.suspension is None:
            self.refresh()
        elif not self._silent:
            self._write(SUSPENDED, 0, records.NO_RATE)

    def refresh(self) -> None:
        """Set the rate again, at a step or after a change."""
        self.settle()
        if self.suspension is not None:
            return
        self._decide()
        if self.state == CLOSED_LOOP and self.mode == 0 and self.machine.worn and self.glucose is not None:
            predicted = self.glucose + 30 * self.trend
            if predicted > 180:
                self.on_high(predicted)

    def _decide(self) -> None:
        profile = self.profile_mu_h()
        if not self.machine.worn:
            self._write(PROFILE, profile if self.machine.plan.drawer_rate == "profile" else 0, records.NO_RATE)
            return
        self.change_state()
        if self.state == CLOSED_LOOP and self.glucose is not None:
            rate = self._algorithm(profile, self.glucose + 30 * self.trend)
            self._write(ALGORITHM, rate, rate)
        elif self.temp_mu_h is not None:
            self._write(TEMP, self.temp_mu_h, records.NO_RATE)
        else:
            self._write(PROFILE, profile, records.NO_RATE)

    def _algorithm(self, profile: int, predicted: float) -> int:
        low, high = TARGETS[self.mode]
        if predicted < 70:
            return 0
        if predicted < low:
            return round(profile * (predicted - 70) / (low - 70))
        if predicted <= high:
            return profile
        return min(MAX_RATE_MU_H, 4 * profile, round(profile + 400 * (predicted - high) / SENSITIVITY_MG_DL_PER_U))

    def _write(self, source: int, rate_mu_h: int, algorithm: int) -> None:
        machine = self.machine
        self.rate_mu_h = rate_mu_h
        odd = 3 if source == ALGORITHM and machine.chance(0.7) else 0
        temp = self.temp_mu_h if source == TEMP and self.temp_mu_h is not None else records.NO_RATE
        record = machine.write(
            279, records.basal_delivery(source, rate_mu_h, self.profile_mu_h(), algorithm, temp, odd)
        )
        machine.ledger.basal_logged(machine.now_s, record.uploaded_s)

    def change_state(self) -> None:
        """Log the control state if it has changed."""
        cgm = self.glucose is not None
        if self.suspension is not None:
            state = NO_CONTROL
        elif not self.preferred:
            state = OPEN_LOOP
        else:
            state = CLOSED_LOOP if cgm else WAITING
        if state != self.state:
            change = records.control_change(
                state, self.state, pumping=self.suspension is None, cgm=cgm, preferred=self.preferred
            )
            self.state = state
            self.machine.write(230, change)

    def suspend(self, reason: int, *, silent: bool) -> None:
        """Suspend delivery. ``silent``: no basal records until it is resumed; else records with rate 0."""
        if self.suspension is not None:
            return
        machine = self.machine
        self.settle()
        self.on_suspend(reason)
        record = machine.write(11, records.suspended(reason, self._reservoir_u()))
        machine.ledger.basal_logged(machine.now_s, record.uploaded_s)
        self.suspension = OpenSpan(name=REASONS[reason], started_s=machine.now_s, uploaded_s=record.uploaded_s)
        machine.ledger.suspensions.append(self.suspension)
        self.rate_mu_h = 0
        self._silent = silent
        machine.skip(1)
        self.change_state()

    def resume(self) -> None:
        """Resume delivery; the rate is logged in the same second."""
        if self.suspension is None:
            return
        machine = self.machine
        self.settle()
        record = machine.write(12, records.resumed(self._reservoir_u()))
        machine.ledger.basal_logged(machine.now_s, record.uploaded_s)
        self.suspension.ended_s = machine.now_s
        self.suspension.uploaded_s = max(self.suspension.uploaded_s, record.uploaded_s)
        self.suspension = None
        self._decide()

    def _reservoir_u(self) -> int:
        return max(0, int(self.machine.reservoir_mu / 1000))
