"""Remembers the figures of past days until new events, or another timeline, may change them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta

import attrs

from tconnectsync.eventlog import EventLog
from tconnectsync.statistics.summary import Summary
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.spans import LATEST
from tconnectsync.timeline.zones import Zones

LATEST_EFFECT = timedelta(days=1)
"""An event may change figures so long before it: a sensor sends readings that the pump missed up to a day later."""
MOST_DAYS = 400


@attrs.define
class DayMemo:
    """The figures of whole days, for as long as they hold."""

    zones: Zones
    _days: dict[date, Summary] = attrs.field(factory=dict)
    _seen: tuple[str, int] = ("", 0)
    _timelines: Mapping[str, object] = attrs.field(factory=dict)

    def get(self, day: date) -> Summary | None:
        """Return the figures of ``day`` if they are known."""
        return self._days.get(day)

    def keep(self, summary: Summary) -> None:
        """Remember the figures of one day that is over."""
        self._days[summary.first_day] = summary
        if len(self._days) > MOST_DAYS:
            del self._days[min(self._days)]

    def forget_changed(self, log: EventLog, streams: Mapping[str, EventStream]) -> None:
        """Forget the days that events since the last call may have changed."""
        (log_id, position), seen = self._seen, (log.log_id, log.end)
        if seen == self._seen:
            return
        timelines = {
            name: (stream.timeline.clock, stream.timeline.active, stream.timeline.superseded)
            for name, stream in streams.items()
        }
        changed = _earliest(log, streams, position, seen[1]) if log_id == seen[0] and position <= seen[1] else None
        if changed is None or timelines != self._timelines:
            self._days.clear()
        else:
            first_day = self.zones.wall_of(changed - LATEST_EFFECT).date()
            self._days = {day: summary for day, summary in self._days.items() if day < first_day}
        self._seen, self._timelines = seen, timelines


def _earliest(log: EventLog, streams: Mapping[str, EventStream], after: int, end: int) -> datetime | None:
    """Return the time of the earliest event between two positions; None if it is unknown."""
    first_keys: dict[int, int] = {}
    for _, stream_id, key, _ in log.touched(after, end):
        first_keys[stream_id] = min(key, first_keys.get(stream_id, key))
    by_id = {stream.stream.id: stream for stream in streams.values()}
    times: list[datetime] = []
    for stream_id, key in first_keys.items():
        found = log.neighbour(stream_id, key - 1, None, before=False)
        at = by_id[stream_id].timeline.at(*found) if found is not None and stream_id in by_id else None
        if at is None:
            return None
        times.append(at)
    return min(times, default=LATEST)
