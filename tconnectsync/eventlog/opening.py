"""Opens a log: the last segment and the index for a writer, only the index for a reader."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import msgspec

from tconnectsync.clock import Clock
from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.damage import Damage, Segment, damages
from tconnectsync.eventlog.framing import Line, position_after
from tconnectsync.eventlog.gap_times import Times, indexed_times
from tconnectsync.eventlog.index import Index, get_meta
from tconnectsync.eventlog.index_build import (
    IndexStale,
    Progress,
    build_index,
    catch_up,
    open_index,
    open_index_to_read,
)
from tconnectsync.eventlog.last_segment import LastSegment
from tconnectsync.eventlog.segments import Segments
from tconnectsync.eventlog.writer import Writer, index_errors
from tconnectsync.text.plural import counted


class OpenLog(msgspec.Struct, frozen=True, kw_only=True):
    """An open log. ``writer`` is None for a reader. ``notices`` say what was repaired while opening."""

    log_id: str
    index: Index
    writer: Writer | None
    notices: tuple[str, ...] = ()
    tail_damage: tuple[Damage, ...] = ()
    """Damage that a reader finds in the last segment, which no background check has read yet."""


def open_to_write(
    *, segments: Segments, codec: Codec, last_segment: LastSegment, index_path: Path, clock: Clock, progress: Progress
) -> OpenLog:
    """Bring the index up to date, or rebuild it. Errors: OSError if the disk cannot be written."""
    lost: tuple[int, int, Times | None] | None = None
    index: Index | None = None
    with index_errors(index_path):
        try:
            index = open_index(index_path, last_segment.log_id, codec)
            if (
                index.end == last_segment.end
                and last_segment.end
                and get_meta(index.database, "crc") != str(last_segment.crc)
            ):
                raise IndexStale  # of another log with the same length
            if index.end > last_segment.end:
                lost = (last_segment.end + 1, index.end, indexed_times(index.database, last_segment.end + 1, index.end))
                raise IndexStale
            catch_up(index, segments, codec, last_segment.end, clock, progress)
        except (IndexStale, sqlite3.DatabaseError):
            if index is not None:
                index.close()
            index = build_index(index_path, last_segment.log_id, segments, codec, last_segment.end, clock, progress)
    notices = list(last_segment.notices)
    try:
        for damage in last_segment.damage:
            index.record_damage(damage)
        writer = Writer(
            last_segment=last_segment, segments=segments, codec=codec, index=index, index_path=index_path, clock=clock
        )
        if lost is not None:
            writer.write_gap(*lost, now=clock.now())
            notices.append(
                f"The disk lost positions {lost[0]} to {lost[1]} of the event log after they were written. They will be "
                "fetched again. Check the disk: `dmesg | tail`."
            )
    except BaseException:
        index.close()
        raise
    return OpenLog(log_id=last_segment.log_id, index=index, writer=writer, notices=tuple(notices))


def open_to_read(*, segments: Segments, codec: Codec, index_path: Path, clock: Clock, progress: Progress) -> OpenLog:
    """Open the writer's index, or build a private one if that cannot be used."""
    segments.check_release()
    segments.log_id = log_id = segments.find_log_id()
    index: Index | None = None
    with contextlib.suppress(IndexStale):
        index = open_index_to_read(index_path, log_id)
    # the index was opened first: its records were durable before, so a log that ends sooner has lost them
    end = 0
    damage: list[Damage] = []
    for segment in reversed(segments.all()):
        found = list(segments.walk(segment))
        if not damage:
            damage = [each for each in damages(segment, found) if each.last_position]
        end = max([end, *(position_after(item.position, item.record) - 1 for item in found if isinstance(item, Line))])
        if end:
            break
    if index is None:
        index = build_index(None, log_id, segments, codec, end, clock, progress)
    elif index.end > end and segments.all():
        damage.append(torn_end(segments.all()[-1], end + 1, index.end))
    return OpenLog(log_id=log_id, index=index, writer=None, tail_damage=tuple(damage))


def torn_end(segment: Segment, first: int, last: int) -> Damage:
    """Describe a lost end of the log."""
    what = (
        f"the end of the log is torn: {counted(last - first + 1, 'written record is', 'written records are')} missing"
    )
    return Damage(path=str(segment.path), line=1, position=first, what=what)
