"""Which parts of the pump's order are still to fold, and the state at the end of those that are."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime

import msgspec

from tconnectsync.clock import milliseconds
from tconnectsync.outbox.store import RUNNING, Store


class CheckpointStore(Store):
    """Marks, checkpoints, and what the edge of history left out."""

    def invalidate(self, rows: Sequence[tuple[str, int, str]]) -> None:
        """Fold these (stream, interval, fold) again."""
        self._db.executemany("INSERT OR IGNORE INTO marked VALUES(?, ?, ?)", rows)

    def invalidate_range(self, stream: str, first: int, last: int, folds: Sequence[str]) -> None:
        """Fold again what was folded before between these intervals, both inclusive."""
        for fold in folds:
            self._db.execute(
                "INSERT OR IGNORE INTO marked SELECT stream, interval, fold FROM checkpoint"
                " WHERE fold = ? AND stream = ? AND interval BETWEEN ? AND ?",
                (fold, stream, first, last),
            )

    def first_invalid(self, *, except_for: Container[tuple[str, str]] = ()) -> tuple[str, int, tuple[str, ...]] | None:
        """The lowest marked interval of some stream, and the folds that want it; none of ``except_for`` (stream, fold)."""
        pairs = self._db.execute("SELECT DISTINCT stream, fold FROM marked").fetchall()
        allowed = [pair for pair in pairs if pair not in except_for]
        if not allowed:
            return None
        stream = min(allowed)[0]
        folds = [fold for name, fold in allowed if name == stream]
        chosen = (stream, msgspec.json.encode(folds).decode())
        wanted = "stream = ? AND fold IN (SELECT value FROM json_each(?))"
        (interval,) = self._db.execute(f"SELECT min(interval) FROM marked WHERE {wanted}", chosen).fetchone()
        rows = self._db.execute(f"SELECT fold FROM marked WHERE {wanted} AND interval = ?", (*chosen, interval))
        return stream, interval, tuple(fold for (fold,) in rows)

    def mark_folded(self, stream: str, interval: int, fold: str) -> None:
        """This interval is folded."""
        self._db.execute("DELETE FROM marked WHERE stream = ? AND interval = ? AND fold = ?", (stream, interval, fold))

    def invalid_count(self) -> int:
        """How many intervals are still to fold."""
        return int(self._db.execute("SELECT count(*) FROM marked").fetchone()[0])

    def has_invalid(self, stream: str, fold: str, *, since: int = -(1 << 62)) -> bool:
        """Whether this fold still has intervals to do in this stream, from ``since`` on."""
        sql = "SELECT 1 FROM marked WHERE stream = ? AND fold = ? AND interval >= ? LIMIT 1"
        return self._db.execute(sql, (stream, fold, since)).fetchone() is not None

    def state_before(self, fold: str, stream: str, interval: int) -> bytes | None:
        """The state at the end of the interval before this one."""
        sql = (
            "SELECT state FROM checkpoint WHERE fold = ? AND stream = ? AND interval < ? ORDER BY interval DESC LIMIT 1"
        )
        row = self._db.execute(sql, (fold, stream, interval)).fetchone()
        return None if row is None else bytes(row[0])

    def save_state(self, fold: str, stream: str, interval: int, state: bytes) -> bool:
        """Keep the state at the end of an interval; True when it differs from what was there."""
        sql = "SELECT state FROM checkpoint WHERE fold = ? AND stream = ? AND interval = ?"
        row = self._db.execute(sql, (fold, stream, interval)).fetchone()
        if row is not None and bytes(row[0]) == state:
            return False
        self._db.execute("INSERT OR REPLACE INTO checkpoint VALUES(?, ?, ?, ?)", (fold, stream, interval, state))
        return True

    def next_interval(self, fold: str, stream: str, interval: int) -> int | None:
        """The next interval that has a checkpoint."""
        sql = "SELECT min(interval) FROM checkpoint WHERE fold = ? AND stream = ? AND interval > ?"
        row = self._db.execute(sql, (fold, stream, interval)).fetchone()
        return None if row[0] is None else int(row[0])

    def last_state(self, fold: str, stream: str) -> bytes | None:
        """The newest state of a fold."""
        return self.state_before(fold, stream, 1 << 62)

    def streams(self) -> list[str]:
        """Streams that were folded."""
        return [row[0] for row in self._db.execute("SELECT DISTINCT stream FROM checkpoint")]

    def start_over(self) -> None:
        """Fold everything again: checkpoints and cursor go, what was delivered stays known."""
        self._db.execute("DELETE FROM checkpoint")
        self._db.execute("DELETE FROM marked")
        self._db.execute("DELETE FROM beyond")
        self.forget("wear:")  # a hand-over may stand where no event is: its interval must be marked, too
        self.put("cursor", "0")
        self.put("cursor_mark", "")

    # --- the edge of history ----------------------------------------------------------------------------------------

    def record_out_of_range(self, fold: str, stream: str, interval: int, times: Sequence[datetime]) -> None:
        """The interval makes documents of these times that are not wanted, for they lie beyond the edge of history."""
        if times:
            row = (fold, stream, interval, milliseconds(min(times)), milliseconds(max(times)))
            self._db.execute("INSERT OR REPLACE INTO beyond VALUES(?, ?, ?, ?, ?)", row)
        else:
            self._db.execute(
                "DELETE FROM beyond WHERE fold = ? AND stream = ? AND interval = ?", (fold, stream, interval)
            )

    def invalidate_out_of_range(self, stream: str, first: datetime, last: datetime) -> None:
        """Fold again what left out documents of these times, wherever the events lie that finish them."""
        rows = self._db.execute(
            "SELECT fold, interval FROM beyond WHERE stream = ? AND first <= ? AND last >= ?",
            (stream, milliseconds(last), milliseconds(first)),
        ).fetchall()
        for fold, interval in rows:
            self._invalidate_origin(fold, stream, interval)

    def _invalidate_origin(self, fold: str, stream: str, interval: int | None) -> None:
        if interval is None or interval == RUNNING:
            sql = "SELECT max(interval) FROM checkpoint WHERE fold = ? AND stream = ?"
            (interval,) = self._db.execute(sql, (fold, stream)).fetchone()
        if interval is not None:
            self.invalidate([(stream, interval, fold)])
