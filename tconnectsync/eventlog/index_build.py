"""Opens the index, brings it up to date with the log, and rebuilds it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from tconnectsync.clock import Clock
from tconnectsync.disk_check import connect_to_read
from tconnectsync.errors import IndexCorrupt, LogCorrupt
from tconnectsync.eventlog.codec import Codec, EventSlot, IndexEntry
from tconnectsync.eventlog.damage import Damage, damage_of
from tconnectsync.eventlog.framing import DamagedRange, Line, position_after
from tconnectsync.eventlog.index import Index, Rank, get_meta, vocabulary_digest
from tconnectsync.eventlog.index_tables import SCHEMA, VERSION
from tconnectsync.eventlog.segments import Segments
from tconnectsync.folder_owner import require_own_database

INDEX_NAME = "index.sqlite"

_BATCH = 5_000
_MAY_BE_GAP = frozenset({"log.gap", "unknown"})
"""Kinds of which a record may cover several positions. Another release may not be able to read the body of its gap record."""
_ALL_KEYS = (-(1 << 63), (1 << 63) - 1)

Progress = Callable[[int, int], None]
"""Called during a long rebuild with the positions done and the total."""


def no_progress(done: int, total: int) -> None:
    """A :data:`Progress` that does nothing."""
    del done, total


T = TypeVar("T")


class IndexStale(Exception):
    """The index must be rebuilt: it is of another log, or was made with other decoders."""


def open_index(path: Path, log_id: str, codec: Codec) -> Index:
    """Open the index at ``path`` for writing. Errors: IndexStale."""
    if not path.exists():
        raise IndexStale
    try:
        database = connect(path)
    except sqlite3.Error:
        raise IndexStale from None
    try:
        if get_meta(database, "version") != str(VERSION) or get_meta(database, "log") != log_id:
            raise IndexStale
        if get_meta(database, "vocabulary") != vocabulary_digest() or _decoders_changed(database, codec):
            raise IndexStale
        return Index(database)
    except sqlite3.Error:
        database.close()
        raise IndexStale from None
    except BaseException:
        database.close()
        raise


def open_index_to_read(path: Path, log_id: str) -> Index:
    """Open the writer's index at ``path`` for reading. Errors: IndexStale if it cannot be used."""
    if not path.exists():
        raise IndexStale
    require_own_database(path)
    try:
        database = connect_to_read(path)
    except (OSError, sqlite3.Error):
        raise IndexStale from None
    try:
        if get_meta(database, "version") == str(VERSION) and get_meta(database, "log") == log_id:
            return Index(database)
    except sqlite3.Error:
        pass
    database.close()
    raise IndexStale


def build_index(
    path: Path | None, log_id: str, segments: Segments, codec: Codec, end: int, clock: Clock, progress: Progress
) -> Index:
    """Build an index of everything up to position ``end`` at ``path`` (None: a temporary one, deleted when it is closed)."""
    if path is None:
        index = _create_index("", log_id)
        catch_up(index, segments, codec, end, clock, progress)
        return index
    new = path.with_name(path.name + ".new")
    for name in (path, new):
        remove_index(name)
    index = _create_index(str(new), log_id)
    try:
        catch_up(index, segments, codec, end, clock, progress)
    except BaseException:
        index.close()
        raise
    index.close()
    _sync(new)
    _sync(new.parent)
    new.replace(path)
    return Index(connect(path))


def remove_index(path: Path) -> None:
    """Delete an index file and SQLite's files beside it."""
    for ending in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).unlink()


def discard_if_corrupt(database: sqlite3.Connection, path: Path) -> None:
    """Check the open index after an error of an unknown database. Errors: IndexCorrupt; then the file was deleted."""
    try:
        correct = database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.OperationalError:
        return  # a full or busy disk
    except sqlite3.DatabaseError:
        correct = False
    if not correct:
        remove_index(path)
        raise IndexCorrupt(str(path))


def query_index(path: Path, query: Callable[[sqlite3.Connection], T], default: T) -> T:
    """Return ``query`` on the index file at ``path``; ``default`` if the file is missing or corrupt."""
    if not path.exists():
        return default
    require_own_database(path)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as database:
            return query(database)
    except sqlite3.Error:
        return default


def discard_index(path: Path) -> None:
    """Mark the index at ``path``, durably, so that the next opening rebuilds it. Until then it can still be read."""
    if not path.exists():
        return
    require_own_database(path)
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
            database.execute("PRAGMA synchronous = FULL")
            database.execute("UPDATE meta SET value = '' WHERE name = 'version'")
    except sqlite3.Error:
        remove_index(path)
        _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def connect(path: Path) -> sqlite3.Connection:
    """Open the index file for writing. A power cut loses its last transactions at most, and the log has those records."""
    require_own_database(path)
    database = sqlite3.connect(path, isolation_level=None, timeout=10)
    try:
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "wal_autocheckpoint = 4000", "cache_size = -500"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        path.chmod(0o600)
    except BaseException:
        database.close()
        raise
    return database


def catch_up(
    index: Index,
    segments: Segments,
    codec: Codec,
    end: int,
    clock: Clock,
    progress: Progress = no_progress,
) -> None:
    """Add the log's records after the index's end, up to position ``end``. Errors: IndexStale if it is of another log."""
    start = index.end
    stored = get_meta(index.database, "crc")
    batch: list[IndexEntry] = []
    reached, crc = start, int(stored or 0)
    damages: list[tuple[Damage, EventSlot | None, EventSlot | None]] = []  # with the slots before and after
    before: EventSlot | None = None

    def flush() -> None:
        if batch or reached > index.end:
            known = index.records_at(entry.slot for entry in batch)
            index.add(batch, known, end=reached, crc=crc, rank=ranker(segments, codec), decoders=codec.decoders)
            batch.clear()
            progress(reached, end)

    for first, item in _items(index, segments, start, end, clock):
        if isinstance(item, DamagedRange):
            if item.last_position is None or item.last_position > start:
                damages.append((damage_of(segments.containing(first), item), before, None))
            continue
        if item.position <= start:
            if item.position == start and stored is not None and int(stored) != item.crc:
                raise IndexStale
            continue
        reached, crc = item.position, item.crc
        try:
            entry = codec.entry(item.record, item.offset)
        except msgspec.MsgspecError as error:
            reached = position_after(item.position, item.record) - 1
            damages.append((unreadable_record(segments, item, error), before, None))
            continue
        if entry.kind in _MAY_BE_GAP:
            reached = position_after(item.position, item.record) - 1
        batch.append(entry)
        if damages:
            damages = [(damage, previous, following or entry.slot) for damage, previous, following in damages]
        before = entry.slot
        if len(batch) >= _BATCH:
            flush()
    flush()
    for damage, previous, following in damages:
        _record_damage(index, damage, previous, following)


def _items(
    index: Index, segments: Segments, start: int, end: int, clock: Clock
) -> Iterator[tuple[int, Line | DamagedRange]]:
    """Yield (first position of the segment, item) from the segment with ``start`` on. Stores which segments are correct."""
    everything = segments.all()
    if not everything or end <= start:
        return
    from_first = segments.containing(start).first if start else everything[0].first
    for segment in everything:
        if segment.first < from_first:
            continue
        correct = True
        for item in segments.walk(segment):
            if isinstance(item, DamagedRange):
                correct = False
            elif item.position > end:
                return
            yield segment.first, item
        if correct and segment is not everything[-1]:
            index.record_verified(segment.first, clock.now().isoformat())


def _record_damage(index: Index, damage: Damage, before: EventSlot | None, after: EventSlot | None) -> None:
    """Store which events may be lost by ``damage``: those between its neighbours, or all events of their streams."""
    streams = {index.stream_of(slot) for slot in (before, after) if slot is not None} - {None}
    index.record_damage(damage)
    if len(streams) == 1 and before is not None and after is not None and before.key <= after.key:
        index.record_damage(damage, streams.pop(), (before.key, after.key))
    for stream in streams:
        index.record_damage(damage, stream, _ALL_KEYS)


def unreadable_record(segments: Segments, line: Line, error: msgspec.MsgspecError) -> Damage:
    """Describe a correct line whose record this release cannot read."""
    segment = segments.containing(line.position)
    text, _ = segments.text(segment)
    number = text.count(b"\n", 0, line.offset) + 1
    what = f"the record cannot be read: {error}"
    return Damage(path=str(segment.path), line=number, position=line.position, last_position=line.position, what=what)


def ranker(segments: Segments, codec: Codec) -> Rank:
    """Return a function that ranks revisions. A corrupt one has the lowest rank."""

    def rank(position: int, offset: int) -> tuple[object, ...]:
        try:
            return codec.rank(codec.event(segments.records([(position, offset)])[0]))
        except LogCorrupt:
            return (False, -1, 0, -1, b"")

    return rank


def _create_index(path: str, log_id: str) -> Index:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -8000"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        database.executescript(f"BEGIN; {SCHEMA} COMMIT")  # one write instead of one for each table
        index = Index(database)
        index.set_meta(version=VERSION, log=log_id, vocabulary=vocabulary_digest(), end=0)
    except BaseException:
        database.close()
        raise
    return index


def _decoders_changed(database: sqlite3.Connection, codec: Codec) -> bool:
    for source, read_as in database.execute("SELECT source, read_as FROM decoder").fetchall():
        decoder = codec.decoders.get(source)
        if decoder is not None and decoder.decoder != read_as:
            return True
    return False
