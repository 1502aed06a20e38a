"""Boluses: request, immediate part, extended part, and interruptions."""

from __future__ import annotations

import attrs

from tconnectsync_simulator.pump import records
from tconnectsync_simulator.pump.glucose_model import Body
from tconnectsync_simulator.pump.ledger import OpenBolus
from tconnectsync_simulator.pump.machine import Machine
from tconnectsync_simulator.pump.records import SimulatedRecord, short_float, units

REASONS = {0: "user", 1: "alarm", 3: "completed", 6: "plgs"}  # by 20/21 completionStatus
SECONDS_PER_U = 28
START_DELAY_S = 15
LAST_ID = 65_535


@attrs.frozen(kw_only=True)
class Origin:
    """How a bolus was requested: 65 ``options`` (standard, extended), 280 ``bolusSource``, and the 64 type."""

    standard: int
    extended: int
    source: int
    kind: str
    delay_s: int = START_DELAY_S
    tells_settings: bool = False  # whether the request has carb ratio, sensitivity and target


ORIGINS = {
    "phone": Origin(standard=4, extended=5, source=8, kind="manual"),
    "screen": Origin(standard=0, extended=1, source=1, kind="manual", tells_settings=True),
    "quick": Origin(standard=2, extended=2, source=0, kind="quick"),
    "automatic": Origin(standard=3, extended=3, source=7, kind="automatic", delay_s=1),
}


@attrs.frozen(kw_only=True)
class BolusRequest:
    """A requested bolus; insulin in mU."""

    origin: str
    plain_mu: int = 0  # a plain amount, without a reason
    food_mu: int = 0
    correction_mu: int = 0
    carbs_g: int = 0
    glucose: int = 0
    percent_now: int = 100
    extended_min: int = 0
    override_mu: int | None = None  # requested by the wearer instead of the sum
    declined: bool = False
    cancel_after_s: int | None = None  # after the start of delivery; 0: before it


@attrs.define(kw_only=True)
class SimulatedDelivery:
    """A bolus that is being delivered."""

    request: BolusRequest
    bolus: OpenBolus
    bits: list[int]
    immediate_until_s: int = 0
    extended_from_s: int | None = None
    taken_mu: float = 0.0


@attrs.define
class Boluses:
    machine: Machine
    body: Body
    next_id: int
    active: list[SimulatedDelivery] = attrs.field(factory=list)
    last_start_s: int = 0

    def request(self, request: BolusRequest) -> None:
        """Log 64, 65 and 66; delivery begins some seconds later."""
        machine, origin = self.machine, ORIGINS[request.origin]
        bolus_id, self.next_id = self.next_id, self.next_id % LAST_ID + 1
        total_mu = request.override_mu
        if total_mu is None:
            total_mu = request.plain_mu + request.food_mu + request.correction_mu
        extended = request.extended_min > 0
        now_mu = total_mu * request.percent_now // 100 if extended else total_mu
        bolus = OpenBolus(
            bolus_id=bolus_id,
            kind=origin.kind,
            requested_s=machine.now_s,
            started_s=machine.now_s + origin.delay_s,
            now_mu=now_mu,
            later_mu=total_mu - now_mu,
            extended_min=request.extended_min,
            carbs_g=request.carbs_g,
        )
        machine.ledger.boluses.append(bolus)
        machine.skip(machine.rng.randrange(0, 5))
        self._requested(request, origin, bolus, total_mu, extended=extended)
        bits = [records.NOW] if now_mu else []
        bits += [records.LATER] if bolus.later_mu else []
        bits += [records.OVERRIDE] if request.override_mu is not None else []
        bits += [records.CORRECTION] if request.correction_mu else []
        bits += [records.CARB] if request.food_mu else []
        delivery = SimulatedDelivery(request=request, bolus=bolus, bits=bits)
        self.active.append(delivery)
        self.last_start_s = machine.now_s
        machine.after(origin.delay_s, lambda: self._start(delivery))

    def _requested(
        self, request: BolusRequest, origin: Origin, bolus: OpenBolus, total_mu: int, *, extended: bool
    ) -> None:
        tells = origin.tells_settings
        if request.origin == "automatic":
            kind = 2
        elif request.origin == "phone":
            kind = 3
        else:
            kind = 1 if request.carbs_g else 0
        iob = round(self.body.iob_u, 2) if request.origin == "phone" else short_float(self.body.iob_u)
        self._write(
            64,
            records.bolus_request_1(
                bolus.bolus_id,
                kind,
                request.correction_mu > 0,
                request.carbs_g,
                request.glucose,
                short_float(iob),
                8000 if tells and request.carbs_g else 0,
            ),
            bolus,
        )
        self._iob(short_float(iob), bolus.uploaded_s)
        self._write(
            65,
            records.bolus_request_2(
                bolus.bolus_id,
                origin.extended if extended else origin.standard,
                request.percent_now if extended else 100,
                request.extended_min,
                isf=40 if tells else 0,
                target=110 if tells else 0,
                override=request.override_mu is not None,
                declined=request.declined,
            ),
            bolus,
        )
        self._write(
            66,
            records.bolus_request_3(
                bolus.bolus_id, units(request.food_mu), units(request.correction_mu), units(total_mu, self._ulps())
            ),
            bolus,
        )

    def _start(self, delivery: SimulatedDelivery) -> None:
        if delivery not in self.active:
            return
        machine, bolus = self.machine, delivery.bolus
        bolus.started_s = machine.now_s
        machine.skip(machine.rng.randrange(3, 9))
        if bolus.now_mu or not bolus.later_mu:
            iob = short_float(self.body.iob_u)
            self._iob(
                iob, self._write(55, records.bolus_started(bolus.bolus_id, iob, units(bolus.now_mu)), bolus).uploaded_s
            )
            self._progress(delivery, records.CONTINUED, 0)
            seconds = max(12, bolus.now_mu * SECONDS_PER_U // 1000)
            delivery.immediate_until_s = machine.now_s + seconds
            machine.after(seconds, lambda: self._immediate_done(delivery))
        else:
            delivery.immediate_until_s = machine.now_s
            self._extend(delivery, first=True)
        if delivery.request.cancel_after_s is not None:
            machine.after(delivery.request.cancel_after_s, lambda: self.interrupt(0, only=delivery))

    def _immediate_done(self, delivery: SimulatedDelivery) -> None:
        if delivery not in self.active:
            return
        self._end_immediate(delivery, 3, float(delivery.bolus.now_mu))
        if delivery.bolus.later_mu:
            self.machine.skip(1)
            self._extend(delivery, first=False)
        else:
            self._close(delivery, 3)

    def _end_immediate(self, delivery: SimulatedDelivery, status: int, delivered_mu: float) -> None:
        bolus = delivery.bolus
        bolus.immediate_mu = delivered_mu
        self._take(delivery, delivered_mu)
        self.machine.skip(self.machine.rng.randrange(2, 8))
        if not bolus.later_mu or status != 3:
            self._progress(delivery, records.COMPLETED, round(delivered_mu))
            self.machine.skip(1)
        self._completed(20, status, bolus, delivered_mu, bolus.now_mu)

    def _extend(self, delivery: SimulatedDelivery, *, first: bool) -> None:
        machine, bolus = self.machine, delivery.bolus
        delivery.extended_from_s = machine.now_s
        iob = short_float(self.body.iob_u)
        size = units(bolus.later_mu)
        self._iob(iob, self._write(59, records.extended_started(bolus.bolus_id, iob, size), bolus).uploaded_s)
        for _ in range(1 if first else 2):
            self._progress(delivery, records.CONTINUED, bolus.now_mu)
        machine.after(machine.rng.randrange(100, 300), lambda: self._extended_tick(delivery))
        machine.after(bolus.extended_min * 60, lambda: self._extended_done(delivery))

    def _extended_tick(self, delivery: SimulatedDelivery) -> None:
        if delivery not in self.active:
            return
        machine, bolus = self.machine, delivery.bolus
        bolus.extended_mu = self._extended_so_far(delivery)
        self._take(delivery, bolus.immediate_mu + bolus.extended_mu)
        total_mu = round(bolus.immediate_mu + bolus.extended_mu)
        for _ in range(2 if machine.chance(0.1) else 1):
            self._progress(delivery, records.CONTINUED, total_mu)
        machine.after(machine.rng.choice((300, 300, 301, 600)), lambda: self._extended_tick(delivery))

    def _extended_so_far(self, delivery: SimulatedDelivery) -> float:
        begin_s = delivery.extended_from_s
        if begin_s is None:
            return 0.0
        share = (self.machine.now_s - begin_s) / (delivery.bolus.extended_min * 60)
        return delivery.bolus.later_mu * min(1.0, share)

    def _extended_done(self, delivery: SimulatedDelivery) -> None:
        if delivery in self.active:
            self._end_extended(delivery, 3)

    def _end_extended(self, delivery: SimulatedDelivery, status: int) -> None:
        bolus = delivery.bolus
        bolus.extended_mu = float(bolus.later_mu) if status == 3 else self._extended_so_far(delivery)
        self._take(delivery, bolus.immediate_mu + bolus.extended_mu)
        self._completed(21, status, bolus, bolus.extended_mu, bolus.later_mu)
        self._progress(delivery, records.COMPLETED, round(bolus.immediate_mu + bolus.extended_mu))
        self._close(delivery, status)

    def interrupt(self, status: int, only: SimulatedDelivery | None = None) -> None:
        """Stop all boluses now; what was delivered counts."""
        machine = self.machine
        for delivery in list(self.active):
            if only is not None and delivery is not only:
                continue
            bolus = delivery.bolus
            if delivery.extended_from_s is not None:
                self._end_extended(delivery, status)
                continue
            if not delivery.immediate_until_s:
                # requested but not started: the pump logs start and end at once
                self._start(delivery)
                if delivery.extended_from_s is not None:
                    self._end_extended(delivery, status)
                    continue
            share = 1 - (delivery.immediate_until_s - machine.now_s) / (delivery.immediate_until_s - bolus.started_s)
            self._end_immediate(delivery, status, bolus.now_mu * min(1.0, max(0.0, share)))
            self._close(delivery, status)

    def _close(self, delivery: SimulatedDelivery, status: int) -> None:
        self.active.remove(delivery)
        delivery.bolus.ended_s = self.machine.now_s
        delivery.bolus.reason = REASONS[status]

    def _take(self, delivery: SimulatedDelivery, total_mu: float) -> None:
        more_mu = total_mu - delivery.taken_mu
        delivery.taken_mu = total_mu
        self.machine.reservoir_mu -= more_mu
        self.body.take(more_mu / 1000)
        self.body.board(more_mu / 1000)

    def _completed(self, code: int, status: int, bolus: OpenBolus, delivered_mu: float, requested_mu: int) -> None:
        iob = short_float(self.body.iob_u)
        delivered = units(delivered_mu, self._ulps() if status == 3 else 0)
        end = records.bolus_completed(status, bolus.bolus_id, iob, delivered, units(requested_mu))
        self._iob(iob, self._write(code, end, bolus).uploaded_s)

    def _progress(self, delivery: SimulatedDelivery, status: int, total_mu: int) -> None:
        bolus = delivery.bolus
        self._write(
            280,
            {
                "bolusId": bolus.bolus_id,
                "bolusDeliveryStatus": status,
                "bolusType": list(delivery.bits),
                "bolusSource": ORIGINS[delivery.request.origin].source,
                "remoteId": bolus.bolus_id & 0xFF,
                "requestedNow": bolus.now_mu,
                "requestedLater": bolus.later_mu,
                "correction": delivery.request.correction_mu,
                "extendedDurationRequested": bolus.extended_min,
                "deliveredTotal": total_mu,
            },
            bolus,
        )

    def _write(self, code: int, properties: records.Properties, bolus: OpenBolus) -> SimulatedRecord:
        record = self.machine.write(code, properties)
        bolus.uploaded_s = max(bolus.uploaded_s, record.uploaded_s)
        return record

    def _iob(self, iob_u: float, uploaded_s: int) -> None:
        self.machine.ledger.iob.append((self.machine.now_s, iob_u, uploaded_s))

    def _ulps(self) -> int:
        return self.machine.rng.choice((0, 0, 0, 0, 1, -1, -2))
