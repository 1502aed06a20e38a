"""The simulated person: meals, corrections, exercise, showers, mistakes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from zoneinfo import ZoneInfo

import attrs

from tconnectsync_simulator.pump import records
from tconnectsync_simulator.pump.boluses import Boluses, BolusRequest
from tconnectsync_simulator.pump.control_loop import Control
from tconnectsync_simulator.pump.glucose_model import CARB_RATIO_G_PER_U, SENSITIVITY_MG_DL_PER_U, Body
from tconnectsync_simulator.pump.infusion_sites import INCOMPLETE_TUBING_FILL, LOW_BATTERY, InfusionSites
from tconnectsync_simulator.pump.machine import Machine
from tconnectsync_simulator.pump.modes import Modes
from tconnectsync_simulator.pump.pump_clock import zone_at
from tconnectsync_simulator.pump.records import short_float
from tconnectsync_simulator.pump.sensor import SimulatedSensor
from tconnectsync_simulator.pump.settings import PROFILES

TARGET_MG_DL = 110
AUTOMATIC_PAUSE_S = 3600
MAX_AUTOMATIC_MU = 6000
RETRY_S = 600
RESCUE_BELOW_MG_DL = 62
SITE_DAYS = 3

MEALS = (
    (430, 40, (20, 65), 1.0),
    (740, 50, (30, 80), 1.0),
    (940, 60, (10, 30), 0.5),
    (1120, 60, (40, 95), 1.0),
    (1290, 30, (8, 25), 0.3),
)
"""(minute of the day, spread in minutes, carbs from and to in g, probability)."""

MEAL_WAYS = ("phone",) * 11 + ("screen",) * 6 + ("extended",) * 2 + ("quick", "forgotten")


@attrs.define
class Wearer:
    """The person, whose day follows the local time of their place."""

    machine: Machine
    body: Body
    control: Control
    boluses: Boluses
    modes: Modes
    sensor: SimulatedSensor
    infusion_sites: InfusionSites
    zones: tuple[tuple[float, str], ...]
    profile: int = 0
    on_profile: Callable[[int], None] = lambda _: None
    _day: int = 0
    _rescued_s: int = 0

    def begin(self) -> None:
        """Start the first day."""
        self._plan_day()

    def _plan_day(self) -> None:
        """Schedule the events of a day, at its local midnight."""
        machine, rng = self.machine, self.machine.rng
        zone = ZoneInfo(zone_at(self.zones, machine.now_s))
        today = datetime.fromtimestamp(machine.now_s + 3600, timezone.utc).astimezone(zone).date()
        tomorrow = datetime.combine(today + timedelta(days=1), datetime.min.time(), zone)
        machine.at(int(tomorrow.timestamp()), self._plan_day)
        begin_s = machine.now_s
        self.body.sensitivity = min(1.3, max(0.7, rng.gauss(1.0, 0.15)))
        for minute, spread, (low, high), probability in MEALS:
            if machine.chance(probability):
                self._around(begin_s, minute, spread, partial(self._meal, rng.randrange(low, high)))
        for minute, spread, probability, action in self._random_events():
            if machine.chance(probability):
                self._around(begin_s, minute, spread, action)
        if self._day % SITE_DAYS == 1 and not machine.chance(0.04):
            self._around(begin_s, 1080, 90, lambda: self.infusion_sites.change_site(cartridge=machine.chance(0.85)))
        self._day += 1
        machine.after(900, self._look)

    def _random_events(self) -> tuple[tuple[int, int, float, Callable[[], object]], ...]:
        rng, changes = self.machine.rng, self.infusion_sites
        return (
            (560, 120, 0.35, self._correct),
            (1000, 120, 0.35, self._correct),
            (420, 30, 0.4, self._prick),
            (1260, 60, 0.5, self._prick),
            (930, 60, 0.2, lambda: self._carbs_only(rng.randrange(5, 25))),
            (1020, 60, 0.3, lambda: self.modes.exercise(rng.choice((30, 45, 60)), timed=rng.random() < 0.5)),
            (1310, 10, 0.07, lambda: self.modes.exercise(75, timed=True)),
            (840, 40, 0.1, lambda: self.modes.nap(rng.randrange(30, 100))),
            (460, 30, 0.2, lambda: changes.pump_off(rng.randrange(8, 26))),
            (900, 90, 0.04, lambda: changes.pump_off(rng.randrange(60, 190))),
            (660, 300, 0.05, changes.occlusion),
            (180, 120, 0.08, lambda: changes.predicted_low(rng.randrange(12, 50))),
            (780, 200, 0.05, self._open_loop),
            (600, 400, 0.4, lambda: self.sensor.lose_signal(rng.uniform(12, 90))),
            (720, 500, 0.12, self.sensor.join),
            (720, 300, 0.03, lambda: changes.alert(INCOMPLETE_TUBING_FILL, 8378, 0, 0, 32)),
            (1200, 100, 0.08, lambda: changes.alert(LOW_BATTERY, 8306, 20, 1, 2700)),
            (570, 30, 0.035, self._switch_profile),
            (840, 300, 0.06, lambda: self._react_oddly(0.15, 300)),
            (600, 500, 0.10, lambda: self._react_oddly(2.2, 150)),
        )

    def _around(self, begin_s: int, minute: int, spread: int, action: Callable[[], object]) -> None:
        offset_min = minute + self.machine.rng.uniform(-spread, spread)
        self.machine.at(begin_s + round(offset_min * 60), lambda: action() if self.machine.worn else None)

    def _look(self) -> None:
        """Look at the glucose every quarter of an hour, and eat sugar if it is low."""
        self.machine.after(900, self._look_again(self._day))
        if self.machine.worn and self.body.glucose < RESCUE_BELOW_MG_DL and self.machine.now_s > self._rescued_s + 1500:
            self._rescued_s = self.machine.now_s
            sugar_g = self.machine.rng.choice((8, 12, 15, 20))
            if self.machine.chance(0.3):
                self._carbs_only(sugar_g)
            else:
                self.body.eat(sugar_g)

    def _look_again(self, day: int) -> Callable[[], None]:
        def look() -> None:
            if day == self._day:
                self._look()

        return look

    def _seen_glucose(self) -> int:
        return 0 if self.control.glucose is None else round(self.control.glucose)

    def _meal(self, carbs_g: int) -> None:
        machine, rng = self.machine, self.machine.rng
        way = rng.choice(MEAL_WAYS)
        machine.after(rng.randrange(0, 900), lambda: self.body.eat(carbs_g * rng.uniform(0.6, 1.35)))
        if way == "forgotten":
            return
        if way == "quick":
            amount_mu = round(carbs_g / CARB_RATIO_G_PER_U * 2) * 500
            self._request_bolus(lambda: BolusRequest(origin="quick", plain_mu=amount_mu))
            return
        origin = rng.choice(("phone", "screen")) if way == "extended" else way
        self._request_bolus(lambda: self._meal_request(origin, carbs_g, extended=way == "extended"))
        if machine.chance(0.04):
            # a second, quick bolus while the first may still be running
            machine.after(
                rng.randrange(1200, 5400),
                lambda: self._request_bolus(lambda: BolusRequest(origin="quick", plain_mu=1000)),
            )

    def _meal_request(self, origin: str, carbs_g: int, *, extended: bool) -> BolusRequest:
        machine, rng = self.machine, self.machine.rng
        glucose = self._seen_glucose() if machine.chance(0.8) else 0
        food_mu = round(carbs_g / CARB_RATIO_G_PER_U * 100) * 10
        correction_mu = self._correction_mu(glucose)
        declined = correction_mu > 0 and machine.chance(0.1)
        total_mu = food_mu + (0 if declined else correction_mu)
        override = total_mu > 600 and machine.chance(0.08)
        return BolusRequest(
            origin=origin,
            food_mu=food_mu,
            correction_mu=0 if declined else correction_mu,
            carbs_g=carbs_g,
            glucose=glucose,
            percent_now=rng.choice((0, 25, 40, 50, 60, 75)) if extended else 100,
            extended_min=rng.choice((60, 120, 180, 300)) if extended else 0,
            override_mu=round(total_mu * rng.uniform(0.6, 1.2) / 50) * 50 if override else None,
            declined=declined,
            cancel_after_s=self._changes_mind(total_mu, extended=extended),
        )

    def _changes_mind(self, total_mu: int, *, extended: bool) -> int | None:
        machine, rng = self.machine, self.machine.rng
        if machine.chance(0.015):
            return 0
        if extended:
            return rng.randrange(600, 9000) if machine.chance(0.25) else None
        return rng.randrange(1, max(2, total_mu * 28 // 1000)) if machine.chance(0.05) else None

    def _correction_mu(self, glucose: int) -> int:
        if glucose <= 130:
            return 0
        wanted_u = (glucose - TARGET_MG_DL) / SENSITIVITY_MG_DL_PER_U - self.body.iob_u
        return max(0, round(wanted_u * 100) * 10)

    def _correct(self) -> None:
        glucose = self._seen_glucose()
        if self.machine.chance(0.5):
            glucose = self._prick()
        amount_mu = self._correction_mu(glucose)
        if amount_mu < 100:
            return
        origin = self.machine.rng.choice(("phone", "screen"))
        request = BolusRequest(
            origin=origin,
            correction_mu=amount_mu,
            glucose=glucose,
            cancel_after_s=self._changes_mind(amount_mu, extended=False),
        )
        self.machine.after(7, lambda: self._request_bolus(lambda: request))

    def _request_bolus(self, make: Callable[[], BolusRequest], tries: int = 4) -> None:
        """Request a bolus; if the pump is suspended or busy, try again later."""
        machine = self.machine
        if not machine.worn or not tries:
            return
        immediate = any(each.extended_from_s is None for each in self.boluses.active)
        request = make()
        second_extended = bool(self.boluses.active) and request.extended_min
        if self.control.suspension is not None or immediate or second_extended:
            machine.after(RETRY_S, lambda: self._request_bolus(make, tries - 1))
            return
        self.boluses.request(request)
        if machine.chance(0.01):
            machine.after(machine.rng.randrange(17, 60), self.infusion_sites.occlusion)
        elif request.extended_min and machine.chance(0.08):
            machine.after(machine.rng.randrange(900, 4000), lambda: self.infusion_sites.predicted_low(25))

    def correct_automatically(self, predicted: float) -> None:
        """The control loop's own bolus, at most one per hour and none near another."""
        machine = self.machine
        if machine.now_s < self.boluses.last_start_s + AUTOMATIC_PAUSE_S or self.boluses.active:
            return
        wanted_u = 0.6 * ((predicted - TARGET_MG_DL) / SENSITIVITY_MG_DL_PER_U - self.body.iob_u)
        amount_mu = min(MAX_AUTOMATIC_MU, round(wanted_u * 1000))
        if amount_mu >= 100:
            glucose = self._seen_glucose()
            self.boluses.request(BolusRequest(origin="automatic", correction_mu=amount_mu, glucose=glucose))

    def _prick(self) -> int:
        machine = self.machine
        glucose = max(35, round(self.body.glucose * machine.rng.uniform(0.92, 1.08)))
        from_cgm = self.control.glucose is not None and machine.chance(0.3)
        if from_cgm:
            glucose = self._seen_glucose()
        iob = short_float(self.body.iob_u)
        record = machine.write(16, records.finger_stick(glucose, iob, from_cgm=from_cgm, remote=machine.chance(0.5)))
        ledger = machine.ledger
        ledger.iob.append((machine.now_s, iob, record.uploaded_s))
        if not from_cgm:
            ledger.finger_sticks.append(ledger.note("finger", machine.now_s, glucose, record.uploaded_s))
        return glucose

    def _carbs_only(self, carbs_g: int) -> None:
        machine = self.machine
        self.body.eat(carbs_g)
        record = machine.write(48, {"carbs": carbs_g})
        machine.ledger.carbs_only.append(machine.ledger.note("carbs", machine.now_s, carbs_g, record.uploaded_s))

    def _open_loop(self) -> None:
        """Switch the control loop off for some time, perhaps with a temporary rate."""
        machine, control = self.machine, self.control
        control.preferred = False
        if machine.chance(0.6):
            control.temp_mu_h = control.profile_mu_h() * machine.rng.choice((0, 50, 75, 120, 150)) // 100
        control.refresh()
        machine.after(machine.rng.randrange(1800, 9000), self._close_loop)

    def _close_loop(self) -> None:
        self.control.preferred = True
        self.control.temp_mu_h = None
        self.control.refresh()

    def _react_oddly(self, sensitivity: float, minutes: int) -> None:
        """Change the insulin sensitivity for some time: an illness or a bad site lowers it, a long walk raises it."""
        usual, self.body.sensitivity = self.body.sensitivity, sensitivity

        def over() -> None:
            self.body.sensitivity = usual

        self.machine.after(minutes * 60, over)

    def _switch_profile(self) -> None:
        self.profile = 1 - self.profile
        idp, name, segments = PROFILES[self.profile]
        switched = {"idp": idp, "status": 3, "sourceIdp": 1 - idp, **records.profile_name(0, name)}
        self.machine.write(69, switched)
        self.machine.write(57, {"idp": idp, **records.profile_name(8, name)})
        self.control.segments = segments
        self.on_profile(self.profile)
        self.control.refresh()
