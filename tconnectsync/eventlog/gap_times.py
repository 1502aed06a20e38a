"""Finds when lost records happened, for the times of a gap record."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import TypeAlias

from tconnectsync.eventlog.codec import Codec, pump_time_of
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
    found = [
        next(lines, None) for lines in (_backwards(segments, codec, first), _forwards(segments, codec, first, last))
    ]
    times = [time for time in found if time is not None]
    return (min(times), max(times)) if times else None


def _backwards(segments: Segments, codec: Codec, first: int) -> Iterator[datetime]:
    for segment in reversed(segments.all()):
        if segment.first < first:
            lines = [line for line in segments.walk(segment) if isinstance(line, Line) and line.position < first]
            yield from _times(codec, reversed(lines))


def _forwards(segments: Segments, codec: Codec, first: int, last: int) -> Iterator[datetime]:
    from_first = segments.containing(first).first
    for segment in segments.all():
        if segment.first >= from_first:
            yield from _times(
                codec,
                (line for line in segments.walk(segment) if isinstance(line, Line) and line.position > last),
            )


def _times(codec: Codec, lines: Iterator[Line]) -> Iterator[datetime]:
    for line in lines:
        event = codec.event(line.record)
        if event.kind not in FACTS and event.kind != RESENT_KIND:
            yield _as_utc(event.pump_time)


def _as_utc(pump_time: datetime) -> datetime:
    return pump_time.replace(tzinfo=timezone.utc)
