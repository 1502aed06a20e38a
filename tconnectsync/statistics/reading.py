"""From the events of one stream to the therapy that they report."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from tconnectsync import events
from tconnectsync.events import Event, bolus_join
from tconnectsync.events.limits import MAX_CARBS_G, is_possible
from tconnectsync.statistics import basal, boluses, glucose
from tconnectsync.statistics.therapy import BasalSpan, Bolus, CarbEntry, GlucosePoint, ModeSpan, Therapy

KINDS = basal.KINDS | bolus_join.KINDS | glucose.KINDS | {"carbs.entered", "mode.changed"}
"""The kinds of events that :func:`read_therapy` needs."""


def read_therapy(stream: Iterable[Event], *, pump: str = "", seen: datetime | None = None) -> Therapy:
    """Return the therapy that the events of one pump report. ``stream``: with UTC times, in the pump's order.

    ``seen``: another event shows that the pump was on until then, so a stop or a rate without an end lasts as long.
    Whether the pump was the active one is not considered: see :meth:`Therapy.while_active`.
    """
    rates, doses, readings = basal.BasalReader(pump=pump), boluses.BolusReader(pump=pump), glucose.GlucoseDeduplicator()
    spans: list[BasalSpan] = []
    given: list[Bolus] = []
    points: list[GlucosePoint] = []
    carbs: list[CarbEntry] = []
    modes: list[ModeSpan] = []
    until = seen
    readings.pump = pump
    for event in stream:
        at, body = event.at, event.body
        if at is None:
            continue
        until = at if until is None else max(until, at)
        spans.extend(rates.add(event))
        if event.kind in bolus_join.KINDS:
            given.extend(doses.add(event))
        elif isinstance(body, events.GlucoseReading):
            point = readings.add(event)
            if point is not None:
                points.append(point)
        elif isinstance(body, events.CarbsEntered):
            if is_possible(body.carbs_g, 0.0, MAX_CARBS_G) and body.carbs_g > 0:
                carbs.append(CarbEntry(at=at, carbs_g=body.carbs_g, pump=pump))
        elif isinstance(body, events.ModeChanged):
            _change_mode(modes, body.mode, at, pump)
    if until is not None:
        spans.extend(rates.end(until))
    given.extend(doses.end())
    return Therapy(
        glucose=sorted(points, key=lambda each: each.at),
        basal=sorted(spans, key=lambda each: each.begin),
        boluses=sorted(given, key=lambda each: each.started_at),
        carbs=carbs,
        modes=modes,
        until=until,
    )


def _change_mode(modes: list[ModeSpan], mode: str, at: datetime, pump: str) -> None:
    if modes and modes[-1].end is None:
        if modes[-1].mode == mode:
            return
        modes[-1] = ModeSpan(begin=modes[-1].begin, end=at, mode=modes[-1].mode, pump=pump)
    if mode != "normal":
        modes.append(ModeSpan(begin=at, end=None, mode=mode, pump=pump))
