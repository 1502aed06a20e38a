"""The insulin of the present day by the pump's own clock: basal and boluses."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import attrs
import msgspec

from tconnectsync import Event, events
from tconnectsync.events.basal_rates import CONFIRMED_FOR
from tconnectsync.events.limits import MAX_BOLUS_U, MAX_RATE_U_PER_H, is_possible
from tconnectsync.events.reservoir import BOLUSES_KEPT, BolusAmount

KINDS = frozenset(
    {
        "basal.delivered", "bolus.completed", "bolus.delivered", "bolus.extended_completed", "day.summary", "day.started",
        "pumping.suspended",
    }
)  # fmt: skip


@attrs.frozen(kw_only=True)
class DailyDose:
    """Insulin since ``began_at``, the UTC time of the pump's last midnight, and the rate in force at ``at``.

    A bolus with several records is counted once, by the larger sum of its records.
    """

    began_at: datetime | None = None
    insulin_u: float = 0.0
    at: datetime | None = None
    rate_u_per_h: float = 0.0
    boluses: tuple[BolusAmount, ...] = ()


def after(dose: DailyDose, event: Event) -> DailyDose:
    """Return the dose once ``event`` happened; ``event`` is of one of :data:`KINDS`."""
    body, at = event.body, event.at
    if at is None:
        raise ValueError(f"event {event.id} has no UTC time")
    midnight = event.pump_time.replace(hour=0, minute=0, second=0, microsecond=0)
    began_at = at - (event.pump_time - midnight)
    if dose.began_at is None or began_at - dose.began_at > timedelta(hours=12):
        dose = attrs.evolve(dose, began_at=began_at, insulin_u=0.0)
    dose = _with_basal(dose, at)
    if isinstance(body, events.BasalDelivered):
        known = is_possible(body.rate_u_per_h, 0.0, MAX_RATE_U_PER_H)
        return attrs.evolve(dose, rate_u_per_h=float(body.rate_u_per_h) if known else 0.0)
    if isinstance(body, events.PumpingSuspended):
        return attrs.evolve(dose, rate_u_per_h=0.0)
    if isinstance(body, events.BolusCompleted):
        return _with_bolus(dose, body.bolus_id, "immediate_u", body.delivered_u)
    if isinstance(body, events.BolusExtendedCompleted):
        return _with_bolus(dose, body.bolus_id, "extended_u", body.delivered_u)
    if isinstance(body, events.BolusDelivered):
        return _with_bolus(dose, body.bolus_id, "together_u", body.delivered_u)
    return dose


def _with_basal(dose: DailyDose, at: datetime) -> DailyDose:
    """Add the basal insulin until ``at``. After a silence the rate counts as long as it was confirmed."""
    since, midnight = dose.at, dose.began_at
    if since is None or midnight is None or at <= since:
        return attrs.evolve(dose, at=at if since is None else max(at, since))
    until = min(at, since + CONFIRMED_FOR)
    span = max(until - max(since, midnight), timedelta())
    amount = dose.rate_u_per_h * (span / timedelta(hours=1))
    return attrs.evolve(dose, at=at, insulin_u=round(dose.insulin_u + amount, 6))


def _with_bolus(dose: DailyDose, bolus_id: int, part: str, delivered_u: float | None) -> DailyDose:
    if delivered_u is None or not is_possible(delivered_u, 0.0, MAX_BOLUS_U):
        return dose
    before = next((bolus for bolus in dose.boluses if bolus.bolus_id == bolus_id), BolusAmount(bolus_id=bolus_id))
    parts: dict[str, Any] = {part: float(delivered_u)}
    now = msgspec.structs.replace(before, **parts)
    others = tuple(bolus for bolus in dose.boluses if bolus is not before)
    more = max(0.0, now.delivered_u - before.delivered_u)
    return attrs.evolve(
        dose, insulin_u=round(dose.insulin_u + more, 6), boluses=(*others, now)[-BOLUSES_KEPT:]
    )  # fmt: skip
