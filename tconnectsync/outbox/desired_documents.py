"""Stores the documents that the folds desire, and retires those that no fold makes any more."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from typing import NamedTuple

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
_UPDATE = (
    "UPDATE document SET collection = ?, unique_slot = ?, at_ms = ?, time_shift_ms = ?, fold = ?, stream = ?, interval = ?,"
    " content_state = ?, desired_hash = ?, content = ?, ttl_s = ?, dead_reason = ?, ownership_state = 'claimed',"
    " found_pump = NULL, found_slot = NULL, attempts = 0, next_attempt_ms = NULL, given_up = 0,"
    " delivery_state = CASE WHEN in_doubt AND delivered_hash = ? THEN 'stale' ELSE delivery_state END,"
    " delivered_hash = CASE WHEN in_doubt AND delivered_hash = ? THEN NULL ELSE delivered_hash END WHERE id = ?"
)


class StoredRow(NamedTuple):
    """What the outbox knows of a document before it is stored again."""

    collection: str
    unique_slot: str
    at_ms: int
    fold: str | None
    stream: str | None
    interval: int | None
    ownership_state: str
    desired_hash: bytes | None
    delivered_hash: bytes | None
    in_doubt: int

    @property
    def place(self) -> tuple[str, str, int]:
        """Collection, slot and time."""
        return self.collection, self.unique_slot, self.at_ms

    @property
    def origin(self) -> tuple[str | None, str | None, int | None]:
        """Fold, stream and interval."""
        return self.fold, self.stream, self.interval


_ROW = ", ".join(StoredRow._fields)


@attrs.frozen
class DesiredDocuments:
    """Stores documents, keeps documents of one time and slot apart, and withdraws those that no fold makes."""

    _db: sqlite3.Connection
    _checkpoints: Checkpoints

    def upsert_all(self, documents: Collection[Document], fold: str, stream: str, interval: int) -> None:
        """Store the documents of an interval, each as :meth:`upsert` does.

        Most are alone in their slot, and new or where they were: all of these are stored with two statements.
        """
        if not documents:
            return
        origin = (fold, stream, interval)
        known, owners = self._stored(documents), self._slot_owners(documents)
        places = Counter(_place(document) for document in documents)
        new, changed = [], []
        for document in documents:
            place, row = _place(document), known.get(document.id)
            shared = document.unique_slot and (places[place] > 1 or not owners[place] <= {document.id})
            if shared or (row is not None and row.place != place):
                self.upsert(document, *origin)
                continue
            desired, content = content_hash(document, 0)
            if row is None:
                new.append((*_values(document, 0, origin, desired, content), document.id))
            elif row.desired_hash == desired:
                self._claim(row, document.id, origin)
            else:
                changed.append(_changes(document, 0, origin, desired, content, row))
        self._db.executemany(_INSERT, new)
        self._db.executemany(_UPDATE, changed)

    def _stored(self, documents: Collection[Document]) -> dict[str, StoredRow]:
        ids = msgspec.json.encode([document.id for document in documents]).decode()
        sql = f"SELECT id, {_ROW} FROM document WHERE id IN (SELECT value FROM json_each(?))"
        return {id_: StoredRow(*row) for id_, *row in self._db.execute(sql, (ids,))}

    def _slot_owners(self, documents: Collection[Document]) -> dict[tuple[str, str, int], set[str]]:
        """Return the ids of the stored documents at each place."""
        places = msgspec.json.encode([_place(document) for document in documents if document.unique_slot]).decode()
        sql = (
            "SELECT collection, unique_slot, at_ms, document.id FROM json_each(?) AS place"
            " JOIN document ON collection = json_extract(place.value, '$[0]')"
            " AND unique_slot = json_extract(place.value, '$[1]') AND at_ms = json_extract(place.value, '$[2]')"
        )
        owners: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        for *place, id_ in self._db.execute(sql, (places,)):
            owners[tuple(place)].add(id_)
        return owners

    def upsert(self, document: Document, fold: str, stream: str, interval: int) -> None:
        """Store a document of a fold. An equal one is not written again.

        If an attempt ended without an answer, the receiver may have the new content already, so ``delivered_hash`` is cleared.
        """
        origin, place = (fold, stream, interval), _place(document)
        found = self._db.execute(f"SELECT {_ROW} FROM document WHERE id = ?", (document.id,)).fetchone()
        row = None if found is None else StoredRow(*found)
        shift = self._time_shift_ms(document, milliseconds(document.at)) if document.unique_slot else 0
        desired, content = content_hash(document, shift)
        if row is None:
            self._db.execute(_INSERT, (*_values(document, shift, origin, desired, content), document.id))
        elif row.desired_hash == desired:
            self._claim(row, document.id, origin)
        else:
            if document.unique_slot and row.unique_slot and row.place != place:
                self._leave_slot(document.id, *row.place)
            self._db.execute(_UPDATE, _changes(document, shift, origin, desired, content, row))

    def _claim(self, row: StoredRow, document_id: str, origin: tuple[str, str, int]) -> None:
        """Record that a fold makes a document that is stored with the same content."""
        if (row.origin, row.ownership_state) != (origin, OwnershipState.CLAIMED.value):
            self._db.execute(
                "UPDATE document SET fold = ?, stream = ?, interval = ?, ownership_state = 'claimed' WHERE id = ?",
                (*origin, document_id),
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


def _changes(
    document: Document, shift: int, origin: tuple[str, str, int], desired: bytes, content: bytes, row: StoredRow
) -> tuple[str | int | float | bytes | None, ...]:
    """Return the values of the ``UPDATE``. A content that the receiver has already is not stored."""
    delivered = row.delivered_hash == desired and not row.in_doubt
    values = _values(document, shift, origin, desired, None if delivered else content)
    return (*values, desired, desired, document.id)


def _values(
    document: Document, shift: int, origin: tuple[str, str, int], desired: bytes, content: bytes | None
) -> tuple[str | int | float | bytes | None, ...]:
    """Return the columns of a desired document, in the order of the statements above."""
    state = DocumentState.KNOWN if document.problem is None else DocumentState.INVALID
    return (*_place(document), shift, *origin, state.value, desired, content, document.ttl_s, document.problem)
