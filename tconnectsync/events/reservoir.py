"""The insulin left in the cartridge: the amount that the pump reported last, minus the insulin delivered since."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from tconnectsync import events
from tconnectsync.events import Event
from tconnectsync.events.basal_rates import CONFIRMED_FOR
from tconnectsync.events.bolus_amounts import BolusAmount, count
from tconnectsync.events.limits import MAX_BOLUS_U, MAX_RATE_U_PER_H, MAX_VOLUME_U, is_possible

KINDS = frozenset(
    {
        "basal.delivered",
        "bolus.completed",
        "bolus.delivered",
        "bolus.extended_completed",
        "cannula.filled",
        "cartridge.filled",
        "pumping.resumed",
        "pumping.suspended",
        "tubing.filled",
    }
)


class Reservoir(msgspec.Struct, frozen=True, kw_only=True):
    """``left_u`` in the cartridge at ``at`` (None: unknown), and the rate in force since then."""

    left_u: float | None = None
    at: datetime | None = None
    rate_u_per_h: float = 0.0
    boluses: tuple[BolusAmount, ...] = ()

    @property
    def shown_u(self) -> float | None:
        """The amount left; None if it is unknown or came out negative."""
        return None if self.left_u is None or self.left_u < 0 else self.left_u


def after(reservoir: Reservoir, event: Event) -> Reservoir:
    """The reservoir once ``event`` happened; ``event`` is of one of :data:`KINDS`."""
    body, at = event.body, event.at
    if at is None:
        raise ValueError(f"event {event.id} has no UTC time")
    if isinstance(body, events.CartridgeFilled):
        return _reported(body.volume_u or body.measured_u, at)
    if isinstance(body, events.PumpingSuspended | events.PumpingResumed) and body.reservoir_u is not None:
        return _reported(body.reservoir_u, at)
    reservoir = _basal_until(reservoir, at)
    if isinstance(body, events.BasalDelivered):
        known = is_possible(body.rate_u_per_h, 0.0, MAX_RATE_U_PER_H)
        return msgspec.structs.replace(reservoir, rate_u_per_h=body.rate_u_per_h) if known else Reservoir()
    if isinstance(body, events.PumpingSuspended):
        return msgspec.structs.replace(reservoir, rate_u_per_h=0.0)
    if isinstance(body, events.TubingFilled | events.CannulaFilled):
        return _less(reservoir, body.prime_u, MAX_VOLUME_U)
    if isinstance(body, events.BolusCompleted | events.BolusExtendedCompleted):
        return _less_bolus(reservoir, body)
    if isinstance(body, events.BolusDelivered) and body.status == "completed":
        return _less_bolus(reservoir, body)
    return reservoir


def _reported(left_u: float | None, at: datetime) -> Reservoir:
    if left_u is None or not is_possible(left_u, 0.0, MAX_VOLUME_U):
        return Reservoir()
    return Reservoir(left_u=left_u, at=at)


def _less(reservoir: Reservoir, amount_u: float | None, max_u: float) -> Reservoir:
    if reservoir.left_u is None:
        return reservoir
    if amount_u is None or not is_possible(amount_u, 0.0, max_u):
        return Reservoir()
    return msgspec.structs.replace(reservoir, left_u=round(reservoir.left_u - amount_u, 6))


def _basal_until(reservoir: Reservoir, at: datetime) -> Reservoir:
    if reservoir.left_u is None or reservoir.at is None or at <= reservoir.at:
        return reservoir
    spent = at - reservoir.at
    if reservoir.rate_u_per_h and spent > CONFIRMED_FOR:
        return Reservoir()
    amount_u = reservoir.rate_u_per_h * (spent / timedelta(hours=1))
    return msgspec.structs.replace(_less(reservoir, amount_u, MAX_VOLUME_U), at=at)


def _less_bolus(
    reservoir: Reservoir, body: events.BolusCompleted | events.BolusExtendedCompleted | events.BolusDelivered
) -> Reservoir:
    counted = count(reservoir.boluses, body)
    if counted is None:
        return Reservoir()
    return msgspec.structs.replace(_less(reservoir, counted.more_u, MAX_BOLUS_U), boluses=counted.boluses)
