"""Stores the documents that the folds desire, and retires those that no fold makes any more."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import attrs
import msgspec

from tconnectsync.outbox.checkpoints import Checkpoints
from tconnectsync.outbox.document_states import DocumentState, OwnershipState
from tconnectsync.outbox.encoded_document import EncodedDocument
from tconnectsync.plugin.fold import Document

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
_KNOWN, _INVALID = DocumentState.KNOWN.value, DocumentState.INVALID.value


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

    def upsert_all(self, documents: Collection[tuple[int, EncodedDocument]], fold: str, stream: str) -> None:
        """Store documents of a fold, each with its interval, as :meth:`upsert` does. No id is there twice.

        Most are alone in their slot, and new or where they were: all of these are stored with two statements.
        """
        if not documents:
            return
        all_encoded = [encoded for _, encoded in documents]
        known, owners = self._stored(all_encoded), self._slot_owners(all_encoded)
        places = Counter(encoded.place for encoded in all_encoded)
        new, changed = [], []
        for interval, encoded in documents:
            origin = (fold, stream, interval)
            id_, place = encoded.document.id, encoded.place
            row = known.get(id_)
            shared = encoded.document.unique_slot and (places[place] > 1 or not owners[place] <= {id_})
            if shared or (row is not None and row.place != place):
                self._upsert(encoded, origin)
                continue
            desired = encoded.content_hash()
            if row is None:
                new.append((*_values(encoded, 0, origin, desired, encoded.content), id_))
            elif row.desired_hash == desired:
                self._claim(row, id_, origin)
            else:
                changed.append(_changes(encoded, 0, origin, desired, row))
        self._db.executemany(_INSERT, new)
        self._db.executemany(_UPDATE, changed)

    def _stored(self, documents: Collection[EncodedDocument]) -> dict[str, StoredRow]:
        ids = msgspec.json.encode([encoded.document.id for encoded in documents]).decode()
        sql = f"SELECT id, {_ROW} FROM document WHERE id IN (SELECT value FROM json_each(?))"
        return {id_: StoredRow(*row) for id_, *row in self._db.execute(sql, (ids,))}

    def _slot_owners(self, documents: Collection[EncodedDocument]) -> dict[tuple[str, str, int], set[str]]:
        """Return the ids of the stored documents at each place."""
        times: dict[tuple[str, str], list[int]] = defaultdict(list)
        for collection, slot, at_ms in (encoded.place for encoded in documents):
            if slot:
                times[collection, slot].append(at_ms)
        sql = (
            "SELECT at_ms, id FROM document WHERE collection = ? AND unique_slot = ?"
            " AND at_ms IN (SELECT value FROM json_each(?))"
        )
        owners: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        for (collection, slot), chosen in times.items():
            for at_ms, id_ in self._db.execute(sql, (collection, slot, msgspec.json.encode(chosen).decode())):
                owners[collection, slot, at_ms].add(id_)
        return owners

    def upsert(self, document: Document, fold: str, stream: str, interval: int) -> None:
        """Store a document of a fold. An equal one is not written again.

        If an attempt ended without an answer, the receiver may have the new content already, so ``delivered_hash`` is cleared.
        """
        self._upsert(EncodedDocument.of(document), (fold, stream, interval))

    def _upsert(self, encoded: EncodedDocument, origin: tuple[str, str, int]) -> None:
        document = encoded.document
        found = self._db.execute(f"SELECT {_ROW} FROM document WHERE id = ?", (document.id,)).fetchone()
        row = None if found is None else StoredRow(*found)
        shift = self._time_shift_ms(document, encoded.at_ms) if document.unique_slot else 0
        desired = encoded.content_hash(shift)
        if row is None:
            self._db.execute(_INSERT, (*_values(encoded, shift, origin, desired, encoded.content), document.id))
        elif row.desired_hash == desired:
            self._claim(row, document.id, origin)
        else:
            if document.unique_slot and row.unique_slot and row.place != encoded.place:
                self._leave_slot(document.id, *row.place)
            self._db.execute(_UPDATE, _changes(encoded, shift, origin, desired, row))

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

    def desired_in(self, fold: str, stream: str, intervals: Iterable[int]) -> set[str]:
        """Return the ids of the documents that these intervals made before (RUNNING: the unfinished ones)."""
        sql = "SELECT id FROM document WHERE fold = ? AND stream = ? AND interval IN (SELECT value FROM json_each(?))"
        chosen = msgspec.json.encode(list(intervals)).decode()
        return {id_ for (id_,) in self._db.execute(sql, (fold, stream, chosen))}

    def mark_unclaimed(self, ids: Iterable[str]) -> None:
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


def _changes(
    encoded: EncodedDocument, shift: int, origin: tuple[str, str, int], desired: bytes, row: StoredRow
) -> tuple[str | int | float | bytes | None, ...]:
    """Return the values of the ``UPDATE``. A content that the receiver has already is not stored."""
    delivered = row.delivered_hash == desired and not row.in_doubt
    values = _values(encoded, shift, origin, desired, None if delivered else encoded.content)
    return (*values, desired, desired, encoded.document.id)


def _values(
    encoded: EncodedDocument, shift: int, origin: tuple[str, str, int], desired: bytes, content: bytes | None
) -> tuple[str | int | float | bytes | None, ...]:
    """Return the columns of a desired document, in the order of the statements above."""
    document = encoded.document
    state = _KNOWN if document.problem is None else _INVALID
    return (*encoded.place, shift, *origin, state, desired, content, document.ttl_s, document.problem)
