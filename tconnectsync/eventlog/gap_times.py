"""When the records that were lost happened: what a gap record says of its time."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

from tconnectsync.eventlog.codec import Codec, pump_time_of
from tconnectsync.eventlog.framing import Line
from tconnectsync.eventlog.index import meta
from tconnectsync.eventlog.segments import Segments
from tconnectsync.events import FACTS
from tconnectsync.folder_owner import require_own_database

Times: TypeAlias = tuple[datetime, datetime]
"""The first and the last pump time, read as if it were UTC: half a day off at most."""

WHOLE_LIFE = "clock.changed"
"""Comes again with every answer, from the pump's first day on: it says nothing of when the others around it happened."""


def indexed_times(database: sqlite3.Connection, first: int, last: int) -> Times | None:
    """When the pump's events at positions ``first`` to ``last`` happened; None where the index does not know them all."""
    (facts,) = database.execute("SELECT count(*) FROM fact WHERE pos BETWEEN ? AND ?", (first, last)).fetchone()
    known, begin, end = database.execute(
        "SELECT count(*), min(CASE WHEN name <> ? THEN pump_us END), max(CASE WHEN name <> ? THEN pump_us END) "
        "FROM event JOIN kind ON kind.id = event.kind WHERE pos BETWEEN ? AND ?",
        (WHOLE_LIFE, WHOLE_LIFE, first, last),
    ).fetchone()
    if facts + known <= last - first or begin is None:
        return None
    return _as_utc(pump_time_of(begin)), _as_utc(pump_time_of(end))


def remembered_times(path: Path, log_id: str, first: int, last: int) -> Times | None:
    """The same from the index file at ``path``, if there is one that can be read and is of this log."""
    if not path.exists():
        return None
    require_own_database(path)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as database:
            return indexed_times(database, first, last) if meta(database, "log") == log_id else None
    except sqlite3.Error:
        return None


def neighbouring_times(segments: Segments, codec: Codec, first: int, last: int) -> Times | None:
    """When the nearest events that can be read before ``first`` and behind ``last`` happened."""
    found = [
        next(lines, None) for lines in (_backwards(segments, codec, first), _onwards(segments, codec, first, last))
    ]
    times = [time for time in found if time is not None]
    return (min(times), max(times)) if times else None


def _backwards(segments: Segments, codec: Codec, first: int) -> Iterator[datetime]:
    for segment in reversed(segments.all()):
        if segment.first < first:
            lines = [line for line in segments.walk(segment) if isinstance(line, Line) and line.position < first]
            yield from _times(codec, reversed(lines))


def _onwards(segments: Segments, codec: Codec, first: int, last: int) -> Iterator[datetime]:
    from_first = segments.holding(first).first
    for segment in segments.all():
        if segment.first >= from_first:
            yield from _times(
                codec,
                (line for line in segments.walk(segment) if isinstance(line, Line) and line.position > last),
            )


def _times(codec: Codec, lines: Iterator[Line]) -> Iterator[datetime]:
    for line in lines:
        event = codec.event(line.record)
        if event.kind not in FACTS and event.kind != WHOLE_LIFE:
            yield _as_utc(event.pump_time)


def _as_utc(pump_time: datetime) -> datetime:
    return pump_time.replace(tzinfo=timezone.utc)
