"""The known part of a simulated pump's truth at some time, and the truths of several pumps together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import attrs

from tconnectsync_simulator.pump.pump import SimulatedPump
from tconnectsync_simulator.pump.truth import Truth, utc


def known_at(truth: Truth, when: datetime) -> Truth:
    """Return what was completely in the cloud at ``when``. A bolus with missing records counts as running."""

    def basal_known(hour: datetime) -> bool:
        return truth.basal_uploaded_at.get(hour, truth.end) <= when

    return attrs.evolve(
        truth,
        end=min(truth.end, when),
        boluses=tuple(
            bolus if bolus.uploaded_at <= when else attrs.evolve(bolus, ended_at=None, reason="running")
            for bolus in truth.boluses
            if bolus.requested_at <= when
        ),
        basal_u_per_hour={hour: u for hour, u in truth.basal_u_per_hour.items() if basal_known(hour)},
        suspensions=_known(truth.suspensions, when),
        modes=_known(truth.modes, when),
        alarms=_known(truth.alarms, when),
        fills=_known(truth.fills, when),
        carbs_only=_known(truth.carbs_only, when),
        sensor_starts=_known(truth.sensor_starts, when),
        finger_sticks=_known(truth.finger_sticks, when),
        glucose=_known(truth.glucose, when),
        iob=_known(truth.iob, when),
    )


class _Uploaded(Protocol):
    @property
    def uploaded_at(self) -> datetime: ...


Fact = TypeVar("Fact", bound=_Uploaded)


def _known(facts: Sequence[Fact], when: datetime) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts if fact.uploaded_at <= when)


def all_uploaded_at(pump: SimulatedPump) -> datetime:
    """The time from which the cloud has every record."""
    return utc(max((record.uploaded_s for record in pump.log), default=0))


def merge(truths: Iterable[Truth]) -> Truth:
    """Merge the truths of one person's pumps; each delivered only while it was worn."""
    parts = tuple(truths)
    basal: dict[datetime, float] = {}
    uploaded: dict[datetime, datetime] = {}
    for part in parts:
        for hour, amount in part.basal_u_per_hour.items():
            basal[hour] = basal.get(hour, 0.0) + amount
        for hour, when in part.basal_uploaded_at.items():
            uploaded[hour] = max(uploaded.get(hour, when), when)
    return Truth(
        begin=min(part.begin for part in parts),
        end=max(part.end for part in parts),
        boluses=tuple(sorted((b for part in parts for b in part.boluses), key=lambda each: each.started_at)),
        basal_u_per_hour=basal,
        basal_uploaded_at=uploaded,
        basal_known_until=max((part.basal_known_until for part in parts if part.basal_known_until), default=None),
        suspensions=tuple(s for part in parts for s in part.suspensions),
        modes=tuple(m for part in parts for m in part.modes),
        alarms=tuple(a for part in parts for a in part.alarms),
        fills=tuple(f for part in parts for f in part.fills),
        carbs_only=tuple(c for part in parts for c in part.carbs_only),
        sensor_starts=tuple(s for part in parts for s in part.sensor_starts),
        finger_sticks=tuple(f for part in parts for f in part.finger_sticks),
        glucose=tuple(sorted((g for part in parts for g in part.glucose), key=lambda each: each.at)),
        iob=tuple(sorted((i for part in parts for i in part.iob), key=lambda each: each.at)),
    )
