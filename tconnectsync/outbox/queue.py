"""The documents that wait for delivery, and the outcomes of attempts."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from tconnectsync.clock import milliseconds, moment
from tconnectsync.outbox.checkpoints import Checkpoints
from tconnectsync.outbox.document_states import RUNNING, DeliveryState
from tconnectsync.plugin.fold import Document
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S
from tconnectsync.retry.deadline import TOLERANCE_S

if TYPE_CHECKING:
    from tconnectsync.plugin.receiver import Delivery

AHEAD = timedelta(minutes=5)
"""A document is sent this long before its time, not earlier: the clocks of pump and host differ a little."""
OLD = timedelta(days=2)
_NOT_BELIEVED = "(postponed_at_ms > ? OR next_attempt_ms > ?)"
"""It was postponed while the computer's clock was wrong: see :class:`tconnectsync.retry.deadline.RememberedDeadline`."""


def _not_believed(now: int) -> tuple[int, int]:
    return now + round(TOLERANCE_S * 1000), now + round((LONGEST_ASKED_WAIT_S + TOLERANCE_S) * 1000)


@attrs.frozen
class DeliveryQueue:
    """Reads pending documents and withdrawals, records outcomes, and starts replays."""

    _db: sqlite3.Connection
    _checkpoints: Checkpoints

    def pending(self, now: datetime, limit: int, *, ids: Sequence[str] | None = None) -> list[Delivery]:
        """Return the next deliveries: withdrawals first, then the newest documents, none of the future.

        With ``ids`` only these.
        """
        ms, horizon = milliseconds(now), milliseconds(now + AHEAD)
        # each query follows its index: with a long backlog, no other rows are read or sorted
        withdrawn = "ownership_state = 'withdrawn'"
        rows = self._pending(ms, horizon, limit, "INDEXED BY document_withdrawn", withdrawn, ids)
        if len(rows) < limit:
            rows += self._pending(ms, horizon, limit - len(rows), "", "desired_hash IS NOT NULL", ids)
        return _deliveries(rows)

    def _pending(
        self, now: int, horizon: int, limit: int, index: str, condition: str, ids: Sequence[str] | None
    ) -> list[Any]:
        chosen = ""
        values: list[int | str] = [horizon, now, *_not_believed(now)]
        if ids is not None:
            index, chosen = "", " AND id IN (SELECT value FROM json_each(?))"
            values.append(msgspec.json.encode(list(ids)).decode())
        return self._db.execute(
            "SELECT rowid, id, collection, unique_slot, at_ms + time_shift_ms, desired_hash, content, ttl_s, receiver_key, in_doubt"
            f" FROM document {index} WHERE {condition} AND pending AND at_ms <= ?"
            f" AND (next_attempt_ms IS NULL OR next_attempt_ms <= ? OR {_NOT_BELIEVED}){chosen} ORDER BY at_ms DESC, id LIMIT ?",
            (*values, limit),
        ).fetchall()

    def expire(self, now: datetime) -> int:
        """Delete documents whose time to live is over, sent or not. Return the number."""
        sql = "DELETE FROM document WHERE ttl_s IS NOT NULL AND at_ms < ? - ttl_s * 1000"
        return self._db.execute(sql, (milliseconds(now),)).rowcount

    # --- attempts and outcomes ----------------------------------------------------------------------------------------

    def set_in_doubt(self, batch: Iterable[Delivery], in_doubt: bool) -> None:
        """Record that an attempt begins (True), or that it did not reach the receiver (False)."""
        # one row at a time: SQLite writes a temporary file for a statement that changes many
        rows = [(int(in_doubt), delivery.row, delivery.document_id) for delivery in batch]
        self._db.executemany("UPDATE document SET in_doubt = ? WHERE rowid = ? AND id = ?", rows)

    def mark_delivered(self, accepted: Iterable[tuple[Delivery, str]]) -> None:
        """Record what the receiver accepted of :meth:`pending`, each with its key there, even if another content is desired by now."""
        withdrawn, delivered, places = [], [], []
        for delivery, receiver_key in accepted:
            if delivery.document is None:
                withdrawn.append((delivery.document_id,))
            else:
                hashed = delivery.content_hash
                delivered.append((hashed, receiver_key, hashed, delivery.row, delivery.document_id))
                if delivery.document.unique_slot and receiver_key:
                    places.append((receiver_key, delivery.collection, delivery.document_id))
        self._db.executemany(
            "UPDATE document SET delivery_state = 'never', delivered_hash = NULL, receiver_key = NULL, in_doubt = 0,"
            " attempts = 0, next_attempt_ms = NULL, given_up = 0 WHERE id = ?",
            withdrawn,
        )
        self._db.executemany(
            "DELETE FROM document WHERE id = ? AND ownership_state = 'withdrawn' AND interval IS NULL", withdrawn
        )
        self._db.executemany(
            "UPDATE document SET delivery_state = 'delivered', delivered_hash = ?, receiver_key = ?, in_doubt = 0,"
            " attempts = 0, next_attempt_ms = NULL, given_up = 0,"
            " content = CASE WHEN desired_hash = ? THEN NULL ELSE content END WHERE rowid = ? AND id = ?",
            delivered,
        )
        self._forget_replaced(places)

    def _forget_replaced(self, places: Sequence[tuple[str, str, str]]) -> None:
        """These (receiver key, collection, id) were delivered. Another document with such a key, that waits to be moved or deleted,
        was replaced there. So the receiver does not have it any more: if its move is undone, it must be sent again.
        """
        waits = "FROM document INDEXED BY document_replacing WHERE pending AND receiver_key"
        if self._db.execute(f"SELECT 1 {waits} IS NOT NULL LIMIT 1").fetchone() is None:
            return
        self._db.executemany(
            "UPDATE document SET delivery_state = 'stale', delivered_hash = NULL WHERE delivery_state = 'delivered'"
            f" AND unique_slot <> '' AND id IN (SELECT id {waits} = ? AND collection = ? AND id <> ?)",
            places,
        )

    def postpone(self, delivery: Delivery, now: datetime, wait_s: float) -> None:
        """Wait ``wait_s`` seconds. The document stays in doubt, because the receiver may have stored it."""
        ms = milliseconds(now)
        self._db.execute(
            "UPDATE document SET attempts = attempts + 1, next_attempt_ms = ?, postponed_at_ms = ? WHERE id = ?",
            (ms + round(wait_s * 1000), ms, delivery.document_id),
        )

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """Make it a dead letter, until its content changes or the user retries.

        If the receiver has an earlier content, that copy may be deleted by now, so the document is in doubt.
        """
        self._db.execute(
            "UPDATE document SET dead_reason = ?, attempts = attempts + 1, in_doubt = ? WHERE id = ?",
            (reason, int(delivery.in_doubt or delivery.receiver_key is not None), delivery.document_id),
        )

    # --- pending --------------------------------------------------------------------------------------------------------

    def next_due(self, now: datetime) -> datetime | None:
        """Return when the next pending document may be sent; None if nothing is pending."""
        waits = "FROM document WHERE pending AND (desired_hash IS NOT NULL OR ownership_state = 'withdrawn')"
        one = f"SELECT 1 {waits} AND at_ms <= ? AND next_attempt_ms IS NULL LIMIT 1"
        if self._db.execute(one, (milliseconds(now + AHEAD),)).fetchone() is not None:
            return now  # quick, even with a long backlog
        next_attempt = f"CASE WHEN {_NOT_BELIEVED} THEN 0 ELSE coalesce(next_attempt_ms, 0) END"
        ahead = round(AHEAD.total_seconds() * 1000)
        sql = f"SELECT min(max(at_ms - {ahead}, {next_attempt})) {waits}"
        row = self._db.execute(sql, _not_believed(milliseconds(now))).fetchone()
        return None if row[0] is None else max(now, moment(row[0]))

    def waiting(self, now: datetime) -> int:
        """Return how many documents wait, without those of the future."""
        sql = "SELECT count(*) FROM document WHERE pending AND at_ms <= ?"
        return int(self._db.execute(sql, (milliseconds(now + AHEAD),)).fetchone()[0])

    def rewrites(self, now: datetime) -> int:
        """Return how many pending documents change or delete a delivered one that is more than two days old.

        A document that was read back does not count, because its content may be the same.
        """
        sql = (
            "SELECT count(*) FROM document WHERE pending AND receiver_key IS NOT NULL AND delivery_state <> 'never'"
            " AND (delivery_state <> 'read_back' OR ownership_state = 'withdrawn') AND at_ms < ?"
        )
        return int(self._db.execute(sql, (milliseconds(now - OLD),)).fetchone()[0])

    def oldest(self) -> datetime | None:
        """Return the UTC time of the oldest document or withdrawal that can be sent."""
        sql = "SELECT min(at_ms) FROM document WHERE pending AND (desired_hash IS NOT NULL OR ownership_state = 'withdrawn')"
        (at,) = self._db.execute(sql).fetchone()
        return None if at is None else moment(at)

    def span(self) -> tuple[datetime, datetime] | None:
        """Return the UTC times of the first and the last document that is not withdrawn."""
        row = self._db.execute(
            "SELECT min(at_ms), max(at_ms) FROM document WHERE ownership_state <> 'withdrawn'"
        ).fetchone()
        return None if row[0] is None else (moment(row[0]), moment(row[1]))

    def first_to_put(self) -> datetime | None:
        """Return the UTC time of the first pending document that is not a withdrawal."""
        sql = "SELECT min(at_ms) FROM document WHERE pending AND ownership_state <> 'withdrawn'"
        (at,) = self._db.execute(sql).fetchone()
        return None if at is None else moment(at)

    # --- replay -------------------------------------------------------------------------------------------------------

    def replay(
        self, folds: Sequence[str], first: datetime | None = None, last: datetime | None = None, *,
        current_value_folds: Sequence[str] = (), now: datetime | None = None,
    ) -> int:  # fmt: skip
        """Send everything from ``first`` to ``last`` again (both inclusive; None: open). Return the number of documents.

        Documents with a time to live are skipped, except the current ones (at ``now``) of ``current_value_folds``.
        """
        values = {
            "first": None if first is None else milliseconds(first),
            "last": None if last is None else milliseconds(last),
            "folds": msgspec.json.encode(list(folds)).decode(),
            "running": RUNNING,
            "current": msgspec.json.encode(list(current_value_folds) if now is not None else []).decode(),
            "now": 0 if now is None else milliseconds(now),
        }
        chosen = (
            "(:first IS NULL OR at_ms >= :first) AND (:last IS NULL OR at_ms <= :last) AND ownership_state <> 'withdrawn'"
            " AND fold IN (SELECT value FROM json_each(:folds)) AND (ttl_s IS NULL OR (interval = :running"
            " AND fold IN (SELECT value FROM json_each(:current)) AND at_ms >= :now - ttl_s * 1000))"
        )
        return self._fold_again(chosen, values, DeliveryState.STALE)

    def doubt(self, first: datetime, folds: Sequence[str]) -> int:
        """Forget what the receiver has of the documents from ``first`` on, and fold these again. Return their number.

        A key stays where the document may have moved, because a newer content waits: then its copy may be before ``first``.
        Elsewhere the read-back finds it again, or the receiver looks for a copy before it stores another.
        """
        values = {"first": milliseconds(first), "folds": msgspec.json.encode(list(folds)).decode()}
        recent = "at_ms >= :first AND ttl_s IS NULL AND fold IN (SELECT value FROM json_each(:folds))"
        chosen = f"{recent} AND ownership_state <> 'withdrawn' AND NOT given_up"
        self._db.execute(
            f"UPDATE document SET receiver_key = NULL, in_doubt = 1 WHERE {chosen} AND NOT pending AND dead_reason IS NULL",
            values,
        )
        self._db.execute(
            "UPDATE document SET delivery_state = 'read_back', delivered_hash = NULL"
            f" WHERE {recent} AND ownership_state = 'withdrawn' AND delivery_state = 'delivered'",
            values,
        )
        return self._fold_again(chosen, values, DeliveryState.READ_BACK)

    def _fold_again(self, chosen: str, values: Mapping[str, Any], delivered: DeliveryState) -> int:
        """Fold the ``chosen`` documents again. ``delivered``: the state of those that the receiver has."""
        select = f"SELECT DISTINCT fold, stream, interval FROM document WHERE {chosen}"
        rows = self._db.execute(select, values).fetchall()
        changed = self._db.execute(
            "UPDATE document SET content_state = 'unknown', desired_hash = NULL, dead_reason = NULL, next_attempt_ms = NULL,"
            " given_up = 0, delivered_hash = NULL,"
            f" delivery_state = CASE delivery_state WHEN 'never' THEN 'never' ELSE '{delivered.value}' END WHERE {chosen}",
            values,
        ).rowcount
        for fold, stream, interval in rows:
            self._checkpoints.invalidate_origin(fold, stream, interval)
        return changed

    def forget_receiver(self) -> None:
        """Prepare for a new address: withdraw nothing there, and deliver only what is replayed."""
        self._db.execute("DELETE FROM document WHERE ownership_state = 'withdrawn' OR fold IS NULL")
        self._db.execute("UPDATE document SET receiver_key = NULL, in_doubt = 0")


def _deliveries(rows: Iterable[Any]) -> list[Delivery]:
    from tconnectsync.plugin.receiver import Delivery  # not at the top: `status` opens outboxes and sends nothing

    found = []
    for row, id_, collection, slot, at, desired_hash, content, ttl_s, receiver_key, in_doubt in rows:
        document = None
        if desired_hash is not None:
            document = Document(
                id=id_, collection=collection, at=moment(at), unique_slot=slot, ttl_s=ttl_s,
                content=msgspec.json.decode(content),
            )  # fmt: skip
        found.append(
            Delivery(
                document_id=id_,
                collection=collection,
                document=document,
                receiver_key=receiver_key,
                in_doubt=bool(in_doubt),
                content_hash=desired_hash or b"",
                row=row,
            )
        )
    return found
