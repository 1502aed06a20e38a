"""What the outbox knows of documents, for comparing it with what the receiver holds; and sending again what is not as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs
import msgspec

from tconnectsync.clock import milliseconds, moment
from tconnectsync.outbox.dead_letters import DeadLetters
from tconnectsync.outbox.queue import GIVEN_UP

_COLUMNS = "id, collection, slot, at + shift, shift, fold, stream, interval, want, sent, stored, unsure, dead, worth_s, next_try"
_SHIFTS_MS = 1000
"""More than documents of one time and slot are ever moved apart."""


@attrs.frozen(kw_only=True)
class DocumentRow:
    """A document as the outbox knows it, at one moment. ``at`` is the time that it is sent with, ``shift`` ms later than made.

    ``interval`` is where its ``fold`` makes it in ``stream`` (None: no fold makes it). ``want`` and ``sent`` are content hashes.
    """

    id: str
    collection: str
    unique_slot: str
    at: datetime
    shift: int
    fold: str | None
    stream: str | None
    interval: int | None
    want: str | None
    sent: str | None
    receiver_key: str | None
    in_doubt: bool
    dead: str | None
    worth_s: float | None
    given_up: bool

    @property
    def settled(self) -> bool:
        """Whether the receiver took what is wanted, so that it should be there as it is made."""
        moving = self.want in (None, "?", "~") or self.in_doubt or self.dead is not None or self.given_up
        return not moving and self.want == self.sent

    def lapsed(self, now: datetime) -> bool:
        """Whether it is not worth anything any more: that it is missing is no difference."""
        return self.worth_s is not None and self.at + timedelta(seconds=self.worth_s) < now


def _row(values: tuple[Any, ...]) -> DocumentRow:
    known = dict(zip([field.name for field in attrs.fields(DocumentRow)], values, strict=True))
    known["at"], known["in_doubt"] = moment(known["at"]), bool(known["in_doubt"])
    known["given_up"] = known["given_up"] == GIVEN_UP
    return DocumentRow(**known)


class DocumentRows(DeadLetters):
    """Documents by their time or identity, whatever became of them."""

    def rows_between(self, first: datetime, last: datetime) -> dict[str, DocumentRow]:
        """All documents that are sent with a time from ``first`` to ``last``, both inclusive, by identity."""
        span = milliseconds(first), milliseconds(last)
        sql = (
            f"SELECT {_COLUMNS} FROM document INDEXED BY document_slot"
            " WHERE collection = ? AND slot = ? AND at BETWEEN ? AND ? AND at + shift BETWEEN ? AND ?"
        )
        found: dict[str, DocumentRow] = {}
        for collection, slot in self._slots():
            values = (collection, slot, span[0] - _SHIFTS_MS, span[1], *span)
            found.update((row[0], _row(row)) for row in self._db.execute(sql, values))
        return found

    def rows_of(self, ids: Iterable[str]) -> dict[str, DocumentRow]:
        """What is known of these, wherever they lie."""
        sql = f"SELECT {_COLUMNS} FROM document WHERE id IN (SELECT value FROM json_each(?))"
        return {row[0]: _row(row) for row in self._db.execute(sql, (msgspec.json.encode(list(ids)).decode(),))}

    def _slots(self) -> Iterator[tuple[str, str]]:
        """The collections and slots that there are: from one to the next through the index, however many documents."""
        sql = (
            "SELECT collection, slot FROM document WHERE (collection, slot) > (?, ?) ORDER BY collection, slot LIMIT 1"
        )
        found = self._db.execute("SELECT collection, slot FROM document ORDER BY collection, slot LIMIT 1").fetchone()
        while found is not None:
            yield found
            found = self._db.execute(sql, found).fetchone()

    def folded_between(self, stream: str, first: int, last: int) -> list[tuple[int, str]]:
        """The (interval, fold) that were folded of a stream, both bounds inclusive."""
        sql = "SELECT interval, fold FROM checkpoint WHERE stream = ? AND interval BETWEEN ? AND ?"
        return self._db.execute(sql, (stream, first, last)).fetchall()

    def send_again(self, rows: Iterable[DocumentRow], *, lost: bool, stored: Mapping[str, str] | None = None) -> int:
        """Deliver these once more, looking for stray copies; what is not as it was in ``rows`` is left alone. Their number.

        ``lost``: they are not there, so that nothing is rewritten. ``stored``: our text for a copy that lies elsewhere.
        """
        count = 0
        for row in rows:
            count += self._db.execute(
                "UPDATE document SET want = '~', sent = ?, unsure = 1, attempts = 0, next_try = NULL,"
                " stored = coalesce(?, stored) WHERE id = ? AND want = ? AND sent = ? AND dead IS NULL",
                (None if lost else "", (stored or {}).get(row.id), row.id, row.want, row.sent),
            ).rowcount
            self.fold_origin(row.fold, row.stream, row.interval)
        return count

    def fold_origin(self, fold: str | None, stream: str | None, interval: int | None) -> None:
        """Fold the interval again that makes a document."""
        if fold is not None and stream is not None:
            self._invalidate_origin(fold, stream, interval)
