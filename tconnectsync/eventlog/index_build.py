"""Making the index say what the log says: opening it, catching up with the log, building it again."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tconnectsync.clock import Clock
from tconnectsync.disk_check import connect_to_read
from tconnectsync.errors import IndexCorrupt, LogCorrupt
from tconnectsync.eventlog.codec import Codec, EventSlot, IndexEntry
from tconnectsync.eventlog.damage import Damage, damage_of
from tconnectsync.eventlog.framing import DamagedRange, Line, position_after
from tconnectsync.eventlog.index import SCHEMA, VERSION, Index, Rank, meta, vocabulary
from tconnectsync.eventlog.segments import Segments
from tconnectsync.folder_owner import require_own_database

INDEX_NAME = "index.sqlite"

_BATCH = 5_000
_EVERYTHING = (-(1 << 63), (1 << 63) - 1)

Progress = Callable[[int, int], None]
"""Called now and then during a long rebuild with the positions done and the positions in all."""


def in_silence(done: int, total: int) -> None:
    """Progress that nobody watches."""
    del done, total


class IndexStale(Exception):
    """The index is not of this log, or was made with other decoders: build it again."""


def open_index(path: Path, log_id: str, codec: Codec) -> Index:
    """The index at ``path``, for writing. IndexStale when it must be built again."""
    if not path.exists():
        raise IndexStale
    try:
        database = connect(path)
    except sqlite3.Error:
        raise IndexStale from None
    try:
        if meta(database, "version") != str(VERSION) or meta(database, "log") != log_id:
            raise IndexStale
        if meta(database, "vocabulary") != vocabulary() or _decoders_changed(database, codec):
            raise IndexStale
        return Index(database)
    except sqlite3.Error:
        database.close()
        raise IndexStale from None
    except BaseException:
        database.close()
        raise


def open_index_to_read(path: Path, log_id: str) -> Index:
    """The index at ``path`` as the writer keeps it. IndexStale when it cannot be used."""
    if not path.exists():
        raise IndexStale
    require_own_database(path)
    try:
        database = connect_to_read(path)
    except (OSError, sqlite3.Error):
        raise IndexStale from None
    try:
        if meta(database, "version") == str(VERSION) and meta(database, "log") == log_id:
            return Index(database)
    except sqlite3.Error:
        pass
    database.close()
    raise IndexStale


def build_index(
    path: Path | None, log_id: str, segments: Segments, codec: Codec, end: int, clock: Clock, progress: Progress
) -> Index:
    """A new index of everything up to ``end``, at ``path`` (None: a private one that goes when it is closed)."""
    if path is None:
        index = _empty("", log_id)
        catch_up(index, segments, codec, end, clock, progress)
        return index
    new = path.with_name(path.name + ".new")
    for name in (path, new):
        remove_index(name)
    index = _empty(str(new), log_id)
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
    """Remove an index file and what SQLite keeps beside it."""
    for ending in ("", "-wal", "-shm", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).unlink()


def refuse_harmed(database: sqlite3.Connection, path: Path) -> None:
    """After an error of some database: when it was this one, the index at ``path`` is forgotten. IndexCorrupt."""
    try:
        whole = database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",)
    except sqlite3.OperationalError:
        return  # a full or busy disk
    except sqlite3.DatabaseError:
        whole = False
    if not whole:
        remove_index(path)
        raise IndexCorrupt(str(path))


def disown_index(path: Path) -> None:
    """See to it, durably, that the index at ``path`` is built again at the next opening. It can still be asked until then."""
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
    """The index file for writing; a power cut costs at most its last transactions, which the log has."""
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
    progress: Progress = in_silence,
) -> None:
    """Take up what stands in the log behind the index's end, up to ``end``. IndexStale: it is not of this log."""
    start = index.end
    crc_then = meta(index.database, "crc")
    batch: list[IndexEntry] = []
    reached, crc = start, int(crc_then or 0)
    harmed: list[tuple[Damage, EventSlot | None, EventSlot | None]] = []
    before: EventSlot | None = None

    def flush() -> None:
        if batch or reached > index.end:
            known = index.known(entry.place for entry in batch)
            index.add(batch, known, end=reached, crc=crc, rank=ranker(segments, codec), decoders=codec.decoders)
            batch.clear()
            progress(reached, end)

    for first, item in _items(index, segments, start, end, clock):
        if isinstance(item, DamagedRange):
            if item.last_position is None or item.last_position > start:
                segment = segments.holding(first)
                harmed.append((damage_of(segment, item), before, None))
            continue
        if item.position == start and crc_then is not None and int(crc_then) != item.crc:
            raise IndexStale
        if item.position <= start:
            continue
        reached, crc = position_after(item.position, item.record) - 1, item.crc
        try:
            entry = codec.entry(item.record, item.offset)
        except msgspec.MsgspecError as error:
            harmed.append((unreadable(segments, item, error), before, None))
            continue
        batch.append(entry)
        harmed = [(damage, place, behind or entry.place) for damage, place, behind in harmed]
        before = entry.place
        if len(batch) >= _BATCH:
            flush()
    flush()
    for damage, place, behind in harmed:
        _block(index, damage, place, behind)


def _items(
    index: Index, segments: Segments, start: int, end: int, clock: Clock
) -> Iterator[tuple[int, Line | DamagedRange]]:
    """The log from the segment with position ``start`` on; remembers which segments are whole."""
    everything = segments.all()
    if not everything or end <= start:
        return
    from_first = segments.holding(start).first if start else everything[0].first
    for segment in everything:
        if segment.first < from_first:
            continue
        whole = True
        for item in segments.walk(segment):
            whole = whole and isinstance(item, Line)
            if isinstance(item, Line) and item.position > end:
                return
            yield segment.first, item
        if whole and segment is not everything[-1]:
            index.verified(segment.first, clock.now().isoformat())


def _block(index: Index, damage: Damage, before: EventSlot | None, behind: EventSlot | None) -> None:
    """Remember which events may have stood in ``damage``: those between its neighbours, or all of their streams."""
    streams = {index.stream_of(place) for place in (before, behind) if place is not None} - {None}
    index.damaged(damage)
    if len(streams) == 1 and before is not None and behind is not None and before.key <= behind.key:
        index.damaged(damage, streams.pop(), (before.key, behind.key))
    for stream in streams:
        index.damaged(damage, stream, _EVERYTHING)


def unreadable(segments: Segments, line: Line, error: msgspec.MsgspecError) -> Damage:
    """A line that is what was written, and yet no record that this release can read."""
    segment = segments.holding(line.position)
    number = segments.text(segment).count(b"\n", 0, line.offset) + 1
    what = f"the record cannot be read: {error}"
    return Damage(path=str(segment.path), line=number, position=line.position, last_position=line.position, what=what)


def ranker(segments: Segments, codec: Codec) -> Rank:
    """Ranks revisions; one that cannot be read is the worst."""

    def rank(position: int, offset: int) -> tuple[object, ...]:
        try:
            return codec.rank(codec.event(segments.records([(position, offset)])[0]))
        except LogCorrupt:
            return (False, -1, 0, -1, b"")

    return rank


def _empty(path: str, log_id: str) -> Index:
    database = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -8000"):
            database.execute(f"PRAGMA {pragma}").fetchall()
        database.executescript(SCHEMA)
        index = Index(database)
        index.remark(version=VERSION, log=log_id, vocabulary=vocabulary(), end=0)
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
