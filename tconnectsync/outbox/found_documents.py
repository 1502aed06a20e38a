"""Documents that were read back from the receiver after the outbox was lost. Folds claim them, or they are withdrawn."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import attrs

from tconnectsync.clock import milliseconds, moment

if TYPE_CHECKING:
    from tconnectsync.plugin.receiver import StoredDocument


@attrs.frozen
class FoundDocuments:
    """Records documents that were read back, and withdraws those that no fold makes."""

    _db: sqlite3.Connection

    def record(self, found: StoredDocument) -> None:
        """Record a document of this sink that the receiver has. A fold that makes it claims it.

        If no fold makes it, it stays until :meth:`resolve`. An ephemeral one is never withdrawn.
        It takes no slot, so that no document moves aside for it: ``unique_slot`` stays empty, and ``found_slot`` has its kind.
        """
        if not found.ephemeral:
            self._db.execute(
                "INSERT INTO document(id, collection, at_ms, ownership_state, content_state, delivery_state, found_slot, found_pump)"
                " VALUES(?, ?, ?, 'found', 'unknown', 'read_back', ?, ?) ON CONFLICT(id) DO NOTHING",
                (found.document_id, found.collection, milliseconds(found.at), found.unique_slot, found.pump),
            )
        self._db.execute(
            "UPDATE document SET delivery_state = CASE delivery_state WHEN 'never' THEN 'read_back' ELSE delivery_state END,"
            " in_doubt = CASE WHEN delivery_state = 'read_back' AND receiver_key IS NULL THEN 0 ELSE in_doubt END,"
            " receiver_key = coalesce(receiver_key, ?) WHERE id = ?",
            (found.receiver_key, found.document_id),
        )

    def resolve(self, known: Callable[[str, datetime], bool], *, keep: Sequence[tuple[int, int]] = ()) -> int:
        """Withdraw what no fold claimed, except in the ``keep`` ranges (UTC ms). Return the number.

        Call it when everything is fetched and folded. A document is withdrawn only if the log knows its pump and time
        (``known(pump, at)``) and this sink makes documents of its kind. The others may belong to another installation: they
        stay at the receiver and are deleted from this outbox.
        """
        sql = (
            "SELECT id, at_ms, found_pump, collection, found_slot FROM document"
            " WHERE fold IS NULL AND ownership_state = 'found'"
        )
        gone: list[tuple[str]] = []
        left: list[tuple[str]] = []
        for id_, at, pump, collection, slot in self._db.execute(sql).fetchall():
            kept = any(first <= at <= last for first, last in keep)
            judged = known(pump, moment(at)) and not kept and self.produces_kind(collection, slot)
            (gone if judged else left).append((id_,))
        self._db.executemany("UPDATE document SET ownership_state = 'withdrawn' WHERE id = ?", gone)
        self._db.executemany("DELETE FROM document WHERE id = ?", left)
        return len(gone)

    def produces_kind(self, collection: str, slot: str) -> bool:
        """Whether some fold makes documents of this kind (no slot: of this collection)."""
        chosen, values = ("AND unique_slot = ?", (collection, slot)) if slot else ("", (collection,))
        sql = f"SELECT 1 FROM document INDEXED BY document_slot WHERE collection = ? {chosen} AND fold IS NOT NULL LIMIT 1"
        return self._db.execute(sql, values).fetchone() is not None
