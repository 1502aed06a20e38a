"""Caches the figures of past days until new events, or another timeline, may change them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path

import attrs
import msgspec

from tconnectsync.eventlog import EventLog
from tconnectsync.statistics.day_store import StoredDays, load_days, save_days
from tconnectsync.statistics.summary import Summary
from tconnectsync.timeline.event_stream import EventStream
from tconnectsync.timeline.spans import LATEST
from tconnectsync.timeline.stream_timeline import ALWAYS, timeline_to_json
from tconnectsync.timeline.zones import Zones

LATEST_EFFECT = timedelta(days=1)
"""An event may change figures up to this time before it: a sensor sends missed readings up to a day later."""
MOST_DAYS = 400
SAVE_AFTER = 7
"""The number of new days that are saved at once."""


@attrs.define
class DayCache:
    """The figures of whole days, for as long as they hold.

    ``decoders``: the version of each source's decoder. ``path``: the file that keeps the days; None: only the memory does.
    """

    zones: Zones
    decoders: Mapping[str, int] = attrs.field(factory=dict)
    path: Path | None = None
    _days: dict[date, Summary] = attrs.field(factory=dict)
    _seen: tuple[str, int] = ("", 0)
    _timelines: Mapping[str, str] = attrs.field(factory=dict)
    _loaded: bool = False
    _unsaved: int = 0

    def get(self, day: date) -> Summary | None:
        """Return the figures of ``day`` if they are known."""
        return self._days.get(day)

    def keep(self, summary: Summary) -> None:
        """Remember the figures of one day that is over."""
        self._days[summary.first_day] = summary
        self._unsaved += 1
        if len(self._days) > MOST_DAYS:
            del self._days[min(self._days)]

    def save(self, *, at_least: int = SAVE_AFTER) -> None:
        """Save the days if at least this number is new."""
        if self.path is None or self._unsaved < max(1, at_least):
            return
        log_id, position = self._seen
        stored = StoredDays(
            basis=self._basis(),
            log_id=log_id,
            position=position,
            timelines=self._timelines,
            days=tuple(self._days.values()),
        )
        save_days(self.path, stored)
        self._unsaved = 0

    def _load(self) -> None:
        self._loaded = True
        if self.path is not None:
            stored = load_days(self.path, self._basis())
            self._days = {summary.first_day: summary for summary in stored.days}
            self._seen, self._timelines = (stored.log_id, stored.position), stored.timelines

    def _basis(self) -> str:
        return json.dumps([self.zones.to_json(), self.decoders], sort_keys=True)

    def forget_changed(self, log: EventLog, streams: Mapping[str, EventStream], seen: tuple[str, int]) -> None:
        """Forget the days that events since the last call may have changed.

        ``seen``: the log's id and position when ``streams`` were made; the log may be longer already.
        """
        if not self._loaded:
            self._load()
        log_id, position = self._seen
        if seen == self._seen:
            return
        timelines = {
            name: timeline_to_json(msgspec.structs.replace(stream.timeline, delivery_windows=ALWAYS))
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
    by_id = {stream.id: stream for stream in streams.values()}
    times: list[datetime] = []
    for stream_id, key in first_keys.items():
        found = log.neighbour(stream_id, key - 1, None, before=False)
        at = by_id[stream_id].timeline.at(*found) if found is not None and stream_id in by_id else None
        if at is None:
            return None
        times.append(at)
    return min(times, default=LATEST)
