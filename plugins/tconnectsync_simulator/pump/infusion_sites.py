"""Changes of cartridge, tubing and cannula, interruptions of delivery, and their alarms."""

from __future__ import annotations

import attrs

from tconnectsync_simulator.pump import records
from tconnectsync_simulator.pump.boluses import Boluses
from tconnectsync_simulator.pump.control_loop import Control
from tconnectsync_simulator.pump.ledger import OpenSpan
from tconnectsync_simulator.pump.machine import Machine

OCCLUSION, EMPTY, RESUME, RESUME_2 = 2, 8, 18, 23  # 5 alarmId
LOW_INSULIN, LOW_BATTERY, INCOMPLETE_TUBING_FILL = 0, 2, 14  # 4 alertId
LOW_INSULIN_U = 35
REMINDER_S = 15 * 60
SAME_SECOND = 0.15  # share of infusion-site changes with one time for all fills


@attrs.define
class InfusionSites:
    """Actions of the wearer at the pump, and the pump's alarms and alerts."""

    machine: Machine
    control: Control
    boluses: Boluses
    _alarms: dict[int, OpenSpan] = attrs.field(factory=dict)
    _low: bool = False
    _busy: bool = False

    def change_site(self, *, cartridge: bool = True) -> None:
        """A new infusion site: the wearer suspends delivery, fills, and resumes."""
        machine = self.machine
        if not machine.worn or self._busy:
            return
        if self.boluses.active or self.control.suspension is not None:
            machine.after(600, lambda: self.change_site(cartridge=cartridge))
            return
        self._busy = True
        self.control.suspend(0, silent=machine.chance(0.5))
        machine.after(REMINDER_S, self._remind)
        machine.after(machine.rng.randrange(240, 1200), lambda: self._fill(cartridge=cartridge))

    def _fill(self, *, cartridge: bool) -> None:
        machine = self.machine
        if not machine.worn:
            self._busy = False
            return
        if cartridge:
            self.fill_cartridge()
        elif machine.chance(0.5):
            self.fill_tubing()
        together = machine.chance(SAME_SECOND)
        machine.after(0 if together else machine.rng.randrange(60, 360), self._fill_cannula)

    def fill_cartridge(self) -> None:
        """Log 33 and 63 in the same second."""
        machine = self.machine
        volume_u = machine.rng.choice((120, 150, 180, 200))
        machine.reservoir_mu = volume_u * 1000.0
        self._note(33, {"insulinVolume": volume_u, "v2Volume": 0}, "cartridge", volume_u)
        self.fill_tubing()
        self._clear_low()

    def fill_tubing(self) -> None:
        """Log 63."""
        position = self.machine.rng.randrange(400_000, 700_000)
        self._note(63, {"primeSize": -1, "completionStatus": 3, "position": position}, "tubing", -1)

    def fill_cannula(self) -> None:
        """Log 61."""
        self.machine.reservoir_mu -= 300
        self._note(61, {"primeSize": 0.3, "completionStatus": 3, "infusionSetType": 0}, "cannula", 0.3)

    def _fill_cannula(self) -> None:
        self._busy = False
        if not self.machine.worn:
            return
        self.fill_cannula()
        self.machine.after(self.machine.rng.choice((0, 5, 5, 20)), self._resume)

    def _note(self, code: int, properties: records.Properties, name: str, value: float) -> None:
        ledger = self.machine.ledger
        uploaded_s = self.machine.write(code, properties).uploaded_s
        ledger.fills.append(ledger.note(name, self.machine.now_s, value, uploaded_s))

    def occlusion(self) -> None:
        """The tubing is blocked: all delivery stops until the wearer reacts."""
        machine = self.machine
        if not machine.worn or self._busy or self.control.suspension is not None:
            return
        self._stop(OCCLUSION, 0)
        mends_s = machine.rng.randrange(120, 3000)
        if machine.chance(0.5):
            machine.after(mends_s, self._change_after_alarm)
        else:
            machine.after(mends_s, self._resume)

    def _stop(self, alarm: int, param2: float) -> None:
        self.boluses.interrupt(1)
        self._raise(alarm, 8230, 0, param2)
        self.control.suspend(1, silent=self.machine.chance(0.5))
        self.machine.after(REMINDER_S, self._remind)

    def _change_after_alarm(self) -> None:
        self._busy = True
        self._clear_alarms()
        self.machine.after(self.machine.rng.randrange(240, 900), lambda: self._fill(cartridge=True))

    def _remind(self) -> None:
        if self.control.suspension is None or not self.machine.worn:
            return
        if self.machine.now_s - self.control.suspension.started_s < REMINDER_S:
            return
        if RESUME not in self._alarms:
            self._raise(RESUME, 8311, self.machine.rng.randrange(1_000_000, 6_000_000), 0)
            self._raise(RESUME_2, 8311, RESUME, 0)
        self.machine.after(REMINDER_S, self._remind)

    def pump_off(self, minutes: int) -> None:
        """The wearer takes the pump off, for a shower or a swim."""
        if not self.machine.worn or self._busy or self.control.suspension is not None:
            return
        self.control.suspend(0, silent=self.machine.chance(0.5))
        self.machine.after(REMINDER_S, self._remind)
        self.machine.after(minutes * 60, self._resume)

    def predicted_low(self, minutes: int) -> None:
        """The pump suspends and resumes automatically."""
        if not self.machine.worn or self._busy or self.control.suspension is not None:
            return
        self.boluses.interrupt(6)
        self.control.suspend(6, silent=self.machine.chance(0.5))
        self.machine.after(minutes * 60, self._resume)

    def _resume(self) -> None:
        if not self.machine.worn:
            return
        self._clear_alarms()
        self.control.resume()

    def check_reservoir(self) -> None:
        """Hourly check: low insulin is an alert, an empty cartridge an alarm."""
        machine = self.machine
        machine.after(3600, self.check_reservoir)
        if not machine.worn or self._busy:
            return
        left_u = machine.reservoir_mu / 1000
        if left_u <= 2 and self.control.suspension is None:
            self._stop(EMPTY, records.short_float(max(0.0, left_u) + 1.475377))
            machine.after(machine.rng.randrange(300, 3600), self._change_after_alarm)
        elif left_u < LOW_INSULIN_U and not self._low:
            self._low = True
            machine.write(4, records.raised("alertId", LOW_INSULIN, 0, int(left_u), 0))
            if machine.plan.noise_codes:
                machine.after(40, lambda: machine.write(27, {"alertId": LOW_INSULIN}))

    def alert(self, number: int, fault: int, param1: int, param2: int, clears_s: int) -> None:
        """Raise an alert that is cleared later."""
        machine = self.machine
        machine.write(4, records.raised("alertId", number, fault, param1, param2))
        machine.after(clears_s, lambda: machine.write(26, {"alertId": number, "faultLocatorData": 0}))

    def _clear_low(self) -> None:
        if self._low:
            self._low = False
            self.machine.write(26, {"alertId": LOW_INSULIN, "faultLocatorData": 0})

    def _raise(self, alarm: int, fault: int, param1: int, param2: float) -> None:
        machine = self.machine
        record = machine.write(5, records.raised("alarmId", alarm, fault, param1, param2))
        span = OpenSpan(name=str(alarm), started_s=machine.now_s, uploaded_s=record.uploaded_s)
        machine.ledger.alarms.append(span)
        self._alarms[alarm] = span

    def _clear_alarms(self) -> None:
        machine = self.machine
        for alarm, span in self._alarms.items():
            record = machine.write(28, {"alarmId": alarm})
            if machine.plan.noise_codes and machine.chance(0.3):
                machine.write(8, {"alarmId": alarm})
            span.ended_s = machine.now_s
            span.uploaded_s = max(span.uploaded_s, record.uploaded_s)
        self._alarms.clear()
