"""The truth about a simulated pump in true UTC, recorded by the simulation, without the product's code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Protocol, TypeVar

import attrs

HOUR_S = 3600


def utc(at_s: float) -> datetime:
    """Convert Unix seconds to an aware time."""
    return datetime.fromtimestamp(at_s, timezone.utc)


@attrs.frozen(kw_only=True)
class TrueBolus:
    """One bolus. ``immediate_u`` and ``extended_u``: the delivered amounts; ``reason``: how it ended."""

    serial: str
    bolus_id: int
    requested_at: datetime
    started_at: datetime
    ended_at: datetime | None
    requested_u: float
    immediate_u: float
    extended_u: float
    carbs_g: int
    kind: str  # manual, quick, automatic
    extended_min: int  # as requested; 0: no extended part
    reason: str  # completed, user, alarm, plgs, running
    uploaded_at: datetime  # when its last record was in the cloud

    @property
    def delivered_u(self) -> float:
        """Both parts together."""
        return self.immediate_u + self.extended_u

    @property
    def finished(self) -> bool:
        """Whether the pump has logged its end."""
        return self.ended_at is not None


@attrs.frozen(kw_only=True)
class TrueSpan:
    """A suspension, sleep, exercise or alarm. ``ended_at`` is None if it has not ended."""

    serial: str
    name: str  # suspensions: user, alarm, plgs; modes: sleep, exercise; alarms: the alarm's number
    started_at: datetime
    ended_at: datetime | None
    uploaded_at: datetime


@attrs.frozen(kw_only=True)
class TrueMark:
    """An event at one time. Fills: ``name`` cartridge, tubing, cannula and ``value`` in U; carbs: g; sensors: signature."""

    serial: str
    name: str
    at: datetime
    value: float
    uploaded_at: datetime


@attrs.frozen(kw_only=True)
class TrueGlucose:
    """A sensor reading of the pump. ``mark`` is value, high or low; the number is valid only for value."""

    serial: str
    at: datetime
    glucose_mg_dl: int
    mark: str
    uploaded_at: datetime


@attrs.frozen(kw_only=True)
class TrueIob:
    """Insulin on board as the pump reported it."""

    serial: str
    at: datetime
    iob_u: float
    uploaded_at: datetime


@attrs.frozen(kw_only=True)
class Truth:
    """All events of one pump, or of all pumps of one person."""

    begin: datetime
    end: datetime
    boluses: tuple[TrueBolus, ...] = ()
    basal_u_per_hour: dict[datetime, float] = attrs.field(factory=dict, repr=False)
    basal_uploaded_at: dict[datetime, datetime] = attrs.field(factory=dict, repr=False)
    basal_known_until: datetime | None = None  # the time of the newest record about basal
    suspensions: tuple[TrueSpan, ...] = ()
    modes: tuple[TrueSpan, ...] = ()
    alarms: tuple[TrueSpan, ...] = ()
    fills: tuple[TrueMark, ...] = ()
    carbs_only: tuple[TrueMark, ...] = ()
    sensor_starts: tuple[TrueMark, ...] = ()
    finger_sticks: tuple[TrueMark, ...] = ()
    glucose: tuple[TrueGlucose, ...] = attrs.field(default=(), repr=False)
    iob: tuple[TrueIob, ...] = attrs.field(default=(), repr=False)

    def until(self, when: datetime) -> Truth:
        """Return what was completely in the cloud at ``when``. A bolus with missing records counts as running."""

        def basal_known(hour: datetime) -> bool:
            return self.basal_uploaded_at.get(hour, self.end) <= when

        return attrs.evolve(
            self,
            end=min(self.end, when),
            boluses=tuple(
                bolus if bolus.uploaded_at <= when else attrs.evolve(bolus, ended_at=None, reason="running")
                for bolus in self.boluses
                if bolus.requested_at <= when
            ),
            basal_u_per_hour={hour: u for hour, u in self.basal_u_per_hour.items() if basal_known(hour)},
            suspensions=_known(self.suspensions, when),
            modes=_known(self.modes, when),
            alarms=_known(self.alarms, when),
            fills=_known(self.fills, when),
            carbs_only=_known(self.carbs_only, when),
            sensor_starts=_known(self.sensor_starts, when),
            finger_sticks=_known(self.finger_sticks, when),
            glucose=_known(self.glucose, when),
            iob=_known(self.iob, when),
        )


class _Uploaded(Protocol):
    @property
    def uploaded_at(self) -> datetime: ...


Fact = TypeVar("Fact", bound=_Uploaded)


def _known(facts: Sequence[Fact], when: datetime) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts if fact.uploaded_at <= when)


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
