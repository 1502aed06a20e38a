"""Rows of the outbox for the comparison with the receiver, and sending documents again that differ there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs
import msgspec

from tconnectsync.clock import milliseconds, moment
from tconnectsync.outbox.checkpoints import Checkpoints
from tconnectsync.outbox.document_states import DeliveryState, DocumentState, OwnershipState

_COLUMNS = (
    "id, collection, unique_slot, at_ms + time_shift_ms, time_shift_ms, ownership_state, fold, stream, interval, content_state,"
    " desired_hash, delivered_hash, receiver_key, in_doubt, dead_reason, ttl_s, given_up"
)
_SHIFTS_MS = 1000
"""Larger than any time shift of a document."""


@attrs.frozen
class DocumentRow:
    """A document in the outbox, as it was when it was read.

    ``at`` is the UTC time in the sent document: the fold's time plus ``time_shift_ms``. ``fold`` makes the document in
    ``interval`` of ``stream`` (None: no fold makes it).
    """

    id: str
    collection: str
    unique_slot: str
    at: datetime = attrs.field(converter=moment)
    time_shift_ms: int
    ownership_state: OwnershipState = attrs.field(converter=OwnershipState)
    fold: str | None
    stream: str | None
    interval: int | None
    content_state: DocumentState = attrs.field(converter=DocumentState)
    desired_hash: bytes | None
    delivered_hash: bytes | None
    receiver_key: str | None
    in_doubt: bool = attrs.field(converter=bool)
    dead_reason: str | None
    ttl_s: float | None
    given_up: bool = attrs.field(converter=bool)
    """The user dropped it (`dead-letters drop`), so the receiver does not have what counts as delivered."""

    @property
    def is_desired(self) -> bool:
        """Whether it should be at the receiver."""
        return self.ownership_state is not OwnershipState.WITHDRAWN

    @property
    def is_settled(self) -> bool:
        """Whether the receiver accepted the desired content, so a copy there should be equal."""
        moving = self.in_doubt or self.dead_reason is not None or self.given_up
        return not moving and self.content_state is DocumentState.KNOWN and self.desired_hash == self.delivered_hash

    def is_expired(self, now: datetime) -> bool:
        """Whether its time to live is over, so that it may be missing at the receiver."""
        return self.ttl_s is not None and self.at + timedelta(seconds=self.ttl_s) < now


@attrs.frozen
class DocumentRows:
    """Find documents by time or id, in any state."""

    _db: sqlite3.Connection
    _checkpoints: Checkpoints

    def between(self, first: datetime, last: datetime) -> dict[str, DocumentRow]:
        """Return all documents with a sent time from ``first`` to ``last``, both inclusive, by id."""
        span = milliseconds(first), milliseconds(last)
        sql = (
            f"SELECT {_COLUMNS} FROM document INDEXED BY document_slot WHERE collection = ? AND unique_slot = ?"
            " AND at_ms BETWEEN ? AND ? AND at_ms + time_shift_ms BETWEEN ? AND ?"
        )
        found: dict[str, DocumentRow] = {}
        for collection, slot in self._slots():
            values = (collection, slot, span[0] - _SHIFTS_MS, span[1], *span)
            found.update((row[0], DocumentRow(*row)) for row in self._db.execute(sql, values))
        return found

    def of(self, ids: Iterable[str]) -> dict[str, DocumentRow]:
        """Return the rows with these ids."""
        sql = f"SELECT {_COLUMNS} FROM document WHERE id IN (SELECT value FROM json_each(?))"
        values = (msgspec.json.encode(list(ids)).decode(),)
        return {row[0]: DocumentRow(*row) for row in self._db.execute(sql, values)}

    def _slots(self) -> Iterator[tuple[str, str]]:
        """Yield the collections and slots in use. It steps through the index, so the number of documents does not matter."""
        sql = (
            "SELECT collection, unique_slot FROM document WHERE (collection, unique_slot) > (?, ?)"
            " ORDER BY collection, unique_slot LIMIT 1"
        )
        first = "SELECT collection, unique_slot FROM document ORDER BY collection, unique_slot LIMIT 1"
        found: Any = self._db.execute(first).fetchone()
        while found is not None:
            yield found
            found = self._db.execute(sql, found).fetchone()

    def send_again(
        self, rows: Iterable[DocumentRow], *, lost: bool, receiver_keys: Mapping[str, str] | None = None
    ) -> int:
        """Deliver these again, and look for extra copies. Skips rows that changed since they were read. Return the number.

        ``lost``: the receiver does not have them, so nothing is rewritten. ``receiver_keys``: keys of copies at other times.
        """
        count = 0
        for row in rows:
            count += self._db.execute(
                "UPDATE document SET content_state = 'unknown', desired_hash = NULL, delivery_state = ?, delivered_hash = NULL,"
                " in_doubt = 1, attempts = 0, next_attempt_ms = NULL, given_up = 0, receiver_key = coalesce(?, receiver_key)"
                " WHERE id = ? AND desired_hash = ? AND delivered_hash = ? AND dead_reason IS NULL",
                (
                    (DeliveryState.NEVER if lost else DeliveryState.STALE).value,
                    (receiver_keys or {}).get(row.id),
                    row.id,
                    row.desired_hash,
                    row.delivered_hash,
                ),
            ).rowcount
            self.fold_origin(row.fold, row.stream, row.interval)
        return count

    def fold_origin(self, fold: str | None, stream: str | None, interval: int | None) -> None:
        """Fold the interval of a document again."""
        if fold is not None and stream is not None:
            self._checkpoints.invalidate_origin(fold, stream, interval)
