"""Several pumps of one person."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import attrs

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate


def hand_over(plan: SimulationPlan, at: datetime, *, serial: str = "1111122") -> tuple[SimulatedPump, SimulatedPump]:
    """Two pumps of one person: the plan's until ``at`` (aware), then in a drawer, and a new one from then on."""
    first_day = at.astimezone(ZoneInfo(plan.zone)).date()
    old = attrs.evolve(plan, worn_until=at)
    new = attrs.evolve(
        plan,
        serial=serial,
        start=first_day,
        days=plan.days - (first_day - plan.start).days,
        first_sequence=900,
        first_bolus_id=1,
        worn_from=at,
    )
    return simulate(old), simulate(new)
