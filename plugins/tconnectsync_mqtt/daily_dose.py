"""The insulin of the present day by the pump's own clock: basal and boluses."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from tconnectsync import Event, events
from tconnectsync.events.basal_rates import CONFIRMED_FOR
from tconnectsync.events.bolus_amounts import BolusAmount, count
from tconnectsync.events.limits import MAX_RATE_U_PER_H, is_possible

KINDS = frozenset(
    {
        "basal.delivered", "bolus.completed", "bolus.delivered", "bolus.extended_completed", "day.summary", "day.started",
        "pumping.suspended",
    }
)  # fmt: skip


SHORT_GAP_S, SHORT_GAP_SHARE = 900.0, 0.05
"""The dose of a day with a longer time without a known rate than both is too low to be shown."""


@attrs.frozen(kw_only=True)
class DailyDose:
    """Insulin since ``began_at``, the UTC time of the pump's last midnight, and the rate in force at ``at``, if it is known.

    The rate applies until ``rate_until`` (None: until another record). For ``unknown_s`` of the day no rate is known.
    ``ends_at`` is the next midnight by its newest record. A bolus with several records is counted once, by the larger sum of its
    records. ``lacks_begin``: the wearer set the clock to a day that had begun before what is counted.
    """

    began_at: datetime | None = None
    ends_at: datetime | None = None
    lacks_begin: bool = False
    insulin_u: float = 0.0
    at: datetime | None = None
    rate_u_per_h: float | None = None
    rate_until: datetime | None = None
    unknown_s: float = 0.0
    boluses: tuple[BolusAmount, ...] = ()

    @property
    def lacks_basal(self) -> bool:
        """Whether records are missing, so that the pump delivered more since midnight than is counted."""
        if self.at is None or self.began_at is None:
            return False
        return self.unknown_s > max(SHORT_GAP_S, SHORT_GAP_SHARE * (self.at - self.began_at).total_seconds())

    @property
    def is_suspended(self) -> bool:
        """Whether delivery was stopped and nothing was delivered since."""
        return self.rate_u_per_h == 0.0 and self.rate_until is None


def after(dose: DailyDose, event: Event) -> DailyDose:
    """Return the dose once ``event`` happened; ``event`` is of one of :data:`KINDS`."""
    body, at = event.body, event.at
    if at is None:
        raise ValueError(f"event {event.id} has no UTC time")
    midnight = event.pump_time.replace(hour=0, minute=0, second=0, microsecond=0)
    began_at = at - (event.pump_time - midnight)
    dose = attrs.evolve(_with_basal(_on_day(dose, began_at), at), ends_at=began_at + timedelta(days=1))
    if isinstance(body, events.BasalDelivered):
        return _with_rate(dose, body, at)
    if isinstance(body, events.PumpingSuspended):
        return attrs.evolve(dose, rate_u_per_h=0.0, rate_until=None)
    if isinstance(body, events.BolusCompleted | events.BolusExtendedCompleted | events.BolusDelivered):
        counted = count(dose.boluses, body)
        if counted is not None:
            insulin_u = round(dose.insulin_u + counted.more_u, 6)
            return attrs.evolve(dose, insulin_u=insulin_u, boluses=counted.boluses)
    return dose


def _on_day(dose: DailyDose, began_at: datetime) -> DailyDose:
    """Return the dose on the day that began at ``began_at`` by the pump's clock: that of a new day is 0.

    A journey makes the day longer or shorter, until the pump's next midnight. If it skips most of a day, the dose since that
    midnight is unknown: a part of it was counted for the day before.
    """
    if dose.began_at is None:
        return attrs.evolve(dose, began_at=began_at)
    begins = began_at > dose.began_at and (dose.at is None or dose.at <= began_at)
    if begins or began_at - dose.began_at > timedelta(hours=12):
        return attrs.evolve(dose, began_at=began_at, insulin_u=0.0, unknown_s=0.0, lacks_begin=not begins)
    return dose


def _with_rate(dose: DailyDose, body: events.BasalDelivered, at: datetime) -> DailyDose:
    """A row with its own length applies as long, a record of the pump as long as it is confirmed."""
    if not is_possible(body.rate_u_per_h, 0.0, MAX_RATE_U_PER_H):
        return attrs.evolve(dose, rate_u_per_h=None)
    if (body.rate_u_per_h == 0 and dose.is_suspended) or (body.span_s is not None and body.span_s <= 0):
        return dose  # a pump also records the rate 0 while it is stopped
    length = CONFIRMED_FOR if body.span_s is None else timedelta(seconds=body.span_s)
    return attrs.evolve(dose, rate_u_per_h=float(body.rate_u_per_h), rate_until=at + length)


def _with_basal(dose: DailyDose, at: datetime) -> DailyDose:
    """Add the basal insulin until ``at``. Every record of the pump confirms the rate."""
    since, midnight = dose.at, dose.began_at
    if since is None or midnight is None or at <= since:
        return attrs.evolve(dose, at=at if since is None else max(at, since))
    begin = min(at, max(since, midnight))
    confirmed = at if dose.rate_until is None else min(at, max(dose.rate_until, since + CONFIRMED_FOR))
    until = begin if dose.rate_u_per_h is None else max(begin, confirmed)
    amount = (dose.rate_u_per_h or 0.0) * ((until - begin) / timedelta(hours=1))
    return attrs.evolve(
        dose,
        at=at,
        insulin_u=round(dose.insulin_u + amount, 6),
        unknown_s=dose.unknown_s + (at - until).total_seconds(),
    )
