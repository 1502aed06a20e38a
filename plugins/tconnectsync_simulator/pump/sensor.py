"""The glucose sensor: readings, lost signals with later backfill, sessions and alerts."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import attrs

from tconnectsync_simulator.pump import records
from tconnectsync_simulator.pump.glucose_model import Body
from tconnectsync_simulator.pump.machine import Machine

READING_S = 300
LOG_DELAY_S = 3
WARM_UP_S = 1800
LIFE_S = 10 * 86_400 + 12 * 3600
SIGNAL_ALERT_S = 1500
HIGH_MG_DL, LOW_MG_DL, URGENT_LOW_MG_DL = 200, 80, 55
URGENT, HIGH, LOW, SIGNAL_LOSS = 1, 2, 3, 14  # 369 dalertId


@attrs.frozen
class Missed:
    """A reading that the sensor stored during a lost signal."""

    at_s: int
    value: int


@attrs.define
class SimulatedSensor:
    """A G7. ``on_reading`` gets the glucose for the control loop (mg/dL; None: unknown) and its trend."""

    machine: Machine
    body: Body
    on_reading: Callable[[float | None, float], None]
    signature: int
    started_s: int
    _joined: bool = True
    _lost_until_s: int | None = None
    _lost_since_s: int = 0
    _missed: list[Missed] = attrs.field(factory=list)
    _alerts: set[int] = attrs.field(factory=set)

    def begin(self) -> None:
        """Start to send readings."""
        self.machine.after(self.machine.rng.randrange(10, READING_S), self._reading)

    def join(self) -> None:
        """The pump joins the session, perhaps again, and logs a 394 with the session's signature."""
        machine = self.machine
        age_s = machine.now_s - self.started_s
        record = machine.write(394, {"cgmTimestamp": age_s, "sessionSignature": self.signature})
        if not self._joined:
            machine.ledger.sensor_starts.append(
                machine.ledger.note("sensor", machine.now_s, self.signature, record.uploaded_s)
            )
        self._joined = True

    def lose_signal(self, minutes: float) -> None:
        """The pump receives nothing for some minutes; the sensor stores its readings."""
        if self._joined and self._lost_until_s is None:
            self._lost_since_s = self.machine.now_s
            self._lost_until_s = self.machine.now_s + round(minutes * 60)

    def _reading(self) -> None:
        machine = self.machine
        if not machine.worn:
            return
        machine.after(READING_S, self._reading)
        if not self._joined:
            return
        age_s = machine.now_s - self.started_s
        if age_s >= LIFE_S:
            self._replace(age_s)
            return
        value = round(self.body.glucose + machine.rng.gauss(0.0, 2.0))
        if self._lost_until_s is not None:
            self._unheard(value)
            return
        machine.skip(machine.rng.randrange(0, 3))
        if age_s < WARM_UP_S:
            self._write(6, 0, 127, LOG_DELAY_S, state=2)
            return
        if machine.chance(0.001):
            self._write(6, value, 0, LOG_DELAY_S, state=33)
            return
        self._log(value)
        self.on_reading(float(value), self.body.trend)
        if machine.chance(0.003):
            machine.after(2, lambda: self._log(value, LOG_DELAY_S + 2, repeated=True))
        self._alert(value)

    def _unheard(self, value: int) -> None:
        machine = self.machine
        silent_s = machine.now_s - self._lost_since_s
        self._missed.append(Missed(machine.now_s - LOG_DELAY_S, value))
        if silent_s >= SIGNAL_ALERT_S:
            self._raise(SIGNAL_LOSS, 25, 917)
            self.on_reading(None, 0.0)
        if self._lost_until_s is not None and machine.now_s >= self._lost_until_s:
            self._lost_until_s = None
            self._clear(SIGNAL_LOSS)
            kept = self._missed[len(self._missed) // 2 :] if machine.chance(0.2) else self._missed
            machine.after(machine.rng.randrange(4, 40), lambda: self._backfill(kept))
            self._missed = []

    def _backfill(self, missed: list[Missed]) -> None:
        if self.machine.worn:
            for each in missed:
                self._log(each.value, self.machine.now_s - each.at_s, backfill=True)

    def _log(self, value: int, age_s: int = LOG_DELAY_S, *, backfill: bool = False, repeated: bool = False) -> None:
        if value > 400:
            status, shown, mark = 1, value, "high"
        elif value < 40:
            status, shown, mark = 2, max(31, value), "low"
        else:
            status, shown, mark = 0, value, "value"
        trend = 0 if backfill else max(-80, min(80, round(self.body.trend * 10)))
        uploaded_s = self._write(status, shown, trend, age_s, backfill=backfill)
        if not repeated:
            self.machine.ledger.glucose.append((self.machine.now_s - age_s, value, mark, uploaded_s))

    def _write(
        self, status: int, value: int, trend: int, age_s: int, *, backfill: bool = False, state: int = 32
    ) -> int:
        machine = self.machine
        stamp = machine.clock.egv_time_stamp(machine.now_s) - age_s
        rssi = -machine.rng.randrange(50, 90)
        return machine.write(
            399, records.glucose_g7(status, value, trend, stamp, rssi, backfill=backfill, state=state)
        ).uploaded_s

    def _replace(self, age_s: int) -> None:
        machine = self.machine
        machine.write(447, records.sensor_stopped(age_s, ended_by_itself=machine.chance(0.8)))
        self._joined = False
        self._lost_until_s, self._missed = None, []
        self._clear(SIGNAL_LOSS)
        self.on_reading(None, 0.0)
        self.signature = (self.signature + machine.rng.randrange(1, 255)) % 256
        # the next sensor is often worn and warmed up before the old one expires
        self.started_s = machine.now_s - machine.rng.choice((0, 0, 900, 2700))
        machine.after(machine.rng.randrange(18, 900), self._join_next)

    def _join_next(self) -> None:
        if self.machine.worn:
            self.join()

    def _alert(self, value: int) -> None:
        for number, on, param2 in (
            (HIGH, value > HIGH_MG_DL, HIGH_MG_DL),
            (LOW, value < LOW_MG_DL, LOW_MG_DL),
            (URGENT, value < URGENT_LOW_MG_DL, URGENT_LOW_MG_DL),
        ):
            if on:
                self._raise(number, value, param2)
            else:
                self._clear(number)

    def _raise(self, number: int, param1: int, param2: int) -> None:
        machine = self.machine
        if number in self._alerts:
            return
        self._alerts.add(number)
        machine.write(369, records.sensor_alert(number, param1, param2))
        if machine.chance(0.6):
            acknowledged = {"dalertId": number, "sensorType": 3, "spareA2": 0, "ackSource": 0}
            machine.after(machine.rng.randrange(5, 600), partial(machine.write, 371, acknowledged))

    def _clear(self, number: int) -> None:
        if number in self._alerts:
            self._alerts.discard(number)
            self.machine.write(370, {"dalertId": number, "sensorType": 3})
