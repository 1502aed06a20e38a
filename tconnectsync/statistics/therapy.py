"""What a person's data say about the therapy: glucose, basal, boluses, carbs and modes as values with UTC times."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import attrs

from tconnectsync.timeline.spans import EARLIEST, LATEST, Span

HOUR = timedelta(hours=1)


@attrs.frozen(kw_only=True)
class GlucosePoint:
    """A sensor reading when it was measured. Above the sensor's range it is 401 mg/dL, below it 39; ``mark`` says so.

    ``mark``: "value", "high" or "low".
    """

    at: datetime
    glucose_mg_dl: float
    mark: str = "value"
    trend_mg_dl_per_min: float | None = None
    pump: str = ""


@attrs.frozen(kw_only=True)
class BasalSpan:
    """A constant basal rate from ``begin`` until just before ``end``; a suspension has rate 0 and perhaps a reason.

    ``rate_source``: suspended, profile, temp_rate, algorithm, temp_rate_and_algorithm, rate_change or unknown.
    """

    begin: datetime
    end: datetime
    rate_u_per_h: float
    rate_source: str = "unknown"
    suspended: bool = False
    reason: str | None = None
    pump: str = ""

    @property
    def insulin_u(self) -> float:
        """The insulin of the span."""
        return self.rate_u_per_h * ((self.end - self.begin) / HOUR)


@attrs.frozen(kw_only=True)
class Bolus:
    """One bolus, from all its records.

    ``immediate_u`` and ``extended_u`` are the delivered amounts so far; the extended part runs from ``extended_from`` to
    ``ended_at``. ``requested_u`` is what was asked for. ``ended_at`` None: no record says that it ended. ``status``: how the
    immediate or extended part ended, such as "completed" or "user_aborted".
    """

    bolus_id: int
    started_at: datetime
    ended_at: datetime | None = None
    immediate_u: float = 0.0
    extended_u: float = 0.0
    extended_from: datetime | None = None
    extended_until: datetime | None = None
    requested_u: float | None = None
    carbs_g: float | None = None
    glucose_mg_dl: float | None = None
    correction_u: float | None = None
    automatic: bool = False
    extended: bool = False
    status: str | None = None
    pump: str = ""

    @property
    def delivered_u(self) -> float:
        """Both parts together."""
        return self.immediate_u + self.extended_u

    @property
    def is_correction(self) -> bool:
        """Whether it corrects a high glucose, alone or together with a meal."""
        return self.automatic or (self.correction_u or 0.0) > 0.0

    def delivered_between(self, begin: datetime, end: datetime) -> float:
        """Return what was delivered in a period: the immediate part when it began, the extended part evenly while it ran."""
        amount = self.immediate_u if begin <= self.started_at < end else 0.0
        if not self.extended_u:
            return amount
        since = self.extended_from or self.started_at
        until = max(self.extended_until or since, since)
        if until == since:
            return amount + (self.extended_u if begin <= since < end else 0.0)
        share = (min(until, end) - max(since, begin)) / (until - since)
        return amount + self.extended_u * max(0.0, share)


@attrs.frozen(kw_only=True)
class CarbEntry:
    """Carbs that were entered without a bolus."""

    at: datetime
    carbs_g: float
    pump: str = ""


@attrs.frozen(kw_only=True)
class ModeSpan:
    """Sleep or exercise, from ``begin`` until ``end``; None: it has not ended."""

    begin: datetime
    end: datetime | None
    mode: str
    pump: str = ""


Timed = TypeVar("Timed", BasalSpan, ModeSpan)
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Therapy:
    """The therapy in a period, each kind in time order. ``until``: the newest event that was read; None if there is none."""

    glucose: Sequence[GlucosePoint] = ()
    basal: Sequence[BasalSpan] = ()
    boluses: Sequence[Bolus] = ()
    carbs: Sequence[CarbEntry] = ()
    modes: Sequence[ModeSpan] = ()
    until: datetime | None = None

    def while_active(self, spans: Sequence[Span]) -> Therapy:
        """Return the part in which the pump was the active one; ``spans`` are sorted and do not overlap."""
        if spans == (Span(),):
            return self
        parts = merged(self.between(span.begin or EARLIEST, span.end or LATEST, extended=False) for span in spans)
        return attrs.evolve(parts, until=self.until)

    def between(self, begin: datetime, end: datetime, *, extended: bool = True) -> Therapy:
        """Return the part with begin <= time < end. Basal and modes are cut at the bounds; boluses count by their start.

        ``extended``: also a bolus from before ``begin`` whose extended part goes on after it.
        """
        boluses = [
            bolus
            for bolus in _up_to(self.boluses, end, _started_at)
            if bolus.started_at >= begin
            or (extended and bolus.extended_until is not None and bolus.extended_until > begin)
        ]
        return Therapy(
            glucose=_within(self.glucose, begin, end, _at),
            basal=[part for each in self._basal_of(begin, end) for part in _cut(each, begin, end)],
            boluses=boluses,
            carbs=_within(self.carbs, begin, end, _at),
            modes=[part for each in _up_to(self.modes, end, _begin) for part in _cut(each, begin, end)],
            until=self.until,
        )

    def _basal_of(self, begin: datetime, end: datetime) -> Sequence[BasalSpan]:
        """Return the spans that may reach into the period: they do not overlap."""
        first = max(0, bisect_left(self.basal, begin, key=_begin) - 1)
        return self.basal[first : bisect_left(self.basal, end, key=_begin)]


def _at(item: GlucosePoint | CarbEntry) -> datetime:
    return item.at


def _begin(item: BasalSpan | ModeSpan) -> datetime:
    return item.begin


def _started_at(bolus: Bolus) -> datetime:
    return bolus.started_at


def _within(items: Sequence[T], begin: datetime, end: datetime, time_of: Callable[[T], datetime]) -> Sequence[T]:
    return items[bisect_left(items, begin, key=time_of) : bisect_left(items, end, key=time_of)]


def _up_to(items: Sequence[T], end: datetime, time_of: Callable[[T], datetime]) -> Sequence[T]:
    return items[: bisect_left(items, end, key=time_of)]


def merged(parts: Iterable[Therapy]) -> Therapy:
    """Return the therapy of several pumps or streams as one."""
    parts = list(parts)
    return Therapy(
        glucose=sorted((each for part in parts for each in part.glucose), key=lambda each: each.at),
        basal=sorted((each for part in parts for each in part.basal), key=lambda each: each.begin),
        boluses=sorted((each for part in parts for each in part.boluses), key=lambda each: each.started_at),
        carbs=sorted((each for part in parts for each in part.carbs), key=lambda each: each.at),
        modes=sorted((each for part in parts for each in part.modes), key=lambda each: each.begin),
        until=max((part.until for part in parts if part.until is not None), default=None),
    )


def _cut(span: Timed, begin: datetime, end: datetime) -> list[Timed]:
    """Return the part of ``span`` between two times, if there is one."""
    begins, ends = max(span.begin, begin), min(span.end or LATEST, end)
    if begins >= ends:
        return []
    if begins == span.begin and ends == (span.end or LATEST):
        return [span]
    bounds: dict[str, Any] = {"begin": begins, "end": None if ends == LATEST else ends}
    return [attrs.evolve(span, **bounds)]
