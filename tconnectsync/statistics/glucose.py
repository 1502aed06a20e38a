"""Glucose readings as points at the time of measurement, one for each minute."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from tconnectsync import events
from tconnectsync.events import Event
from tconnectsync.events.limits import GLUCOSE_MG_DL, is_possible
from tconnectsync.statistics.therapy import GlucosePoint

KINDS = frozenset({"glucose.reading"})
HIGH_MG_DL, LOW_MG_DL = 401.0, 39.0
"""The values for readings above and below the sensor's range."""
SENSOR_MG_DL = (40.0, 400.0)
REMEMBERED = timedelta(days=2)
"""A sensor sends readings that the pump missed up to a day later. Older ones are never the copy of a known one."""


@attrs.define(kw_only=True)
class GlucoseDeduplicator:
    """Returns each reading once, although the pump may log it twice: live and sent again after a lost signal."""

    pump: str = ""
    _seen: dict[datetime, None] = attrs.field(factory=dict)

    def add(self, event: Event) -> GlucosePoint | None:
        """Return the reading of ``event``; None if it has no usable value or if its minute has a reading already."""
        body, at = event.body, event.at
        if at is None or not isinstance(body, events.GlucoseReading):
            return None
        value = _value(body)
        if value is None:
            return None
        measured_at = at + (body.reading_time - event.pump_time)
        minute = measured_at.replace(second=0, microsecond=0)
        if minute in self._seen:
            return None
        self._seen[minute] = None
        if len(self._seen) > 2 * REMEMBERED // timedelta(minutes=1):
            self._seen = {each: None for each in self._seen if measured_at - each < REMEMBERED}
        mark = "high" if value == HIGH_MG_DL else "low" if value == LOW_MG_DL else "value"
        return GlucosePoint(
            at=measured_at,
            glucose_mg_dl=value,
            mark=mark,
            trend_mg_dl_per_min=body.trend_mg_dl_per_min,
            pump=self.pump,
        )


def _value(body: events.GlucoseReading) -> float | None:
    if body.mark in ("high", "low"):
        return HIGH_MG_DL if body.mark == "high" else LOW_MG_DL
    value = body.glucose_mg_dl
    if body.mark != "value" or value is None or not is_possible(value, *GLUCOSE_MG_DL):
        return None
    low, high = SENSOR_MG_DL
    return LOW_MG_DL if value < low else HIGH_MG_DL if value > high else value
