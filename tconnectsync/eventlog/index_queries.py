"""Questions about the pump's order, answered by the index without reading the log."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime

import attrs

from tconnectsync.eventlog.codec import pump_time_of
from tconnectsync.eventlog.damage import Damage
from tconnectsync.eventlog.index import RARE_FROM

_PAGE = 10_000
_FIRST, _LAST = -(1 << 63), (1 << 63) - 1


@attrs.frozen(kw_only=True)
class Stream:
    """Events with one order: a pump's sequence group, or a pump's events from a source without numbers.

    Keys are sequence numbers, or milliseconds of pump time since 2008. ``source`` is the first that wrote to it.
    """

    id: int
    pump: str
    group: int | None
    source: str
    numbered: bool
    first_key: int
    last_key: int


class IndexReader:
    """The index, asked. Superseded revisions are not in the answers, unless said otherwise."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._query = database.execute
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def end(self) -> int:
        """The last position that the index covers."""
        row = self._query("SELECT value FROM meta WHERE name = 'end'").fetchone()
        return int(row[0]) if row else 0

    def streams(self) -> list[Stream]:
        """Every stream, in order of first appearance."""
        rows = self._query(
            "SELECT id, pump, grp, source, numbered, (SELECT min(key) FROM event WHERE stream = id), "
            "(SELECT max(key) FROM event WHERE stream = id) FROM stream ORDER BY id"
        )
        return [
            Stream(
                id=number,
                pump=pump,
                group=None if group == -1 else group,
                source=source,
                numbered=bool(numbered),
                first_key=first,
                last_key=last,
            )
            for number, pump, group, source, numbered, first, last in rows.fetchall()
            if first is not None
        ]

    def places(self, stream: int, first: int, last: int, kinds: frozenset[str] | None) -> list[tuple[int, int]]:
        """(position, offset) of the events with keys from ``first`` to ``last``, in key order."""
        if kinds is not None and all((self._number(kind) or RARE_FROM) >= RARE_FROM for kind in kinds):
            return self._rare_places(stream, first, last, kinds)
        where, values = self._of_kinds(kinds)
        return self._query(
            f"SELECT pos, offset FROM event WHERE stream = ? AND best = 1 AND key >= ? AND key <= ?{where} "
            "ORDER BY key, tie",
            (stream, first, last, *values),
        ).fetchall()

    def _rare_places(self, stream: int, first: int, last: int, kinds: frozenset[str]) -> list[tuple[int, int]]:
        """The same for rare kinds, each by their own index: a stretch of years costs what is found in it."""
        found = []
        for where, values in self._groups(stream, kinds):
            found += self._query(
                f"SELECT key, tie, pos, offset FROM event INDEXED BY event_rare WHERE stream = ? AND best = 1{where}"
                " AND key >= ? AND key <= ?",
                (stream, *values, first, last),
            ).fetchall()
        return [place[2:] for place in sorted(found)]

    def place_at(self, position: int) -> tuple[int, int] | None:
        """(position, offset) of the record at ``position``, whatever it is."""
        row: tuple[int, int] | None = self._query("SELECT pos, offset FROM fact WHERE pos = ?", (position,)).fetchone()
        return row or self._query("SELECT pos, offset FROM event WHERE pos = ?", (position,)).fetchone()

    def newest(self, stream: int) -> tuple[int, int] | None:
        """(position, offset) of the event with the greatest key."""
        row: tuple[int, int] | None = self._query(
            "SELECT pos, offset FROM event WHERE stream = ? AND best = 1 ORDER BY key DESC, tie DESC LIMIT 1", (stream,)
        ).fetchone()
        return row

    def touched(self, after: int, up_to: int, limit: int | None) -> Iterator[tuple[int, int, int, str]]:
        """(position, stream, key, kind) of the pump's records behind ``after``, by position, revisions too.

        A revision of another kind than what it revises is told with both kinds. ``limit`` counts positions.
        """
        left = -1 if limit is None else limit
        while left:
            page = _PAGE if left < 0 else min(left, _PAGE)
            rows = self._query(
                "SELECT pos, stream, key, kind FROM event INDEXED BY event_pos WHERE pos > ? AND pos <= ? "
                "ORDER BY pos LIMIT ?",
                (after, up_to, page),
            ).fetchall()
            last = up_to if len(rows) < page else rows[-1][0]
            also = self._query(
                "SELECT pos, stream, key, kind FROM also WHERE pos > ? AND pos <= ?", (after, last)
            ).fetchall()
            for position, stream, key, kind in sorted([*rows, *also]) if also else rows:
                yield position, stream, key, self._name(kind)
            if len(rows) < page:
                return
            after = rows[-1][0]
            left -= page if left > 0 else 0

    def facts(self, kind: str, pump: str | None) -> Iterator[tuple[int, int]]:
        """(position, offset) of the records about the data of ``kind``, newest first."""
        before, number = _LAST, self._number(kind)
        while number is not None:
            rows = self._query(
                "SELECT pos, offset FROM fact WHERE kind = ? AND pos < ? AND (? IS NULL OR pump = ?) "
                "ORDER BY pos DESC LIMIT 100",
                (number, before, pump, pump),
            ).fetchall()
            yield from rows
            if len(rows) < 100:
                return
            before = rows[-1][0]

    def of_kind(self, kind: str, pump: str | None) -> Iterator[tuple[int, int]]:
        """(position, offset) of the events of ``kind``, newest in the log first."""
        number = self._number(kind)
        if number is None:
            return
        wanted = "(? IS NULL OR stream IN (SELECT id FROM stream WHERE pump = ?))"
        if number >= RARE_FROM:
            found = []
            streams = self._query(f"SELECT stream FROM span WHERE kind = ? AND {wanted}", (number, pump, pump))
            for (stream,) in streams.fetchall():
                # the bounds of the key let the index be entered at the kind itself, and not at all rare kinds
                found += self._query(
                    "SELECT pos, offset FROM event INDEXED BY event_rare WHERE stream = ? AND kind = ?"
                    f" AND kind >= {RARE_FROM} AND best = 1 AND key >= ? AND key <= ?",
                    (stream, number, _FIRST, _LAST),
                ).fetchall()
            yield from sorted(found, reverse=True)
            return
        before = _LAST
        while True:
            rows = self._query(
                f"SELECT pos, offset FROM event INDEXED BY event_pos WHERE pos < ? AND kind = ? AND best = 1 "
                f"AND {wanted} ORDER BY pos DESC LIMIT 100",
                (before, number, pump, pump),
            ).fetchall()
            yield from rows
            if len(rows) < 100:
                return
            before = rows[-1][0]

    def times(
        self, stream: int, kinds: frozenset[str] | None, first: int | None, last: int | None
    ) -> Iterator[tuple[int, datetime]]:
        """(key, pump time) of the stream's events of ``kinds``, in key order."""
        low, high = _FIRST if first is None else first, _LAST if last is None else last
        scans = [self._scan(stream, *group, low, high) for group in self._groups(stream, kinds)]
        for key, _, micros in heapq.merge(*scans):
            yield key, pump_time_of(micros)

    def _scan(
        self, stream: int, where: str, values: tuple[int, ...], low: int, high: int
    ) -> Iterator[tuple[int, int, int]]:
        tie = _FIRST
        while True:
            rows = self._query(
                f"SELECT key, tie, pump_us FROM event WHERE stream = ? AND best = 1{where} AND key >= ? AND key <= ? "
                "AND (key, tie) > (?, ?) ORDER BY key, tie LIMIT ?",
                (stream, *values, low, high, low, tie, _PAGE),
            ).fetchall()
            yield from rows
            if len(rows) < _PAGE:
                return
            low, tie = rows[-1][0], rows[-1][1]

    def neighbour(
        self, stream: int, key: int, kinds: frozenset[str] | None, *, before: bool
    ) -> tuple[int, datetime] | None:
        """(key, pump time) of the nearest event of ``kinds`` before (or behind) ``key``, not at it."""
        sign, way = ("<", "DESC") if before else (">", "ASC")
        found = []
        for where, values in self._groups(stream, kinds):
            row = self._query(
                f"SELECT key, pump_us FROM event WHERE stream = ? AND best = 1{where} AND key {sign} ? "
                f"ORDER BY key {way}, tie {way} LIMIT 1",
                (stream, *values, key),
            ).fetchone()
            found += [row] if row else []
        if not found:
            return None
        nearest = max(found) if before else min(found)
        return nearest[0], pump_time_of(nearest[1])

    def jumps(self, stream: int) -> list[tuple[int, datetime, datetime]]:
        """(key, pump time before, pump time at it) of every jump back."""
        rows = self._query("SELECT key, before_us, after_us FROM jump WHERE stream = ? ORDER BY key", (stream,))
        return [(key, pump_time_of(before), pump_time_of(after)) for key, before, after in rows.fetchall()]

    def damage(self) -> list[Damage]:
        """Damage that was found."""
        rows = self._query("SELECT DISTINCT path, line, position, last, what FROM damage ORDER BY path, line")
        return [
            Damage(path=path, line=line, position=position, last_position=last, what=what)
            for path, line, position, last, what in rows.fetchall()
        ]

    def damage_among(self, stream: int, first: int, last: int) -> Damage | None:
        """A damage in which an event of the stream with a key from ``first`` to ``last`` may have been lost."""
        row = self._query(
            "SELECT path, line, position, last, what FROM damage WHERE stream = ? AND first_key <= ? AND last_key >= ?",
            (stream, last, first),
        ).fetchone()
        if row is None:
            return None
        path, line, position, missing, what = row
        return Damage(path=path, line=line, position=position, last_position=missing, what=what)

    def verified(self) -> dict[int, datetime]:
        """When each segment was last read and checked whole, by first position."""
        rows = self._query("SELECT segment, at FROM verified").fetchall()
        return {segment: datetime.fromisoformat(at) for segment, at in rows}

    # --- kinds ------------------------------------------------------------------------------------------------------

    def _groups(self, stream: int, kinds: frozenset[str] | None) -> Sequence[tuple[str, tuple[int, ...]]]:
        """Conditions that together select ``kinds``: each rare kind by its own index, the frequent ones in one pass."""
        if kinds is None:
            return [("", ())]
        present = {kind for (kind,) in self._query("SELECT kind FROM span WHERE stream = ?", (stream,))}
        numbers = sorted(present & {self._number(kind) for kind in kinds} - {None})
        frequent = [number for number in numbers if number < RARE_FROM]
        groups = [(f" AND kind = ? AND kind >= {RARE_FROM}", (number,)) for number in numbers if number >= RARE_FROM]
        if frequent:
            groups.append((f" AND kind IN ({_marks(frequent)})", tuple(frequent)))
        return groups

    def _of_kinds(self, kinds: frozenset[str] | None) -> tuple[str, tuple[int, ...]]:
        if kinds is None:
            return "", ()
        numbers = tuple(sorted({number for kind in kinds if (number := self._number(kind)) is not None}))
        return f" AND +kind IN ({_marks(numbers)})", numbers

    def _number(self, kind: str) -> int | None:
        if kind not in self._numbers:
            self._load()
        return self._numbers.get(kind)

    def _name(self, number: int) -> str:
        if number not in self._names:
            self._load()
        return self._names[number]

    def _load(self) -> None:
        self._names = dict(self._query("SELECT id, name FROM kind").fetchall())
        self._numbers = {name: number for number, name in self._names.items()}


def _marks(values: Sequence[int]) -> str:
    return ", ".join("?" * len(values))
