"""Finds when lost records happened, for the times of a gap record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

from tconnectsync.eventlog.codec import Codec, pump_time_of
from tconnectsync.eventlog.damage import Segment
from tconnectsync.eventlog.framing import Line
from tconnectsync.eventlog.index import get_meta
from tconnectsync.eventlog.index_build import query_index
from tconnectsync.eventlog.segments import Segments
from tconnectsync.events import FACTS

Times: TypeAlias = tuple[datetime, datetime]
"""The first and the last pump time, read as if it were UTC: wrong by half a day at most."""

RESENT_KIND = "clock.changed"
"""Every answer contains these records from the pump's first day on, so their times say nothing about their neighbours."""


def indexed_times(database: sqlite3.Connection, first: int, last: int) -> Times | None:
    """Return when the pump's events at positions ``first`` to ``last`` happened; None if the index does not know them all."""
    (facts,) = database.execute("SELECT count(*) FROM fact WHERE pos BETWEEN ? AND ?", (first, last)).fetchone()
    known, begin, end = database.execute(
        "SELECT count(*), min(CASE WHEN name <> ? THEN pump_us END), max(CASE WHEN name <> ? THEN pump_us END) "
        "FROM event JOIN kind ON kind.id = event.kind WHERE pos BETWEEN ? AND ?",
        (RESENT_KIND, RESENT_KIND, first, last),
    ).fetchone()
    if facts + known <= last - first or begin is None:
        return None
    return _as_utc(pump_time_of(begin)), _as_utc(pump_time_of(end))


def remembered_times(path: Path, log_id: str, first: int, last: int) -> Times | None:
    """Return :func:`indexed_times` from the index file at ``path``; None if it is missing, corrupt, or of another log."""
    return query_index(
        path, lambda index: indexed_times(index, first, last) if get_meta(index, "log") == log_id else None, None
    )


def neighbouring_times(segments: Segments, codec: Codec, first: int, last: int) -> Times | None:
    """Return when the nearest readable events before ``first`` and after ``last`` happened."""
    from_first = segments.containing(first).first
    before = (
        line
        for segment in reversed(segments.all())
        if segment.first < first
        for line in reversed([line for line in _lines(segments, segment) if line.position < first])
    )
    after = (
        line
        for segment in segments.all()
        if segment.first >= from_first
        for line in _lines(segments, segment)
        if line.position > last
    )
    found = [time for time in (_first_time(codec, before), _first_time(codec, after)) if time is not None]
    return (min(found), max(found)) if found else None


def _lines(segments: Segments, segment: Segment) -> Iterator[Line]:
    return (item for item in segments.walk(segment) if isinstance(item, Line))


def _first_time(codec: Codec, lines: Iterator[Line]) -> datetime | None:
    events = (codec.event(line.record) for line in lines)
    return next(
        (_as_utc(each.pump_time) for each in events if each.kind not in FACTS and each.kind != RESENT_KIND), None
    )


def _as_utc(pump_time: datetime) -> datetime:
    return pump_time.replace(tzinfo=timezone.utc)
