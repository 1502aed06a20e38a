"""Records that the pump logs on its own: at midnight, hourly, its battery and scanner."""

from __future__ import annotations

import attrs

from tconnectsync_simulator.pump import records
from tconnectsync_simulator.pump.control_loop import Control
from tconnectsync_simulator.pump.machine import Machine
from tconnectsync_simulator.pump.modes import Modes
from tconnectsync_simulator.pump.pump_clock import DAY_S
from tconnectsync_simulator.pump.records import short_float

ARM_PART, ARM_VERSION = 1016587, 1108201743


@attrs.define
class Routine:
    """Logs the scheduled records."""

    machine: Machine
    control: Control
    modes: Modes
    _armed: int = 0
    _battery: float = 80.0
    _day_basal_u: float = 0.0
    _counted_s: int = 0

    def begin(self) -> None:
        self.arm_midnight()
        self._counted_s = self.machine.now_s
        if self.machine.plan.noise_codes:
            if self.machine.plan.scan_codes:
                self.machine.after(137, self._scan)
            self.machine.after(400, self._status)
            self.machine.after(self.machine.plan.hourly_record_at_min * 60, self._hour)

    def arm_midnight(self) -> None:
        """Wait for the pump's next midnight; called again after each change of its clock."""
        self._armed += 1
        armed = self._armed
        left_s = DAY_S - self.machine.clock.local_s(self.machine.now_s) % DAY_S

        def midnight() -> None:
            if armed == self._armed:
                self._midnight()
                self.arm_midnight()

        self.machine.after(left_s, midnight)

    def _midnight(self) -> None:
        machine = self.machine
        rate = short_float(self.control.rate_mu_h / 1000)
        machine.write(90, {"commandedBasalRate": rate, "featuresBitmask": [], "featureBitmaskIndex": []})
        self._day_basal_u = 0.0
        machine.skip(1)
        machine.after(6, self._versions)

    def _versions(self) -> None:
        self.machine.write(
            307,
            {
                "armPartNumber": ARM_PART,
                "armSwVersion": ARM_VERSION,
                "blePartNumber": ARM_PART,
                "bleSwVersion": ARM_VERSION,
            },
        )
        self.machine.skip(6)
        self.machine.write(313, records.daily_status(self.control.state, self.modes.mode))

    def _hour(self) -> None:
        machine = self.machine
        machine.after(3600, self._hour)
        self._day_basal_u += self.control.rate_mu_h * (machine.now_s - self._counted_s) / 3_600_000
        self._counted_s = machine.now_s
        iob = short_float(self.control.body.iob_u) if machine.worn else 0
        record = machine.write(
            81,
            {
                "dailyTotalBasal": short_float(self._day_basal_u),
                "lastBasalRate": short_float(self.control.rate_mu_h / 1000),
                "iob": iob,
                "liPoMV": 3600 + int(self._battery * 6),
                "abc": int(self._battery),
                "displayInHistory": 0,
            },
        )
        if machine.worn:
            machine.ledger.iob.append((machine.now_s, iob, record.uploaded_s))

    def _status(self) -> None:
        machine = self.machine
        machine.after(900, self._status)
        self._battery -= 0.25
        if self._battery < 15 or (machine.chance(0.01) and self._battery < 60):
            self._battery = 98.0
        iob_min = int(self.control.body.iob_u * 60)
        machine.write(
            9,
            {
                "abc": int(self._battery),
                "ibc": min(100, int(self._battery) + 4),
                "iobHours": iob_min // 60,
                "iobMinutes": iob_min % 60,
            },
        )

    def _scan(self) -> None:
        machine = self.machine
        machine.after(machine.rng.choice((170, 200, 230)), self._scan)
        machine.write(219, {"scanState": machine.rng.randrange(4), "reservedB4": 0})
