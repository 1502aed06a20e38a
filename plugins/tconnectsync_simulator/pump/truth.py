"""The truth about a simulated pump in true UTC, recorded by the simulation, without the product's code."""

from __future__ import annotations

from datetime import datetime, timezone

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
