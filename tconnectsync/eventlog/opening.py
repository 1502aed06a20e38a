"""What opening a log finds: its tail and its index, or, for a reader, an index alone."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import attrs

from tconnectsync.clock import Clock
from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.framing import DamagedRange, Line, position_after
from tconnectsync.eventlog.gap_times import Times, indexed_times
from tconnectsync.eventlog.index import Index, meta
from tconnectsync.eventlog.index_build import (
    IndexStale,
    Progress,
    build_index,
    catch_up,
    open_index,
    open_index_to_read,
)
from tconnectsync.eventlog.segments import Damage, Segment, Segments, damage_of
from tconnectsync.eventlog.tail import Tail, newer_format
from tconnectsync.eventlog.writer import Writer, index_errors
from tconnectsync.text.plural import counted


@attrs.frozen(kw_only=True)
class OpenLog:
    """An open log: ``writer`` is None for a reader. ``notices`` tell what was put right."""

    log_id: str
    index: Index
    writer: Writer | None
    notices: tuple[str, ...] = ()
    tail_damage: tuple[Damage, ...] = ()
    """What a reader finds harmed in the last segment, which no background check has read yet."""


def open_to_write(
    *, segments: Segments, codec: Codec, tail: Tail, index_path: Path, clock: Clock, progress: Progress
) -> OpenLog:
    """Bring the index to the log's end, or build it again. OSError when the disk does not take it."""
    lost: tuple[int, int, Times | None] | None = None
    index: Index | None = None
    with index_errors(index_path):
        try:
            index = open_index(index_path, tail.log_id, codec)
            if index.end == tail.end and tail.end and meta(index.database, "crc") != str(tail.crc):
                raise IndexStale  # as long as this log, and not of it
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
    return OpenLog(log_id=tail.log_id, index=index, writer=writer, notices=tuple(notices))


def open_to_read(*, segments: Segments, codec: Codec, index_path: Path, clock: Clock, progress: Progress) -> OpenLog:
    """The index as the writer keeps it, or a private one where that cannot be used."""
    newer = segments.newer()
    if newer is not None:
        raise newer_format(newer.path)
    segments.log_id = log_id = segments.owner()
    index: Index | None = None
    with contextlib.suppress(IndexStale):
        index = open_index_to_read(index_path, log_id)
    # the index first: what it holds was durable before, so that a log which ends sooner has lost it
    end = 0
    damage: list[Damage] = []
    for segment in reversed(segments.all()):
        found = list(segments.walk(segment))
        if not damage:
            damage = [
                damage_of(segment, item) for item in found if isinstance(item, DamagedRange) and item.last_position
            ]
        end = max([end, *(position_after(item.position, item.record) - 1 for item in found if isinstance(item, Line))])
        if end:
            break
    if index is None:
        index = build_index(None, log_id, segments, codec, end, clock, progress)
    elif index.end > end and segments.all():
        damage.append(torn(segments.all()[-1], end + 1, index.end))
    return OpenLog(log_id=log_id, index=index, writer=None, tail_damage=tuple(damage))


def torn(segment: Segment, first: int, last: int) -> Damage:
    """The end of the log does not hold what was written there."""
    what = f"the end of the log is torn: {counted(last - first + 1, 'record')} that were written are not there"
    return Damage(path=str(segment.path), line=1, position=first, what=what)
