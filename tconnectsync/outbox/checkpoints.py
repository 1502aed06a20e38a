"""Invalid intervals, which must be folded again, and the fold states at the ends of folded intervals."""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime

import attrs

from tconnectsync.clock import milliseconds
from tconnectsync.outbox.document_states import RUNNING
from tconnectsync.outbox.stored_values import CURSOR, CURSOR_CHECKSUM, HAND_OVERS, StoredValues


@attrs.frozen
class Checkpoints:
    """Stores the cursor, invalid intervals, fold states, and the times of documents outside the delivery window."""

    _db: sqlite3.Connection
    _values: StoredValues

    @property
    def cursor(self) -> int:
        """The log position up to which events were invalidated for folding."""
        return self._values.get(CURSOR)

    def invalidate(self, rows: Sequence[tuple[str, int, str]]) -> None:
        """Fold these (stream, interval, fold) again."""
        self._db.executemany("INSERT OR IGNORE INTO invalidated VALUES(?, ?, ?)", rows)

    def invalidate_range(self, stream: str, first: int, last: int, folds: Sequence[str]) -> None:
        """Fold the already folded intervals from ``first`` to ``last`` again, both inclusive."""
        for fold in folds:
            self._db.execute(
                "INSERT OR IGNORE INTO invalidated SELECT stream, interval, fold FROM checkpoint"
                " WHERE fold = ? AND stream = ? AND interval BETWEEN ? AND ?",
                (fold, stream, first, last),
            )

    def first_invalid(self, *, except_for: Container[tuple[str, str]] = ()) -> tuple[str, int, tuple[str, ...]] | None:
        """Return the lowest invalid interval of a stream, and its folds, without the pairs ``except_for`` (stream, fold)."""
        place, folds = ("", 0), list[str]()
        for stream, interval, fold in self._db.execute(
            "SELECT stream, interval, fold FROM invalidated ORDER BY 1, 2, 3"
        ):
            if folds and (stream, interval) != place:
                break
            if (stream, fold) not in except_for:
                place = (stream, interval)
                folds.append(fold)
        return (*place, tuple(folds)) if folds else None

    def invalid_between(self, stream: str, first: int, last: int) -> list[tuple[int, str]]:
        """Return the invalid (interval, fold) of a stream in order, both bounds inclusive."""
        sql = "SELECT interval, fold FROM invalidated WHERE stream = ? AND interval BETWEEN ? AND ? ORDER BY 1, 2"
        return self._db.execute(sql, (stream, first, last)).fetchall()

    def mark_folded(self, stream: str, intervals: Iterable[int], fold: str) -> None:
        """Record that these intervals are folded."""
        self._db.executemany(
            "DELETE FROM invalidated WHERE stream = ? AND interval = ? AND fold = ?",
            [(stream, interval, fold) for interval in intervals],
        )

    def invalid_count(self) -> int:
        """Return how many intervals are still to fold."""
        return int(self._db.execute("SELECT count(*) FROM invalidated").fetchone()[0])

    def has_invalid(self, stream: str, fold: str, *, since: int | None = None) -> bool:
        """Whether this fold has invalid intervals in this stream, from ``since`` on."""
        sql = "SELECT 1 FROM invalidated WHERE stream = ? AND fold = ? AND (? IS NULL OR interval >= ?) LIMIT 1"
        return self._db.execute(sql, (stream, fold, since, since)).fetchone() is not None

    def state_before(self, fold: str, stream: str, interval: int) -> bytes | None:
        """Return the state at the end of the interval before this one."""
        sql = (
            "SELECT state FROM checkpoint WHERE fold = ? AND stream = ? AND interval < ? ORDER BY interval DESC LIMIT 1"
        )
        row = self._db.execute(sql, (fold, stream, interval)).fetchone()
        return None if row is None else bytes(row[0])

    def save_states(self, fold: str, stream: str, states: Mapping[int, bytes]) -> bool:
        """Store the states at the ends of intervals; True if the last one differs from the stored one."""
        sql = "SELECT interval, state FROM checkpoint WHERE fold = ? AND stream = ? AND interval BETWEEN ? AND ?"
        known = dict(self._db.execute(sql, (fold, stream, min(states), max(states))))
        changed = {interval: state for interval, state in states.items() if known.get(interval) != state}
        self._db.executemany(
            "INSERT OR REPLACE INTO checkpoint VALUES(?, ?, ?, ?)",
            [(fold, stream, interval, state) for interval, state in changed.items()],
        )
        return max(states) in changed

    def next_interval(self, fold: str, stream: str, interval: int) -> int | None:
        """Return the next interval that has a checkpoint."""
        sql = "SELECT min(interval) FROM checkpoint WHERE fold = ? AND stream = ? AND interval > ?"
        row = self._db.execute(sql, (fold, stream, interval)).fetchone()
        return None if row[0] is None else int(row[0])

    def last_state(self, fold: str, stream: str) -> bytes | None:
        """Return the newest state of a fold."""
        sql = "SELECT state FROM checkpoint WHERE fold = ? AND stream = ? ORDER BY interval DESC LIMIT 1"
        row = self._db.execute(sql, (fold, stream)).fetchone()
        return None if row is None else bytes(row[0])

    def folded(self, fold: str, stream: str, first: int, last: int) -> list[int]:
        """Return the intervals of a fold that have a checkpoint, in order, both bounds inclusive."""
        sql = "SELECT interval FROM checkpoint WHERE fold = ? AND stream = ? AND interval BETWEEN ? AND ? ORDER BY 1"
        return [interval for (interval,) in self._db.execute(sql, (fold, stream, first, last))]

    def start_over(self) -> None:
        """Fold everything again: delete checkpoints and cursor, keep the delivery states."""
        self._db.execute("DELETE FROM checkpoint")
        self._db.execute("DELETE FROM invalidated")
        self._db.execute("DELETE FROM out_of_range")
        self._values.forget_of_streams(
            HAND_OVERS
        )  # intervals without events can have one: they must be invalidated too
        self._values.forget(CURSOR, CURSOR_CHECKSUM)

    # --- the delivery window ----------------------------------------------------------------------------------------

    def record_out_of_range(self, fold: str, stream: str, times: Mapping[int, Sequence[datetime]]) -> None:
        """Record the times of the documents of some intervals that are outside the delivery window."""
        self._db.executemany(
            "DELETE FROM out_of_range WHERE fold = ? AND stream = ? AND interval = ?",
            [(fold, stream, interval) for interval in times],
        )
        self._db.executemany(
            "INSERT INTO out_of_range VALUES(?, ?, ?, ?, ?)",
            [
                (fold, stream, interval, milliseconds(min(beyond)), milliseconds(max(beyond)))
                for interval, beyond in times.items()
                if beyond
            ],
        )

    def invalidate_times(self, stream: str, first: datetime, last: datetime) -> None:
        """Fold the intervals again that made documents of these times, inside or outside the delivery window."""
        rows = self._db.execute(
            "SELECT fold, interval FROM out_of_range WHERE stream = :stream AND first_ms <= :last AND last_ms >= :first"
            " UNION SELECT fold, interval FROM document"
            " WHERE stream = :stream AND interval IS NOT NULL AND at_ms BETWEEN :first AND :last",
            {"stream": stream, "first": milliseconds(first), "last": milliseconds(last)},
        ).fetchall()
        for fold, interval in rows:
            self.invalidate_origin(fold, stream, interval)

    def invalidate_origin(self, fold: str, stream: str, interval: int | None) -> None:
        """Fold the interval of a document again (None or RUNNING: the last one)."""
        if interval is None or interval == RUNNING:
            sql = "SELECT max(interval) FROM checkpoint WHERE fold = ? AND stream = ?"
            (interval,) = self._db.execute(sql, (fold, stream)).fetchone()
        if interval is not None:
            self.invalidate([(stream, interval, fold)])
