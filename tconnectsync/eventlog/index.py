"""Writes the index: which event is where in the pump's order and in the log. It can be deleted and is then rebuilt.

:mod:`tconnectsync.eventlog.index_tables` has its tables, and :mod:`tconnectsync.eventlog.index_queries` reads it.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from tconnectsync.eventlog.codec import Decoder, EventSlot, IndexEntry, digest
from tconnectsync.eventlog.damage import Damage
from tconnectsync.eventlog.index_tables import FREQUENT, RARE_FROM, insert_events
from tconnectsync.events import BODIES, FACTS

JUMP_US = 3 * 3600 * 1_000_000
"""If a pump time is this much earlier than that of the event before it, the clock jumped."""

_FAR_APART = 10_000  # keys

Rank: TypeAlias = Callable[[int, int], tuple[object, ...]]
"""Returns the rank of the revision at (position, offset)."""

StreamName: TypeAlias = tuple[str, "int | None", "str | None"]


class IndexedRecord(msgspec.Struct, frozen=True, order=True, gc=False):
    """A record that the index has. The order is that of the log."""

    position: int
    offset: int
    digest: bytes


class Index:
    """The open index file. ``end`` is the last position that it covers."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.database = database
        self._kinds: dict[str, int] = {}
        self._streams: dict[StreamName, int] = {}
        self._last: dict[int, tuple[int, int]] = {}  # stream: last key, and its pump time
        self._decoders: set[tuple[str, int]] = set()
        self.end = 0
        self.load()

    def load(self) -> None:
        """Read the file's content that is cached in memory."""
        query = self.database.execute
        self._kinds = {name: number for number, name in query("SELECT id, name FROM kind")}
        self._streams = {
            (pump, group, None if numbered else source): number
            for number, pump, group, source, numbered in query("SELECT id, pump, grp, source, numbered FROM stream")
        }
        self._last = {}
        for stream in self._streams.values():
            row = query(
                "SELECT key, pump_us FROM event WHERE stream = ? AND best = 1 ORDER BY key DESC LIMIT 1", (stream,)
            ).fetchone()
            if row:
                self._last[stream] = row
        self._decoders = {(source, tag) for source, tag in query("SELECT source, tag FROM decoder")}
        self.end = int(get_meta(self.database, "end") or 0)

    def records_at(self, slots: Iterable[EventSlot]) -> dict[EventSlot, list[IndexedRecord]]:
        """Return the records at ``slots``; slots without records are not in the result."""
        wanted: dict[tuple[str | None, int | None, str | None], list[EventSlot]] = {}
        for slot in slots:
            wanted.setdefault((slot.pump, slot.group, slot.source), []).append(slot)
        found: dict[EventSlot, list[IndexedRecord]] = {}
        for (pump, group, source), here in wanted.items():
            if pump is None:
                self._facts_at(here, found)
                continue
            stream = self._streams.get((pump, group, source))
            if stream is None:
                continue
            last = self._last[stream][0] if stream in self._last else -1
            keys = {slot.key for slot in here if slot.key <= last}
            if not keys:
                continue
            for key, tie, position, offset, seen in self._rows_at(stream, keys):
                if key in keys:
                    slot = EventSlot(pump, group, source, key, tie)
                    found.setdefault(slot, []).append(IndexedRecord(position, offset, seen))
        return found

    def _rows_at(self, stream: int, keys: set[int]) -> Iterable[tuple[int, int, int, int, bytes]]:
        """Return (key, tie, position, offset, digest) of all records at ``keys``. There may be more, if that is faster."""
        columns = "SELECT event.key, event.tie, event.pos, event.offset, event.digest FROM"
        first, last = min(keys), max(keys)
        if last - first < 4 * len(keys):
            return self.database.execute(
                f"{columns} event WHERE stream = ? AND key BETWEEN ? AND ?", (stream, first, last)
            )
        return self.database.execute(
            f"{columns} json_each(?) AS wanted CROSS JOIN event ON event.stream = ? AND event.key = wanted.value",
            (str(sorted(keys)), stream),
        )

    def _facts_at(self, slots: Sequence[EventSlot], found: dict[EventSlot, list[IndexedRecord]]) -> None:
        for slot in slots:
            rows = self.database.execute("SELECT pos, offset, digest FROM fact WHERE tie = ?", (slot.tie,))
            if records := [IndexedRecord(*row) for row in rows]:
                found[slot] = records

    # --- adding -----------------------------------------------------------------------------------------------------

    def add(
        self,
        entries: Sequence[IndexEntry],
        known: Mapping[EventSlot, Sequence[IndexedRecord]],
        *,
        end: int,
        crc: int,
        rank: Rank,
        decoders: Mapping[str, Decoder],
    ) -> None:
        """Add records that are durable in the log; the last one is at ``end`` and has checksum ``crc``.

        ``known``: result of :meth:`records_at` for their slots. Errors: sqlite3.Error; then nothing was added.
        """
        try:
            with self.transaction():
                self._add(entries, known, rank)
                for source, tag in {(entry.source, entry.decoder) for entry in entries} - self._decoders:
                    read_as = decoders[source].decoder if source in decoders else tag
                    self.database.execute("INSERT OR REPLACE INTO decoder VALUES (?, ?, ?)", (source, tag, read_as))
                    self._decoders.add((source, tag))
                self.set_meta(end=end, crc=crc)
        except BaseException:
            self.load()
            raise
        self.end = end

    def set_meta(self, **values: object) -> None:
        """Store values about the whole index; :func:`get_meta` returns them."""
        self.database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block in one transaction."""
        self.database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                self.database.execute("ROLLBACK")
            raise

    def _add(
        self, entries: Sequence[IndexEntry], known: Mapping[EventSlot, Sequence[IndexedRecord]], rank: Rank
    ) -> None:
        rows: list[object] = []
        facts = []
        arrived: dict[int, list[tuple[int, int]]] = {}
        spans: dict[int, dict[int, list[int]]] = {}
        current: StreamName | None = None
        for entry in entries:
            kind = self._kinds.get(entry.kind) or self._new_kind(entry.kind)
            slot = entry.slot
            pump, key = slot.pump, slot.key
            if pump is None:
                facts.append((entry.pos, kind, entry.source, entry.pump, slot.tie, entry.digest, entry.offset))
                continue
            name = (pump, slot.group, slot.source)
            if name != current:
                stream = self._streams.get(name) or self._new_stream(name, entry.source)
                here, span_of = arrived.setdefault(stream, []), spans.setdefault(stream, {})
                current = name
            # sqlite3 takes a bytearray as it is, but for bytes it searches an adapter each time
            stored = bytearray(entry.digest)
            rows += (stream, key, slot.tie, entry.pos, kind, stored, entry.pump_us, entry.offset)
            here.append((key, entry.pump_us))
            span = span_of.get(kind)
            if span is None:
                span_of[kind] = [key, key]
            elif key > span[1]:
                span[1] = key
            elif key < span[0]:
                span[0] = key
        query = self.database
        insert_events(query, rows)
        query.executemany("INSERT INTO fact VALUES (?, ?, ?, ?, ?, ?, ?)", facts)
        query.executemany(
            "INSERT INTO span VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE "
            "SET first = min(first, excluded.first), last = max(last, excluded.last)",
            [(stream, kind, *span) for stream, of in spans.items() for kind, span in of.items()],
        )
        revised = self._mark_best_revisions(entries, known, rank)
        numbered = {stream for (_, _, source), stream in self._streams.items() if source is None}
        for stream, keys in arrived.items():
            self._update_stream(stream, keys, numbered=stream in numbered, revised=stream in revised)

    def _mark_best_revisions(
        self,
        entries: Sequence[IndexEntry],
        known: Mapping[EventSlot, Sequence[IndexedRecord]],
        rank: Rank,
    ) -> set[int]:
        """Mark the best revision of each event that has several. Return the streams of these events."""
        if not known and len({entry.slot for entry in entries}) == len(entries):
            return set()
        seen: set[EventSlot] = set()
        revised: set[tuple[int, int, int]] = set()
        for entry in entries:
            slot = entry.slot
            if slot.pump is not None and (slot in seen or slot in known):
                revised.add((self._streams[slot.pump, slot.group, slot.source], slot.key, slot.tie))
            seen.add(slot)
        new = {entry.pos for entry in entries}
        for event in revised:
            where = "WHERE stream = ? AND key = ? AND tie = ?"
            found = self.database.execute(f"SELECT pos, offset, kind FROM event {where} ORDER BY pos", event).fetchall()
            best = max(found, key=lambda row: rank(row[0], row[1]))
            self.database.execute(f"UPDATE event SET best = (pos = ?) {where}", (best[0], *event))
            earlier: set[int] = set()
            for position, _, kind in found:
                if position in new:
                    also = [(position, *event[:2], other) for other in earlier - {kind}]
                    self.database.executemany("INSERT INTO also VALUES (?, ?, ?, ?)", also)
                earlier.add(kind)
        return {event[0] for event in revised}

    def _update_stream(self, stream: int, arrived: list[tuple[int, int]], *, numbered: bool, revised: bool) -> None:
        """Update the stream's last key and its jumps: at the new events and at those after them."""
        arrived.sort()
        last = self._last.get(stream)
        if not revised and (last is None or arrived[0][0] > last[0]):
            if numbered:
                self._insert_jumps(stream, arrived if last is None else [last, *arrived])
            self._last[stream] = arrived[-1]
            return
        if numbered:
            first = 0
            for after in range(1, len(arrived) + 1):
                if after == len(arrived) or arrived[after][0] > arrived[after - 1][0] + _FAR_APART:
                    self._recompute_jumps(stream, arrived[first][0], arrived[after - 1][0])
                    first = after
        row = self.database.execute(
            "SELECT key, pump_us FROM event WHERE stream = ? AND best = 1 ORDER BY key DESC LIMIT 1", (stream,)
        )
        self._last[stream] = row.fetchone()

    def _recompute_jumps(self, stream: int, first: int, last: int) -> None:
        query = self.database.execute
        look = "SELECT key FROM event WHERE stream = ? AND best = 1 AND key"
        before = query(f"{look} < ? ORDER BY key DESC LIMIT 1", (stream, first)).fetchone() or (first,)
        after = query(f"{look} > ? ORDER BY key LIMIT 1", (stream, last)).fetchone() or (last,)
        query("DELETE FROM jump WHERE stream = ? AND key >= ? AND key <= ?", (stream, first, after[0]))
        times = query(
            "SELECT key, pump_us FROM event WHERE stream = ? AND best = 1 AND key >= ? AND key <= ? ORDER BY key",
            (stream, before[0], after[0]),
        )
        self._insert_jumps(stream, times.fetchall())

    def _insert_jumps(self, stream: int, times: Sequence[tuple[int, int]]) -> None:
        before = times[0][1]
        for key, after in times:
            if before - after > JUMP_US:
                self.database.execute("INSERT OR REPLACE INTO jump VALUES (?, ?, ?, ?)", (stream, key, before, after))
            before = after

    def _new_kind(self, name: str) -> int:
        if name in FREQUENT:
            number = FREQUENT.index(name) + 1
        else:
            number = max(RARE_FROM, 1 + max(self._kinds.values(), default=0))
        self.database.execute("INSERT INTO kind VALUES (?, ?)", (number, name))
        self._kinds[name] = number
        return number

    def _new_stream(self, name: StreamName, source: str) -> int:
        pump, group, unnumbered = name
        stream = self.database.execute(
            "INSERT INTO stream (pump, grp, source, numbered) VALUES (?, ?, ?, ?)",
            (pump, group, source, int(unnumbered is None)),
        ).lastrowid
        assert stream is not None  # noqa: S101 - an INSERT has a row
        self._streams[name] = stream
        return stream

    # --- checks of the log ------------------------------------------------------------------------------------------

    def record_verified(self, segment: int, at: str) -> None:
        """Store that ``segment`` (its first position) was completely checked at this ISO time and is correct."""
        self.database.execute("INSERT OR REPLACE INTO verified VALUES (?, ?)", (segment, at))

    def record_damage(self, damage: Damage, stream: int | None = None, keys: tuple[int, int] = (0, 0)) -> None:
        """Store a damage. With ``stream``: its events with ``keys`` (first, last) may be among the lost ones."""
        self.database.execute(
            "DELETE FROM damage WHERE path = ? AND line = ? AND stream IS ?", (damage.path, damage.line, stream)
        )
        self.database.execute(
            "INSERT INTO damage VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (damage.path, damage.line, damage.position, damage.last_position, damage.what, stream, *keys),
        )

    def stream_of(self, slot: EventSlot) -> int | None:
        """Return the number of the slot's stream; None for facts about the data."""
        return None if slot.pump is None else self._streams.get((slot.pump, slot.group, slot.source))

    def close(self) -> None:
        self.database.close()


def get_meta(database: sqlite3.Connection, name: str) -> str | None:
    """Return a value that :meth:`Index.set_meta` stored."""
    row = database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def vocabulary_digest() -> str:
    """Return a hash of the kinds that this release knows. An index that was made with others is rebuilt."""
    return digest("\n".join([*sorted(BODIES), "", *sorted(FACTS)]).encode()).hex()
