"""What opening a log finds: its tail and its index, or, for a reader, an index alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import attrs

from tconnectsync.clock import Clock
from tconnectsync.eventlog.catchup import (
    IndexStale,
    Progress,
    build_index,
    catch_up,
    open_index,
    open_index_to_read,
)
from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.index import Index
from tconnectsync.eventlog.lines import FORMAT, Line, read_header
from tconnectsync.eventlog.lost import Times, indexed_times
from tconnectsync.eventlog.segments import PackedDamage, Segments
from tconnectsync.eventlog.tail import Tail, newer_format
from tconnectsync.eventlog.writer import Writer, index_errors


@attrs.frozen(kw_only=True)
class Opened:
    """An open log: ``writer`` is None for a reader. ``notices`` tell what was put right."""

    log_id: str
    index: Index
    writer: Writer | None
    notices: tuple[str, ...] = ()


def open_to_write(
    *, segments: Segments, codec: Codec, tail: Tail, index_path: Path, clock: Clock, progress: Progress
) -> Opened:
    """Bring the index to the log's end, or build it again. OSError when the disk does not take it."""
    lost: tuple[int, int, Times | None] | None = None
    index: Index | None = None
    with index_errors(index_path):
        try:
            index = open_index(index_path, tail.log_id, codec)
            if index.end > tail.end:
                lost = (tail.end + 1, index.end, indexed_times(index.database, tail.end + 1, index.end))
                raise IndexStale
            catch_up(index, segments, codec, tail.end, clock, progress)
        except (IndexStale, sqlite3.DatabaseError):
            if index is not None:
                index.close()
            index = build_index(index_path, tail.log_id, segments, codec, tail.end, clock, progress)
    notices = list(tail.notices)
    try:
        for damage in tail.damage:
            index.damaged(damage)
        writer = Writer(tail=tail, segments=segments, codec=codec, index=index, index_path=index_path, clock=clock)
        if lost is not None:
            writer.bridge(*lost, now=clock.now())
            notices.append(
                f"Positions {lost[0]} to {lost[1]} of the event log were lost after they had been written; they will be "
                "fetched again. The disk may not keep what it was told to: check it."
            )
    except BaseException:
        index.close()
        raise
    return Opened(log_id=tail.log_id, index=index, writer=writer, notices=tuple(notices))


def open_to_read(*, segments: Segments, codec: Codec, index_path: Path, clock: Clock, progress: Progress) -> Opened:
    """The index as the writer keeps it, or a private one where that cannot be used."""
    log_id, end = "", 0
    for segment in reversed(segments.all()):
        try:
            text = segments.text(segment)
        except PackedDamage as error:
            text = error.text
        header = read_header(text, segment.first)
        if header is not None and header[0].format > FORMAT:
            raise newer_format(segment.path)
        log_id = log_id or (header[0].log if header else "")
        end = max([end, *(item.position for item in segments.walk(segment) if isinstance(item, Line))])
        if log_id and end:
            break
    try:
        index = open_index_to_read(index_path, log_id)
    except IndexStale:
        index = build_index(None, log_id, segments, codec, end, clock, progress)
    return Opened(log_id=log_id, index=index, writer=None)
