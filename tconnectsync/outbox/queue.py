"""What is to be sent, and what the receiver said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tconnectsync.clock import milliseconds, moment
from tconnectsync.outbox.documents import DesiredDocuments, content_hash
from tconnectsync.outbox.store import RUNNING
from tconnectsync.plugin.fold import Document
from tconnectsync.plugin.receiver import Delivery, StoredDocument
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S
from tconnectsync.retry.deadline import TOLERANCE_S

GIVEN_UP = 1 << 62
"""The next attempt (ms) of a dead letter that the user dropped: never, unless its content changes or it is replayed."""

_NOT_BELIEVED = "(postponed_at > ? OR next_try > ?)"
"""A clock that was wrong postponed it: see :class:`tconnectsync.retry.deadline.RememberedDeadline`."""


def _not_believed(now: int) -> tuple[int, int]:
    return now + round(TOLERANCE_S * 1000), now + round((LONGEST_ASKED_WAIT_S + TOLERANCE_S) * 1000)


class DeliveryQueue(DesiredDocuments):
    """Pending documents and withdrawals, attempts and their outcomes, what was found at the receiver, replays."""

    def pending(self, now: datetime, limit: int, *, ids: Sequence[str] | None = None) -> list[Delivery]:
        """What to send next: withdrawals first, then the newest documents; none that lies in the future.

        With ``ids`` only of these.
        """
        ms, horizon = milliseconds(now), milliseconds(now + timedelta(minutes=5))
        # each in its index's own order: with a long backlog nothing is sorted or looked at but what is sent
        rows = self._pending(ms, horizon, limit, "INDEXED BY document_leaving", "want IS NULL", ids)
        if len(rows) < limit:
            rows += self._pending(ms, horizon, limit - len(rows), "", "want IS NOT NULL AND want IS NOT '~'", ids)
        found = []
        for id_, collection, slot, at, shift, want, content, worth_s, stored, unsure in rows:
            document = None
            if want is not None:
                document = Document(
                    id=id_, collection=collection, at=moment(at + shift), unique_slot=slot, ttl_s=worth_s,
                    content=msgspec.json.decode(content),
                )  # fmt: skip
            found.append(
                Delivery(
                    document_id=id_,
                    collection=collection,
                    document=document,
                    receiver_key=stored,
                    in_doubt=bool(unsure),
                )
            )
        return found

    def _pending(
        self, now: int, horizon: int, limit: int, index: str, condition: str, ids: Sequence[str] | None
    ) -> list[Any]:
        chosen = ""
        values: list[int | str] = [horizon, now, *_not_believed(now)]
        if ids is not None:
            index, chosen = "", " AND id IN (SELECT value FROM json_each(?))"
            values.append(msgspec.json.encode(list(ids)).decode())
        return self._db.execute(
            "SELECT id, collection, slot, at, shift, want, content, worth_s, stored, unsure"
            f" FROM document {index} WHERE {condition} AND want IS NOT sent AND dead IS NULL AND at <= ?"
            f" AND (next_try IS NULL OR next_try <= ? OR {_NOT_BELIEVED}){chosen} ORDER BY at DESC, id LIMIT ?",
            (*values, limit),
        ).fetchall()

    def expire(self, now: datetime) -> int:
        """Forget documents that are not worth anything any more, sent or not. Their number."""
        sql = "DELETE FROM document WHERE worth_s IS NOT NULL AND at < ? - worth_s * 1000"
        return self._db.execute(sql, (milliseconds(now),)).rowcount

    def set_unsure(self, ids: Sequence[str], unsure: bool) -> None:
        """An attempt begins (True), or is known not to have reached the receiver (False)."""
        self._db.executemany("UPDATE document SET unsure = ? WHERE id = ?", [(int(unsure), id_) for id_ in ids])

    def mark_delivered(self, delivery: Delivery, stored: str) -> None:
        """The receiver took it: known as delivered from now on, whatever else was wanted meanwhile."""
        if delivery.document is None:
            self._db.execute(
                "UPDATE document SET sent = NULL, stored = NULL, unsure = 0, attempts = 0, next_try = NULL WHERE id = ?",
                (delivery.document_id,),
            )
            self._db.execute(
                "DELETE FROM document WHERE id = ? AND want IS NULL AND interval IS NULL", (delivery.document_id,)
            )
            return
        sent, _ = content_hash(delivery.document, 0)
        self._db.execute(
            "UPDATE document SET sent = ?, stored = ?, unsure = 0, attempts = 0, next_try = NULL,"
            " content = CASE WHEN want = ? THEN NULL ELSE content END WHERE id = ?",
            (sent, stored, sent, delivery.document_id),
        )

    def postpone(self, delivery: Delivery, now: datetime, wait_s: float) -> None:
        """Not before ``wait_s`` seconds; the attempt stays unsure, for some of it may have been stored."""
        ms = milliseconds(now)
        self._db.execute(
            "UPDATE document SET attempts = attempts + 1, next_try = ?, postponed_at = ? WHERE id = ?",
            (ms + round(wait_s * 1000), ms, delivery.document_id),
        )

    def dead_letter(self, delivery: Delivery, reason: str) -> None:
        """The receiver will never take it: a dead letter, until its content changes or the user says so.

        Of one that it took before the old copy may be gone.
        """
        self._db.execute(
            "UPDATE document SET dead = ?, attempts = attempts + 1, unsure = ? WHERE id = ?",
            (reason, int(delivery.in_doubt or delivery.receiver_key is not None), delivery.document_id),
        )

    def next_due(self, now: datetime) -> datetime | None:
        """When the next waiting document may be sent; None when nothing waits."""
        waits = "FROM document WHERE want IS NOT sent AND dead IS NULL AND want IS NOT '~'"
        horizon = milliseconds(now + timedelta(minutes=5))
        one = f"SELECT 1 {waits} AND at <= ? AND next_try IS NULL LIMIT 1"
        if self._db.execute(one, (horizon,)).fetchone() is not None:
            return now  # a long backlog is not looked through
        next_try = f"CASE WHEN {_NOT_BELIEVED} THEN 0 ELSE coalesce(next_try, 0) END"
        sql = f"SELECT min(max(at - 300000, {next_try})) {waits}"
        row = self._db.execute(sql, _not_believed(milliseconds(now))).fetchone()
        return None if row[0] is None else max(now, moment(row[0]))

    def waiting(self, now: datetime) -> int:
        """How many documents wait that could be there by now: those that lie in the future do not count."""
        sql = "SELECT count(*) FROM document WHERE want IS NOT sent AND dead IS NULL AND at <= ?"
        return int(self._db.execute(sql, (milliseconds(now + timedelta(minutes=5)),)).fetchone()[0])

    def rewrites(self, now: datetime) -> int:
        """How many waiting documents change or take back what was delivered and is more than two days old.

        One that was read back and is put again does not count: nobody knows that it changes.
        """
        sql = (
            "SELECT count(*) FROM document WHERE want IS NOT sent AND dead IS NULL AND stored IS NOT NULL AND sent IS NOT NULL"
            " AND NOT (sent = '?' AND want IS NOT NULL) AND at < ?"
        )
        return int(self._db.execute(sql, (milliseconds(now - timedelta(days=2)),)).fetchone()[0])

    def span(self) -> tuple[datetime, datetime] | None:
        """UTC time of the first and the last document that is wanted."""
        row = self._db.execute("SELECT min(at), max(at) FROM document WHERE want IS NOT NULL").fetchone()
        return None if row[0] is None else (moment(row[0]), moment(row[1]))

    def first_to_put(self) -> datetime | None:
        """UTC time of the first document that waits to be put."""
        sql = "SELECT min(at) FROM document WHERE want IS NOT sent AND dead IS NULL AND want IS NOT NULL"
        (at,) = self._db.execute(sql).fetchone()
        return None if at is None else moment(at)

    def record_existing(self, found: StoredDocument) -> None:
        """The receiver already holds this document of ours (after a wiped disk): updated if a fold makes it.

        One that no fold makes stays as it is until :meth:`judge_found`; one that is passing stays for good.
        """
        if not found.ephemeral:
            self._db.execute(  # until then its slot stands where its content would
                "INSERT INTO document(id, collection, slot, at, want, content, stream) VALUES(?, ?, '', ?, '?', ?, ?)"
                " ON CONFLICT(id) DO NOTHING",
                (found.document_id, found.collection, milliseconds(found.at), found.unique_slot.encode(), found.pump),
            )
        self._db.execute(
            "UPDATE document SET sent = coalesce(sent, '?'), stored = coalesce(stored, ?) WHERE id = ?",
            (found.receiver_key, found.document_id),
        )

    def resolve_unclaimed(self, known: Callable[[str, datetime], bool], *, keep: Sequence[tuple[int, int]] = ()) -> int:
        """Everything is fetched and folded: what was found and is not made goes, except in ``keep`` (ms). Their number.

        Only what the log speaks of is judged (``known(pump, at)``), and only what is of a kind that is made here: another
        installation may make others. The rest is forgotten here.
        """
        sql = "SELECT id, at, stream, collection, content FROM document WHERE fold IS NULL AND want = '?'"
        gone: list[tuple[str]] = []
        left: list[tuple[str]] = []
        for id_, at, pump, collection, slot in self._db.execute(sql).fetchall():
            kept = any(first <= at <= last for first, last in keep)
            judged = (
                known(pump or "", moment(at)) and not kept and self.produces_kind(collection, (slot or b"").decode())
            )
            (gone if judged else left).append((id_,))
        self._db.executemany("UPDATE document SET want = NULL, content = NULL WHERE id = ?", gone)
        self._db.executemany("DELETE FROM document WHERE id = ?", left)
        return len(gone)

    def produces_kind(self, collection: str, slot: str) -> bool:
        """Whether some fold makes documents of this kind (no slot: of this collection)."""
        chosen, values = ("AND slot = ?", (collection, slot)) if slot else ("", (collection,))
        sql = f"SELECT 1 FROM document INDEXED BY document_slot WHERE collection = ? {chosen} AND fold IS NOT NULL LIMIT 1"
        return self._db.execute(sql, values).fetchone() is not None

    def replay(
        self, folds: Sequence[str], first: datetime | None = None, last: datetime | None = None, *,
        present: Sequence[str] = (), now: datetime | None = None,
    ) -> int:  # fmt: skip
        """Forget what was delivered in this stretch (both inclusive; None: open) so that it is sent again. Their number.

        What is worth something for a while only stays as it is, but for what the folds of ``present`` tell of ``now``.
        """
        stretch = (
            -(1 << 62) if first is None else milliseconds(first),
            (1 << 62) if last is None else milliseconds(last),
            msgspec.json.encode(list(folds)).decode(),
            RUNNING,
            msgspec.json.encode(list(present) if now is not None else []).decode(),
            0 if now is None else milliseconds(now),
        )
        chosen = (
            "at BETWEEN ? AND ? AND fold IN (SELECT value FROM json_each(?)) AND want IS NOT NULL"
            " AND (worth_s IS NULL OR (interval = ? AND fold IN (SELECT value FROM json_each(?)) AND at >= ? - worth_s * 1000))"
        )
        select = f"SELECT DISTINCT fold, stream, interval FROM document WHERE {chosen}"
        rows = self._db.execute(select, stretch).fetchall()
        changed = self._db.execute(
            "UPDATE document SET want = '~', dead = NULL, next_try = NULL,"
            f" sent = CASE WHEN sent IS NULL THEN NULL ELSE '' END WHERE {chosen}",
            stretch,
        ).rowcount
        for fold, stream, interval in rows:
            self._invalidate_origin(fold, stream, interval)
        return changed

    def new_site(self) -> None:
        """The receiver is another place: nothing is to be taken back from it, and only what is replayed is put there."""
        self._db.execute("DELETE FROM document WHERE want IS NULL OR fold IS NULL")
        self._db.execute("UPDATE document SET stored = NULL, unsure = 0")
