"""The content of a chart over some hours: the therapy, and bands and marks with words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from tconnectsync import BasalSpan, Bolus, CarbEntry, Event, GlucosePoint, Therapy, events

MARK_KINDS = frozenset(
    {
        "alarm.raised",
        "cannula.filled",
        "cartridge.filled",
        "malfunction.raised",
        "sensor.started",
    }
)
"""The kinds of events that are marks of a chart."""
QUIET_ALARMS = frozenset({"resume_pump", "resume_pump_2"})
"""Alarms that only repeat that delivery is stopped. The suspension is shown."""


@attrs.frozen(kw_only=True)
class Band:
    """Sleep, exercise or a suspension. ``kind``: sleep, exercise, eating_soon or suspended; ``reason`` of a suspension."""

    kind: str
    begin: datetime
    end: datetime
    reason: str | None = None


@attrs.frozen(kw_only=True)
class ChartMark:
    """An event at one time. ``kind``: site, cartridge, sensor or alarm; ``name`` of the alarm."""

    kind: str
    at: datetime
    name: str | None = None
    amount_u: float | None = None


@attrs.frozen(kw_only=True)
class Carbs:
    """Carbs, entered with a bolus or alone."""

    at: datetime
    carbs_g: float


@attrs.frozen(kw_only=True)
class ChartContent:
    """All that a chart from ``begin`` until ``end`` shows. ``until``: the time of the newest data.

    ``boluses`` also has those that began earlier, if they are still delivered in these hours.
    """

    begin: datetime
    end: datetime
    until: datetime | None = None
    now: datetime | None = None
    glucose: Sequence[GlucosePoint] = ()
    basal: Sequence[BasalSpan] = ()
    boluses: Sequence[Bolus] = ()
    carbs: Sequence[Carbs] = ()
    bands: Sequence[Band] = ()
    marks: Sequence[ChartMark] = ()

    @property
    def started(self) -> Sequence[Bolus]:
        """The boluses that began in these hours, as sums count them."""
        return [bolus for bolus in self.boluses if bolus.started_at >= self.begin]

    @property
    def bolus_u(self) -> float:
        """The insulin of boluses that was delivered in these hours."""
        return sum(bolus.delivered_between(self.begin, self.end) for bolus in self.boluses)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not (self.glucose or self.basal or self.boluses or self.carbs or self.bands or self.marks)


def chart_content(
    therapy: Therapy, marks: Iterable[Event], begin: datetime, end: datetime, now: datetime | None = None
) -> ChartContent:
    """Return the content from ``begin`` until before ``end``. ``therapy`` may have more; ``marks`` are :data:`MARK_KINDS`."""
    part = therapy.between(begin, end)
    return ChartContent(
        begin=begin,
        end=end,
        now=now,
        until=therapy.until,
        glucose=part.glucose,
        basal=part.basal,
        boluses=shown_boluses(part.boluses),
        carbs=all_carbs(part.boluses, part.carbs, begin, end),
        bands=[*_modes(part, therapy.until or end), *suspensions(part.basal)],
        marks=[mark for event in marks if (mark := mark_of(event)) is not None and begin <= mark.at < end],
    )


def shown_boluses(boluses: Iterable[Bolus]) -> Sequence[Bolus]:
    """Return those that delivered insulin, or may have: their end is not known."""
    return [bolus for bolus in boluses if bolus.delivered_u > 0 or bolus.ended_at is None]


def all_carbs(
    boluses: Iterable[Bolus], entries: Iterable[CarbEntry], begin: datetime, end: datetime
) -> Sequence[Carbs]:
    """Return the carbs that came with boluses, and those that were entered alone, in order of time."""
    found = [Carbs(at=each.started_at, carbs_g=each.carbs_g) for each in boluses if each.carbs_g]
    found += [Carbs(at=each.at, carbs_g=each.carbs_g) for each in entries]
    return sorted((each for each in found if begin <= each.at < end), key=lambda each: each.at)


def suspensions(basal: Iterable[BasalSpan]) -> Sequence[Band]:
    """Return the suspensions; parts that touch are one."""
    found: list[Band] = []
    for span in basal:
        if not span.suspended:
            continue
        if found and found[-1].end == span.begin and found[-1].reason == span.reason:
            found[-1] = attrs.evolve(found[-1], end=span.end)
        else:
            found.append(Band(kind="suspended", begin=span.begin, end=span.end, reason=span.reason))
    return found


def mark_of(event: Event) -> ChartMark | None:
    """Return the mark of an event; None if it is not shown, such as a fill that was not completed."""
    body, at = event.body, event.at
    if at is None:
        return None
    if isinstance(body, events.CannulaFilled):
        return ChartMark(kind="site", at=at, amount_u=body.prime_u) if body.completed else None
    if isinstance(body, events.CartridgeFilled):
        return ChartMark(kind="cartridge", at=at, amount_u=body.volume_u or body.measured_u)
    if isinstance(body, events.SensorStarted):
        return ChartMark(kind="sensor", at=at, name=body.sensor)
    if isinstance(body, events.AlarmRaised):
        return None if body.name in QUIET_ALARMS else ChartMark(kind="alarm", at=at, name=body.name)
    if isinstance(body, events.MalfunctionRaised):
        return ChartMark(kind="alarm", at=at, name=body.name)
    return None


def _modes(therapy: Therapy, until: datetime) -> list[Band]:
    """A mode that has not ended is shown up to the newest data."""
    ends = [(mode, min(mode.end or until, until)) for mode in therapy.modes]
    return [Band(kind=mode.mode, begin=mode.begin, end=end) for mode, end in ends if end > mode.begin]
