"""What the folds want to be there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from tconnectsync.clock import milliseconds
from tconnectsync.outbox.checkpoints import CheckpointStore
from tconnectsync.plugin.fold import Document


def content_hash(document: Document, shift: int) -> tuple[str, bytes]:
    """The hash of what a receiver would get, and the content as JSON; ``shift`` milliseconds are added to the time."""
    content = msgspec.json.encode(document.content, order="sorted")
    head = f"{document.collection}\x1f{document.unique_slot}\x1f{milliseconds(document.at) + shift}\x1f".encode()
    return hashlib.blake2b(head + content, digest_size=12).hexdigest(), content


class DesiredDocuments(CheckpointStore):
    """Documents wanted, moved, doubted and taken back."""

    def upsert(self, document: Document, fold: str, stream: str, interval: int) -> None:
        """The folds want this document; equal to what is there costs nothing.

        After an attempt whose end nobody knows, what the receiver took last is not what is there.
        """
        at = milliseconds(document.at)
        row = self._db.execute(
            "SELECT at, slot, collection, want, fold, stream, interval, limbo, sent, unsure FROM document WHERE id = ?",
            (document.id,),
        ).fetchone()
        shift = self._shift(document, at) if document.unique_slot else 0
        want, content = content_hash(document, shift)
        if document.problem is not None:
            want += "!"
        if row is not None:
            if row[3] == want:
                if (row[4], row[5], row[6], row[7]) != (fold, stream, interval, 0):
                    self._db.execute(
                        "UPDATE document SET fold = ?, stream = ?, interval = ?, limbo = 0 WHERE id = ?",
                        (fold, stream, interval, document.id),
                    )
                return
            if (
                document.unique_slot
                and row[1]
                and (row[0], row[1], row[2]) != (at, document.unique_slot, document.collection)
            ):
                self._leave_slot(document.id, row[2], row[1], row[0])
        settled = row is not None and row[8] == want and not row[9]
        values = (
            document.collection, document.unique_slot, at, shift, fold, stream, interval, want,
            None if settled else content, document.ttl_s, document.problem,
        )  # fmt: skip
        if row is None:
            self._db.execute(
                "INSERT INTO document(collection, slot, at, shift, fold, stream, interval, want, content, worth_s, dead, id)"
                " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*values, document.id),
            )
        else:
            self._db.execute(
                "UPDATE document SET collection = ?, slot = ?, at = ?, shift = ?, fold = ?, stream = ?, interval = ?,"
                " want = ?, content = ?, worth_s = ?, dead = ?, limbo = 0, attempts = 0, next_try = NULL,"
                " sent = CASE WHEN unsure AND sent = ? THEN '' ELSE sent END WHERE id = ?",
                (*values, want, document.id),
            )

    def _shift(self, document: Document, at: int) -> int:
        """Milliseconds that keep two documents of one slot and time apart; the greater id moves, whichever came first."""
        rows = self._db.execute(
            "SELECT id, fold, stream, interval FROM document"
            " WHERE collection = ? AND slot = ? AND at = ? AND id <> ? AND want IS NOT NULL AND limbo <> 1",
            (document.collection, document.unique_slot, at, document.id),
        ).fetchall()
        known = (
            rows
            and self._db.execute(
                "SELECT 1 FROM document WHERE id = ? AND at = ? AND slot = ? AND want IS NOT NULL AND limbo <> 1",
                (document.id, at, document.unique_slot),
            ).fetchone()
        )
        if not known:
            self._fold_again([row for row in rows if row[0] > document.id])
        return sum(1 for row in rows if row[0] < document.id)

    def _leave_slot(self, id: str, collection: str, slot: str, at: int) -> None:  # noqa: A002
        rows = self._db.execute(
            "SELECT id, fold, stream, interval FROM document WHERE collection = ? AND slot = ? AND at = ? AND id > ?"
            " AND want IS NOT NULL",
            (collection, slot, at, id),
        ).fetchall()
        self._fold_again(rows)

    def _fold_again(self, rows: Sequence[tuple[str, str, str, int | None]]) -> None:
        """The contents of delivered documents are not kept: folding their interval again makes them anew."""
        for id_, fold, stream, interval in rows:
            self._db.execute("UPDATE document SET want = '~' WHERE id = ?", (id_,))
            self._invalidate_origin(fold, stream, interval)

    def wanted_in(self, fold: str, stream: str, interval: int) -> set[str]:
        """Ids of the documents that an interval finished before (RUNNING: that were going on)."""
        sql = "SELECT id FROM document WHERE fold = ? AND stream = ? AND interval = ?"
        return {row[0] for row in self._db.execute(sql, (fold, stream, interval))}

    def mark_unclaimed(self, ids: Sequence[str]) -> None:
        """These are not made by their interval any more; another may still make them before the fold is through."""
        self._db.executemany("UPDATE document SET limbo = 1 WHERE id = ?", [(id_,) for id_ in ids])

    def recheck_protected(self, stream: str) -> list[str]:
        """The stretches changed in which nothing is taken back: what was kept is in doubt once more. The folds that made it."""
        rows = self._db.execute(
            "SELECT DISTINCT fold FROM document WHERE limbo = 2 AND stream = ?", (stream,)
        ).fetchall()
        self._db.execute("UPDATE document SET limbo = 1 WHERE limbo = 2 AND stream = ?", (stream,))
        return [fold for (fold,) in rows]

    def retire_unclaimed(self, fold: str, stream: str, *, keep: Sequence[tuple[int, int]] = ()) -> int:
        """The fold is through: what is still in doubt is taken back, except in the ``keep`` stretches (ms). Their number.

        What is kept stays as it is until :meth:`doubt_kept`.
        A document that is worth something for a while only is forgotten instead: its absence is no difference.
        """
        sql = "SELECT id, at, slot, collection, worth_s, dead FROM document WHERE limbo = 1 AND fold = ? AND stream = ?"
        rows = self._db.execute(sql, (fold, stream)).fetchall()
        withdrawn = 0
        for id_, at, slot, collection, worth_s, dead in rows:
            if any(first <= at <= last for first, last in keep):
                self._db.execute("UPDATE document SET limbo = 2 WHERE id = ?", (id_,))
                continue
            if slot:
                self._leave_slot(id_, collection, slot, at)
            if worth_s is not None:
                self._db.execute("DELETE FROM document WHERE id = ?", (id_,))
                continue
            self._db.execute(
                "UPDATE document SET want = NULL, content = NULL, limbo = 0, dead = NULL, interval = NULL, next_try = NULL,"
                " sent = CASE WHEN unsure THEN coalesce(sent, '') ELSE sent END WHERE id = ?",
                (id_,),
            )
            withdrawn += dead is None
        self._db.execute(
            "DELETE FROM document INDEXED BY document_leaving"  # the fold's other documents are many
            " WHERE want IS NULL AND sent IS NULL AND stored IS NULL AND unsure = 0 AND fold = ? AND stream = ?",
            (fold, stream),
        )
        return withdrawn
