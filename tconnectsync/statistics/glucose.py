"""Glucose readings as points at the time of measurement, one for each minute."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from tconnectsync import events
from tconnectsync.events import Event, readings
from tconnectsync.events.limits import GLUCOSE_MG_DL, is_possible
from tconnectsync.statistics.therapy import GlucosePoint

KINDS = frozenset({"glucose.reading"})


@attrs.define(kw_only=True)
class GlucoseDeduplicator:
    """Returns each reading once, although the pump may log it twice: live and sent again after a lost signal."""

    pump: str = ""
    _seen: dict[datetime, None] = attrs.field(factory=dict)

    def add(self, event: Event) -> GlucosePoint | None:
        """Return the reading of ``event``; None if it has no usable value or if its minute has a reading already."""
        body = event.body
        if event.at is None or not isinstance(body, events.GlucoseReading):
            return None
        value = readings.shown_mg_dl(body)
        if not is_possible(value, *GLUCOSE_MG_DL):
            return None
        at = readings.measured_at(event)
        minute = at.replace(second=0, microsecond=0)
        if minute in self._seen:
            return None
        self._seen[minute] = None
        if len(self._seen) > 2 * readings.REMEMBERED // timedelta(minutes=1):
            self._seen = {each: None for each in self._seen if at - each < readings.REMEMBERED}
        return GlucosePoint(
            at=at,
            glucose_mg_dl=value,
            mark=readings.mark_of(value),
            trend_mg_dl_per_min=readings.shown_trend(body),
            pump=self.pump,
        )
