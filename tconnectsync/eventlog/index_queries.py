"""Reads the index: events in the pump's order, without reading the log."""

from __future__ import annotations

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from tconnectsync.eventlog.codec import pump_time_of
from tconnectsync.eventlog.damage import Damage
from tconnectsync.eventlog.index_tables import RARE_FROM

_PAGE, _FIRST_PAGE = 10_000, 100
"""Rows that are read at once; at first few, because many callers stop soon."""
_FIRST, _LAST = -(1 << 63), (1 << 63) - 1


class Stream(msgspec.Struct, frozen=True, kw_only=True):
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
    """Queries on the index. Results contain only the best revision of each event, unless a method says otherwise."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._query = database.execute
        self._numbers: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._touched: tuple[tuple[int, ...], list[tuple[int, int, str]]] = (), []
        """The last arguments and the result of :meth:`touched_intervals`, of all kinds."""

    def streams(self) -> list[Stream]:
        """Return every stream, in order of first appearance."""
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

    def locations(self, stream: int, first: int, last: int, kinds: frozenset[str] | None) -> list[tuple[int, int]]:
        """Return (position, offset) of the events with keys from ``first`` to ``last``, in key order."""
        if kinds is not None and all(number >= RARE_FROM for number in self._numbers_of(kinds)):
            return self._rare_locations(stream, first, last, kinds)
        where, values = self._kind_filter(kinds)
        return self._query(
            f"SELECT pos, offset FROM event WHERE stream = ? AND best = 1 AND key >= ? AND key <= ?{where} "
            "ORDER BY key, tie",
            (stream, first, last, *values),
        ).fetchall()

    def marks(self, stream: int, first: int, last: int, kinds: frozenset[str]) -> list[tuple[int, str, datetime]]:
        """Return (key, kind, pump time) of the events with keys from ``first`` to ``last``, in key order."""
        where, values = self._kind_filter(kinds)
        rows = self._query(
            f"SELECT key, kind, pump_us FROM event WHERE stream = ? AND best = 1 AND key >= ? AND key <= ?{where} "
            "ORDER BY key, tie",
            (stream, first, last, *values),
        )
        return [(key, self._name(kind), pump_time_of(micros)) for key, kind, micros in rows.fetchall()]

    def _rare_locations(self, stream: int, first: int, last: int, kinds: frozenset[str]) -> list[tuple[int, int]]:
        """Do the same for rare kinds by their own SQL index: the cost depends on the number of results, not on the range."""
        found = []
        for where, values in self._kind_groups(stream, kinds):
            found += self._query(
                f"SELECT key, tie, pos, offset FROM {where} AND key >= ? AND key <= ?", (*values, first, last)
            ).fetchall()
        return [row[2:] for row in sorted(found)]

    def location_at(self, position: int) -> tuple[int, int] | None:
        """Return (position, offset) of the record at ``position``, of any kind and revision; None if there is none."""
        row: tuple[int, int] | None = self._query("SELECT pos, offset FROM fact WHERE pos = ?", (position,)).fetchone()
        return row or self._query("SELECT pos, offset FROM event WHERE pos = ?", (position,)).fetchone()

    def newest_location(self, stream: int) -> tuple[int, int] | None:
        """Return (position, offset) of the event with the greatest key."""
        row: tuple[int, int] | None = self._query(
            "SELECT pos, offset FROM event WHERE stream = ? AND best = 1 ORDER BY key DESC, tie DESC LIMIT 1", (stream,)
        ).fetchone()
        return row

    def touched_intervals(
        self, after: int, up_to: int, kinds: frozenset[str], *, numbered_width: int, unnumbered_width: int
    ) -> list[tuple[int, int, str]]:
        """See :meth:`tconnectsync.eventlog.EventLog.touched_intervals`."""
        asked = (after, up_to, numbered_width, unnumbered_width)
        if self._touched[0] != asked:  # several sinks ask in turn, each about its own kinds
            widths = "JOIN (SELECT id, CASE WHEN numbered THEN ? ELSE ? END AS width FROM stream) ON id = stream"
            rows = self._query(
                " UNION ".join(
                    "SELECT stream, key / width - (key % width < 0), kind"  # SQLite rounds towards zero
                    f" FROM {table} {widths} WHERE pos > ? AND pos <= ?"
                    for table in ("event INDEXED BY event_pos", "also")
                ),
                2 * (numbered_width, unnumbered_width, after, up_to),
            )
            self._touched = asked, [(stream, interval, self._name(kind)) for stream, interval, kind in rows.fetchall()]
        return [row for row in self._touched[1] if row[2] in kinds]

    def touched(self, after: int, up_to: int, limit: int | None) -> Iterator[tuple[int, int, int, str]]:
        """See :meth:`tconnectsync.eventlog.EventLog.touched`."""
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

    def fact_locations(self, kind: str, pump: str | None) -> Iterator[tuple[int, int]]:
        """Yield (position, offset) of the facts about the data of ``kind``, newest first."""
        number = self._number(kind)
        if number is not None:
            where = "fact WHERE kind = ? AND (? IS NULL OR pump = ?)"
            yield from self._newest_first(where, (number, pump, pump))

    def kind_locations(self, kind: str, pump: str | None) -> Iterator[tuple[int, int]]:
        """Yield (position, offset) of the events of ``kind``, newest position first."""
        number = self._number(kind)
        if number is None:
            return
        of_pump = "(? IS NULL OR stream IN (SELECT id FROM stream WHERE pump = ?))"
        if number < RARE_FROM:
            where = f"event INDEXED BY event_pos WHERE kind = ? AND best = 1 AND {of_pump}"
            yield from self._newest_first(where, (number, pump, pump))
            return
        found = []
        streams = self._query(f"SELECT stream FROM span WHERE kind = ? AND {of_pump}", (number, pump, pump))
        for (stream,) in streams.fetchall():
            # with bounds for the key, SQLite searches this kind only and not all rare kinds
            found += self._query(
                "SELECT pos, offset FROM event INDEXED BY event_rare WHERE stream = ? AND kind = ?"
                f" AND kind >= {RARE_FROM} AND best = 1 AND key >= ? AND key <= ?",
                (stream, number, _FIRST, _LAST),
            ).fetchall()
        yield from sorted(found, reverse=True)

    def _newest_first(self, where: str, values: tuple[object, ...]) -> Iterator[tuple[int, int]]:
        before = _LAST
        while True:
            rows = self._query(
                f"SELECT pos, offset FROM {where} AND pos < ? ORDER BY pos DESC LIMIT 100", (*values, before)
            ).fetchall()
            yield from rows
            if len(rows) < 100:
                return
            before = rows[-1][0]

    def times(
        self, stream: int, kinds: frozenset[str] | None, first: int | None, last: int | None
    ) -> Iterator[tuple[int, datetime]]:
        """Yield (key, pump time) of the stream's events of ``kinds``, in key order."""
        low, high = _FIRST if first is None else first, _LAST if last is None else last
        scans = [self._scan(*group, low, high) for group in self._kind_groups(stream, kinds)]
        for key, _, micros in heapq.merge(*scans):
            yield key, pump_time_of(micros)

    def _scan(self, where: str, values: tuple[int, ...], low: int, high: int) -> Iterator[tuple[int, int, int]]:
        tie, page = _FIRST, _FIRST_PAGE
        while True:
            rows = self._query(
                f"SELECT key, tie, pump_us FROM {where} AND key >= ? AND key <= ? "
                "AND (key, tie) > (?, ?) ORDER BY key, tie LIMIT ?",
                (*values, low, high, low, tie, page),
            ).fetchall()
            yield from rows
            if len(rows) < page:
                return
            low, tie, page = rows[-1][0], rows[-1][1], _PAGE

    def neighbour(
        self, stream: int, key: int, kinds: frozenset[str] | None, *, before: bool
    ) -> tuple[int, datetime] | None:
        """Return (key, pump time) of the nearest event of ``kinds`` before (or after) ``key``, but not at it."""
        sign, order = ("<", "DESC") if before else (">", "ASC")
        found = []
        for where, values in self._kind_groups(stream, kinds):
            row = self._query(
                f"SELECT key, pump_us FROM {where} AND key {sign} ? ORDER BY key {order}, tie {order} LIMIT 1",
                (*values, key),
            ).fetchone()
            found += [row] if row else []
        if not found:
            return None
        nearest = max(found) if before else min(found)
        return nearest[0], pump_time_of(nearest[1])

    def jumps(self, stream: int) -> list[tuple[int, datetime, datetime]]:
        """Return (key, pump time of the event before, pump time at the key) of every jump back."""
        rows = self._query("SELECT key, before_us, after_us FROM jump WHERE stream = ? ORDER BY key", (stream,))
        return [(key, pump_time_of(before), pump_time_of(after)) for key, before, after in rows.fetchall()]

    def damage(self) -> list[Damage]:
        """Return all damage that was found so far."""
        rows = self._query("SELECT DISTINCT path, line, position, last, what FROM damage ORDER BY path, line")
        return [
            Damage(path=path, line=line, position=position, last_position=last, what=what)
            for path, line, position, last, what in rows.fetchall()
        ]

    def refuse_damage(self, stream: int, first: int, last: int) -> None:
        """Raise LogCorrupt if a damage may have lost an event of the stream with a key from ``first`` to ``last``."""
        row = self._query(
            "SELECT path, line, position, last, what FROM damage WHERE stream = ? AND first_key <= ? AND last_key >= ?",
            (stream, last, first),
        ).fetchone()
        if row is not None:
            path, line, position, last_position, what = row
            raise Damage(path=path, line=line, position=position, last_position=last_position, what=what).error()

    def verified(self) -> dict[int, datetime]:
        """Return when each segment was last checked completely, by its first position."""
        rows = self._query("SELECT segment, at FROM verified").fetchall()
        return {segment: datetime.fromisoformat(at) for segment, at in rows}

    # --- kinds ------------------------------------------------------------------------------------------------------

    def _kind_groups(self, stream: int, kinds: frozenset[str] | None) -> Sequence[tuple[str, tuple[int, ...]]]:
        """Return tables with conditions that together select ``kinds``: one for each rare kind, one for all frequent kinds."""
        whole = "event WHERE stream = ? AND best = 1"
        if kinds is None:
            return [(whole, (stream,))]
        present = {kind for (kind,) in self._query("SELECT kind FROM span WHERE stream = ?", (stream,))}
        numbers = sorted(present & self._numbers_of(kinds))
        frequent = [number for number in numbers if number < RARE_FROM]
        # with "kind = ?" SQLite would search all rare kinds in the index, or all kinds without it
        rare = f"event INDEXED BY event_rare WHERE stream = ? AND kind IS ? AND kind >= {RARE_FROM} AND best = 1"
        groups: list[tuple[str, tuple[int, ...]]] = [
            (rare, (stream, number)) for number in numbers if number >= RARE_FROM
        ]
        if frequent:
            groups.append((f"{whole} AND kind IN ({_placeholders(frequent)})", (stream, *frequent)))
        return groups

    def _kind_filter(self, kinds: frozenset[str] | None) -> tuple[str, tuple[int, ...]]:
        if kinds is None:
            return "", ()
        numbers = tuple(sorted(self._numbers_of(kinds)))
        return f" AND +kind IN ({_placeholders(numbers)})", numbers

    def _numbers_of(self, kinds: frozenset[str]) -> set[int]:
        """Return the numbers of those kinds that the log has. The table is read once, not for each kind that it lacks."""
        if not kinds <= self._numbers.keys():
            self._load()
        return {self._numbers[kind] for kind in kinds if kind in self._numbers}

    def _number(self, kind: str) -> int | None:
        if kind not in self._numbers:
            self._load()
        return self._numbers.get(kind)

    def _name(self, number: int) -> str:
        if number not in self._names:
            self._load()
        return self._names[number]

    def _load(self) -> None:
        """Read the table of kinds again if it has grown: a fold may see kinds that the log does not have."""
        (count,) = self._query("SELECT count(*) FROM kind").fetchone()
        if count != len(self._names):
            self._names = dict(self._query("SELECT id, name FROM kind").fetchall())
            self._numbers = {name: number for number, name in self._names.items()}


def _placeholders(values: Sequence[int]) -> str:
    return ", ".join("?" * len(values))
