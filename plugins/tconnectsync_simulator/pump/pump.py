"""A simulated pump: all its parts, and its records day by day or all at once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from functools import partial
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from tconnectsync_simulator.pump.boluses import Boluses
from tconnectsync_simulator.pump.control_loop import Control
from tconnectsync_simulator.pump.glucose_model import Body
from tconnectsync_simulator.pump.infusion_sites import InfusionSites
from tconnectsync_simulator.pump.ledger import Ledger
from tconnectsync_simulator.pump.machine import Machine
from tconnectsync_simulator.pump.modes import Modes
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump_clock import (
    DAY_S,
    SimulatedClock,
    SimulatedClockSetting,
    clock_settings,
    wearer_zones,
)
from tconnectsync_simulator.pump.records import SimulatedRecord
from tconnectsync_simulator.pump.routine import Routine
from tconnectsync_simulator.pump.sensor import SimulatedSensor
from tconnectsync_simulator.pump.settings import PROFILES, settings_envelope, stable_uuid
from tconnectsync_simulator.pump.truth import Truth, utc
from tconnectsync_simulator.pump.uploads import Uploads, upload_times
from tconnectsync_simulator.pump.wearer import Wearer

FACTORY_DATE_S = int(datetime(2020, 1, 12, 4, tzinfo=timezone.utc).timestamp())
LAY_DOWN_S = 30


def local_midnight_s(day: date, zone: str) -> int:
    """Return the Unix second at which a day begins in a zone."""
    return int(datetime.combine(day, datetime.min.time(), ZoneInfo(zone)).timestamp())


@attrs.define
class Simulation:
    """A running simulation; :func:`simulate` runs it to its end."""

    plan: SimulationPlan
    assignment_id: str = attrs.field(init=False)
    begin_s: int = attrs.field(init=False)
    end_s: int = attrs.field(init=False)
    machine: Machine = attrs.field(init=False, repr=False)
    profile_changes: list[tuple[int, int]] = attrs.field(init=False)
    _settings: list[SimulatedClockSetting] = attrs.field(init=False, repr=False)
    _modes: Modes = attrs.field(init=False, repr=False)
    _routine: Routine = attrs.field(init=False, repr=False)
    _control: Control = attrs.field(init=False, repr=False)
    _boluses: Boluses = attrs.field(init=False, repr=False)
    _sensor: SimulatedSensor = attrs.field(init=False, repr=False)
    _infusion_sites: InfusionSites = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        plan = self.plan
        self.assignment_id = stable_uuid(plan, "assignment")
        self.begin_s = local_midnight_s(plan.start, plan.zone)
        self.end_s = local_midnight_s(plan.start + timedelta(days=plan.days), plan.zone)
        set_up_s = self.begin_s - plan.set_up_days_before * DAY_S + 10 * 3600
        rng = Random(f"{plan.seed}/{plan.serial}/life")
        times = upload_times(plan, self.begin_s, self.end_s, Random(f"{plan.seed}/{plan.serial}/uploads"))
        machine = self.machine = Machine(
            plan=plan,
            assignment_id=self.assignment_id,
            clock=SimulatedClock(
                offset_s=FACTORY_DATE_S - set_up_s,
                set_at_s=set_up_s,
                drift_s_per_day=plan.clock_drift_s_per_day,
                rtc_zero_s=set_up_s - 7 * DAY_S,
            ),
            uploads=Uploads(times, plan.late_share, plan.late_max_h * 3600, Random(f"{plan.seed}/{plan.serial}/late")),
            ledger=Ledger(plan.serial, self.begin_s),
            rng=rng,
            now_s=set_up_s,
            sequence=94,
            worn=plan.worn_from is None or int(plan.worn_from.timestamp()) <= self.begin_s,
        )
        body = Body(Random(f"{plan.seed}/{plan.serial}/body"))
        self.profile_changes = [(self.begin_s, 0)]
        control = self._control = Control(machine, body, PROFILES[0][2])
        boluses = self._boluses = Boluses(machine, body, plan.first_bolus_id)
        self._modes = Modes(machine, self._mode_changed)
        started_s = self.begin_s - rng.randrange(DAY_S, 9 * DAY_S)
        self._sensor = SimulatedSensor(machine, body, self._glucose_seen, rng.randrange(256), started_s)
        self._infusion_sites = InfusionSites(machine, control, boluses)
        self._routine = Routine(machine, control, self._modes)
        wearer = Wearer(
            machine, body, control, boluses, self._modes, self._sensor, self._infusion_sites, wearer_zones(plan),
            on_profile=lambda active: self.profile_changes.append((machine.now_s, active)),
        )  # fmt: skip
        control.on_suspend = boluses.interrupt
        control.on_high = wearer.correct_automatically
        settings = clock_settings(plan, set_up_s, self.end_s)
        for setting in settings:
            if setting.at_s < self.begin_s:
                machine.now_s = setting.at_s
                machine.set_clock(setting.offset_s)
        machine.now_s = self.begin_s
        machine.sequence = plan.first_sequence
        self._settings = [setting for setting in settings if setting.at_s >= self.begin_s]
        self._schedule(wearer)

    def _schedule(self, wearer: Wearer) -> None:
        machine, plan = self.machine, self.plan
        for setting in self._settings:
            machine.at(setting.at_s, partial(self._set_clock, setting.offset_s))
        if plan.reset_at is not None:
            machine.at(int(plan.reset_at.timestamp()), self._reset_clock)
        self._control.begin()
        self._routine.begin()
        machine.after(1500, self._infusion_sites.check_reservoir)
        wearer.begin()
        if machine.worn:
            self._sensor.begin()
            self._modes.begin()
        elif plan.worn_from is not None:
            machine.at(int(plan.worn_from.timestamp()), self._put_on)
        if plan.worn_until is not None:
            until_s = int(plan.worn_until.timestamp())
            machine.at(until_s - LAY_DOWN_S, self._lay_down)
            machine.at(until_s, self._put_away)

    def days(self) -> Iterator[list[SimulatedRecord]]:
        """Yield the records of one true day (24 h from ``start``) after the other; they are not kept."""
        machine = self.machine
        for day_end_s in range(self.begin_s + DAY_S, self.end_s + DAY_S, DAY_S):
            machine.run_until(min(day_end_s, self.end_s))
            written, machine.written = machine.written, []
            yield written
            if day_end_s >= self.end_s:
                self._control.settle()
                return

    def truth(self) -> Truth:
        """The truth so far."""
        return self.machine.ledger.truth(self.machine.now_s)

    def pump(self, log: tuple[SimulatedRecord, ...] = ()) -> SimulatedPump:
        """Return the pump so far, with the given log."""
        return SimulatedPump(
            plan=self.plan,
            assignment_id=self.assignment_id,
            log=log,
            clock_change_log=tuple(self.machine.clock_changes),
            upload_times_s=self.machine.uploads.times,
            profile_changes=tuple(self.profile_changes),
            truth=self.truth(),
        )

    def _mode_changed(self, mode: int) -> None:
        self._control.mode = mode
        self._control.refresh()

    def _glucose_seen(self, glucose: float | None, trend: float) -> None:
        lost = (self._control.glucose is None) != (glucose is None)
        self._control.glucose, self._control.trend = glucose, trend
        if lost:
            self._control.refresh()

    def _set_clock(self, offset_s: int) -> None:
        self.machine.set_clock(offset_s)
        self._clock_moved()

    def _reset_clock(self) -> None:
        self.machine.clock.reset(self.machine.now_s)
        self._clock_moved()

    def _clock_moved(self) -> None:
        self._routine.arm_midnight()
        if self.machine.worn:
            self._modes.begin()

    def _put_on(self) -> None:
        """Put the pump on: fill it and start delivery, all in one second."""
        self._control.settle()
        self.machine.worn = True
        self._infusion_sites.fill_cartridge()
        self._infusion_sites.fill_cannula()
        self._control.refresh()
        self._modes.begin()
        self._sensor.begin()
        self.machine.after(60, self._sensor.join)

    def _lay_down(self) -> None:
        """End everything just before the hand-over."""
        self._boluses.interrupt(0)
        self._control.resume()
        self._modes.stop_all()
        self._control.glucose = None

    def _put_away(self) -> None:
        self._boluses.interrupt(0)
        self._control.settle()
        self.machine.worn = False
        self._control.temp_mu_h = None
        self._control.refresh()


@attrs.frozen(kw_only=True)
class SimulatedPump:
    """A completed simulation: the log in the order of its sequence numbers, and the truth."""

    plan: SimulationPlan
    assignment_id: str
    log: tuple[SimulatedRecord, ...] = attrs.field(repr=False)
    clock_change_log: tuple[SimulatedRecord, ...] = attrs.field(repr=False)
    upload_times_s: tuple[int, ...] = attrs.field(repr=False)
    profile_changes: tuple[tuple[int, int], ...]
    truth: Truth = attrs.field(repr=False)

    @property
    def records(self) -> list[dict[str, Any]]:
        """All entries of ``events``."""
        return [record.entry for record in self.log]

    @property
    def clock_changes(self) -> list[dict[str, Any]]:
        """All entries of ``clockChanges``, including the set-up."""
        return [record.entry for record in self.clock_change_log]

    def settings_at(self, uploaded_s: int) -> dict[str, Any]:
        """Return the ``settings`` object after the upload at this time."""
        active = next((idp for since_s, idp in reversed(self.profile_changes) if since_s <= uploaded_s), 0)
        changed_s = next((since_s for since_s, _ in reversed(self.profile_changes) if since_s <= uploaded_s), 0)
        carried_s = next((at_s for at_s in self.upload_times_s if at_s >= changed_s), uploaded_s)
        text = utc(carried_s).strftime("%Y-%m-%dT%H:%M:%S.497")  # the server's time, very likely UTC
        return settings_envelope(self.plan, self.assignment_id, active, text)

    def pumper_entry(
        self, *, first_text: str | None, newest_text: str | None, last_upload_s: int | None
    ) -> dict[str, Any]:
        """Return the pump's object in the ``pumper`` response; texts are times on the pump's clock."""
        uploaded = last_upload_s is not None
        return {
            "algorithm": "Control-IQ",
            "availableDataRange": {"start": first_text, "end": newest_text},
            "assignmentId": self.assignment_id,
            "glucoseUnit": "MilligramsPerDeciliter",
            "lastUploadDate": utc(last_upload_s).strftime("%Y-%m-%dT%H:%M:%SZ") if last_upload_s is not None else None,
            "maxDateOfEvents": newest_text,
            "modelNumber": "1004000",
            "modelName": self.plan.model_name,
            "partNumber": "1016587",
            "serialNumber": self.plan.serial,
            "softwareVersion": "7.8.0.0",
            "lastUploadClientType": "mobile_tconnect" if uploaded else None,
            "settings": self.settings_at(last_upload_s) if last_upload_s is not None else None,
        }


def simulate(plan: SimulationPlan) -> SimulatedPump:
    """Run a simulation to its end."""
    simulation = Simulation(plan)
    return simulation.pump(tuple(record for day in simulation.days() for record in day))
