"""Stores the documents that the folds desire, and retires those that no fold makes any more."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence

import attrs
import msgspec

from tconnectsync.clock import milliseconds
from tconnectsync.outbox.checkpoints import Checkpoints
from tconnectsync.outbox.document_states import DocumentState, OwnershipState
from tconnectsync.plugin.fold import Document


def content_hash(document: Document, time_shift_ms: int) -> tuple[bytes, bytes]:
    """Return the hash of the document as it is sent, and its content as JSON. ``time_shift_ms`` is added to the time.

    An invalid document has another hash than a valid one with the same content.
    """
    content = msgspec.json.encode(document.content, order="sorted")
    head = (
        f"{document.collection}\x1f{document.unique_slot}\x1f{milliseconds(document.at) + time_shift_ms}\x1f".encode()
    )
    salt = b"" if document.problem is None else b"invalid"
    return hashlib.blake2b(head + content, digest_size=12, salt=salt).digest(), content


_INSERT = (
    "INSERT INTO document(collection, unique_slot, at_ms, time_shift_ms, fold, stream, interval, content_state,"
    " desired_hash, content, ttl_s, dead_reason, id, ownership_state)"
    " VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'claimed')"
)


@attrs.frozen
class DesiredDocuments:
    """Stores documents, keeps documents of one time and slot apart, and withdraws those that no fold makes."""

    _db: sqlite3.Connection
    _checkpoints: Checkpoints

    def upsert_all(self, documents: Collection[Document], fold: str, stream: str, interval: int) -> None:
        """Store the documents of an interval, each as :meth:`upsert` does.

        Most are new and alone in their slot: they are inserted with one statement.
        """
        if not documents:
            return
        known = self._known_ids(documents)
        taken = self._taken_slots(documents)
        places = Counter(_place(document) for document in documents)
        new = []
        for document in documents:
            place = _place(document)
            if document.id in known or (document.unique_slot and (place in taken or places[place] > 1)):
                self.upsert(document, fold, stream, interval)
            else:
                desired, content = content_hash(document, 0)
                new.append((*_values(document, 0, (fold, stream, interval), desired, content), document.id))
        self._db.executemany(_INSERT, new)

    def _known_ids(self, documents: Collection[Document]) -> set[str]:
        ids = msgspec.json.encode([document.id for document in documents]).decode()
        sql = "SELECT id FROM document WHERE id IN (SELECT value FROM json_each(?))"
        return {id_ for (id_,) in self._db.execute(sql, (ids,))}

    def _taken_slots(self, documents: Collection[Document]) -> set[tuple[str, str, int]]:
        places = msgspec.json.encode([_place(document) for document in documents if document.unique_slot]).decode()
        sql = (
            "SELECT collection, unique_slot, at_ms FROM json_each(?) AS place"
            " JOIN document ON collection = json_extract(place.value, '$[0]')"
            " AND unique_slot = json_extract(place.value, '$[1]') AND at_ms = json_extract(place.value, '$[2]')"
        )
        return set(self._db.execute(sql, (places,)))

    def upsert(self, document: Document, fold: str, stream: str, interval: int) -> None:
        """Store a document of a fold. An equal one is not written again.

        If an attempt ended without an answer, the receiver may have the new content already, so ``delivered_hash`` is cleared.
        """
        at = milliseconds(document.at)
        row = self._db.execute(
            "SELECT at_ms, unique_slot, collection, desired_hash, fold, stream, interval, ownership_state, delivered_hash, in_doubt"
            " FROM document WHERE id = ?",
            (document.id,),
        ).fetchone()
        shift = self._time_shift_ms(document, at) if document.unique_slot else 0
        desired, content = content_hash(document, shift)
        if row is not None:
            if row[3] == desired:
                if (row[4], row[5], row[6], row[7]) != (fold, stream, interval, "claimed"):
                    self._db.execute(
                        "UPDATE document SET fold = ?, stream = ?, interval = ?, ownership_state = 'claimed' WHERE id = ?",
                        (fold, stream, interval, document.id),
                    )
                return
            place = (at, document.unique_slot, document.collection)
            if document.unique_slot and row[1] and (row[0], row[1], row[2]) != place:
                self._leave_slot(document.id, row[2], row[1], row[0])
        delivered = row is not None and row[8] == desired and not row[9]
        values = _values(document, shift, (fold, stream, interval), desired, None if delivered else content)
        if row is None:
            self._db.execute(_INSERT, (*values, document.id))
            return
        self._db.execute(
            "UPDATE document SET collection = ?, unique_slot = ?, at_ms = ?, time_shift_ms = ?, fold = ?, stream = ?, interval = ?,"
            " content_state = ?, desired_hash = ?, content = ?, ttl_s = ?, dead_reason = ?, ownership_state = 'claimed',"
            " found_pump = NULL, found_slot = NULL, attempts = 0, next_attempt_ms = NULL, given_up = 0,"
            " delivery_state = CASE WHEN in_doubt AND delivered_hash = ? THEN 'stale' ELSE delivery_state END,"
            " delivered_hash = CASE WHEN in_doubt AND delivered_hash = ? THEN NULL ELSE delivered_hash END WHERE id = ?",
            (*values, desired, desired, document.id),
        )

    def _time_shift_ms(self, document: Document, at: int) -> int:
        """Return the milliseconds that keep documents of one slot and time apart. The greater id moves, in any order of arrival."""
        rows = self._db.execute(
            "SELECT id, fold, stream, interval FROM document"
            " WHERE collection = ? AND unique_slot = ? AND at_ms = ? AND id <> ?"
            " AND ownership_state NOT IN ('withdrawn', 'unclaimed')",
            (document.collection, document.unique_slot, at, document.id),
        ).fetchall()
        known = (
            rows
            and self._db.execute(
                "SELECT 1 FROM document WHERE id = ? AND at_ms = ? AND unique_slot = ?"
                " AND ownership_state NOT IN ('withdrawn', 'unclaimed')",
                (document.id, at, document.unique_slot),
            ).fetchone()
        )
        if not known:
            self._fold_again([row for row in rows if row[0] > document.id])
        return sum(1 for row in rows if row[0] < document.id)

    def _leave_slot(self, document_id: str, collection: str, slot: str, at: int) -> None:
        rows = self._db.execute(
            "SELECT id, fold, stream, interval FROM document WHERE collection = ? AND unique_slot = ? AND at_ms = ? AND id > ?"
            " AND ownership_state <> 'withdrawn'",
            (collection, slot, at, document_id),
        ).fetchall()
        self._fold_again(rows)

    def _fold_again(self, rows: Sequence[tuple[str, str, str, int | None]]) -> None:
        """Fold the intervals of these again, because the contents of delivered documents are not stored."""
        for id_, fold, stream, interval in rows:
            self._db.execute("UPDATE document SET content_state = 'unknown', desired_hash = NULL WHERE id = ?", (id_,))
            self._checkpoints.invalidate_origin(fold, stream, interval)

    def desired_in(self, fold: str, stream: str, interval: int) -> set[str]:
        """Return the ids of the documents that an interval made before (RUNNING: the unfinished ones)."""
        sql = "SELECT id FROM document WHERE fold = ? AND stream = ? AND interval = ?"
        return {row[0] for row in self._db.execute(sql, (fold, stream, interval))}

    def mark_unclaimed(self, ids: Sequence[str]) -> None:
        """Mark documents that their interval no longer makes. A later interval may still make them."""
        self._db.executemany(
            "UPDATE document SET ownership_state = ? WHERE id = ?",
            [(OwnershipState.UNCLAIMED.value, id_) for id_ in ids],
        )

    def recheck_protected(self, stream: str) -> list[str]:
        """Make the protected documents of a stream unclaimed again, because its gaps changed. Return their folds."""
        rows = self._db.execute(
            "SELECT DISTINCT fold FROM document WHERE ownership_state = 'protected' AND stream = ?", (stream,)
        ).fetchall()
        self._db.execute(
            "UPDATE document SET ownership_state = 'unclaimed' WHERE ownership_state = 'protected' AND stream = ?",
            (stream,),
        )
        return [fold for (fold,) in rows]

    def retire_unclaimed(self, fold: str, stream: str, *, keep: Sequence[tuple[int, int]] = ()) -> int:
        """Withdraw the unclaimed documents of a fold that has no invalid interval left. Return their number.

        Documents in the ``keep`` ranges (first and last, UTC ms) are protected until :meth:`recheck_protected`. A document with
        a time to live is deleted here instead of withdrawn.
        """
        rows = self._db.execute(
            "SELECT id, at_ms, unique_slot, collection, ttl_s, dead_reason FROM document"
            " WHERE ownership_state = 'unclaimed' AND fold = ? AND stream = ?",
            (fold, stream),
        ).fetchall()
        withdrawn = 0
        for id_, at, slot, collection, ttl_s, dead_reason in rows:
            if any(first <= at <= last for first, last in keep):
                self._db.execute("UPDATE document SET ownership_state = 'protected' WHERE id = ?", (id_,))
                continue
            if slot:
                self._leave_slot(id_, collection, slot, at)
            if ttl_s is not None:
                self._db.execute("DELETE FROM document WHERE id = ?", (id_,))
                continue
            self._db.execute(
                "UPDATE document SET ownership_state = 'withdrawn', content_state = 'unknown', desired_hash = NULL, content = NULL,"
                " dead_reason = NULL, interval = NULL, next_attempt_ms = NULL, given_up = 0, delivery_state ="
                " CASE WHEN in_doubt AND delivery_state = 'never' THEN 'stale' ELSE delivery_state END WHERE id = ?",
                (id_,),
            )
            withdrawn += dead_reason is None
        self._db.execute(
            "DELETE FROM document INDEXED BY document_withdrawn"  # the fold's other documents are many
            " WHERE ownership_state = 'withdrawn' AND delivery_state = 'never' AND receiver_key IS NULL AND in_doubt = 0"
            " AND fold = ? AND stream = ?",
            (fold, stream),
        )
        return withdrawn


def _place(document: Document) -> tuple[str, str, int]:
    return document.collection, document.unique_slot, milliseconds(document.at)


def _values(
    document: Document, shift: int, origin: tuple[str, str, int], desired: bytes, content: bytes | None
) -> tuple[str | int | float | bytes | None, ...]:
    """Return the columns of a desired document, in the order of the statements above."""
    state = DocumentState.KNOWN if document.problem is None else DocumentState.INVALID
    return (*_place(document), shift, *origin, state.value, desired, content, document.ttl_s, document.problem)
