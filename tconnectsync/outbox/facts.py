"""Small values that a sink stores, such as its cursor and its health: one typed value for each name."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from enum import Enum
from typing import Any, Generic, TypeVar

import attrs

from tconnectsync.outbox.batch_size import BatchSize
from tconnectsync.outbox.suspect_documents import Suspects
from tconnectsync.retry.health import Health
from tconnectsync.retry.json_converter import CONVERTER

T = TypeVar("T")


class ForeignAllowed(str, Enum):
    """The user's consent to documents of other programs at the receiver."""

    ONCE = "once"
    """For the next check only."""
    ALWAYS = "always"


@attrs.frozen(kw_only=True)
class ReadBack:
    """Documents at the receiver that no fold claimed yet.

    ``since``: they are withdrawn only if every source was read completely after this time (UTC).
    """

    since: datetime | None = None


@attrs.frozen
class Fact(Generic[T]):
    """The name of a value, its type for cattrs, and its default. A text is stored as it is."""

    name: str
    type: object
    default: T

    def of(self, stream: str) -> Fact[T]:
        """Return this fact for one stream."""
        return attrs.evolve(self, name=f"{self.name}:{stream}")


# the log
LOG_ID = Fact("log_id", str, "")
CURSOR = Fact("cursor", int, 0)
"""The log position up to which events were invalidated for folding."""
CURSOR_MARK = Fact("cursor_mark", str, "")
"""Identifies the record at the cursor, so that another log is noticed."""
FINGERPRINT = Fact("fingerprint", str, "")
"""Identifies the folds, the options and the decoders with which everything was folded."""
PLACEMENT = Fact("placement", str, "")
"""For each stream: the UTC times with which it was folded."""
HAND_OVERS: Fact[list[tuple[int, datetime, str]]] = Fact("hand_overs", list[tuple[int, datetime, str]], [])
"""For each stream: (order key, UTC time, kind) of each event that begins or ends the wearing of its pump."""
GAPS: Fact[list[tuple[int, int]]] = Fact("gaps", list[tuple[int, int]], [])
"""For each stream: first and last UTC millisecond of each open gap in the log."""
# the receiver
ADDRESS = Fact("address", str, "")
"""The address to which everything was delivered so far."""
ADMITTED_FROM: Fact[datetime | None] = Fact("admitted_from", datetime | None, None)
"""The first UTC time that was checked before a delivery."""
ADMITTED_FOLDS: Fact[list[str]] = Fact("admitted_folds", list[str], [])
"""The folds for which the receiver was checked."""
LOOKED_AT: Fact[datetime | None] = Fact("looked_at", datetime | None, None)
"""When the receiver was last checked before a delivery."""
FOREIGN_ALLOWED: Fact[ForeignAllowed | None] = Fact("others_allowed", ForeignAllowed | None, None)
READ_BACK: Fact[ReadBack | None] = Fact("read_back", ReadBack | None, None)
# delivery
RECEIVER_MEMORY = Fact("receiver_memory", str, "")
BATCH_SIZE = Fact("batch_size", BatchSize, BatchSize())
SUSPECTS: Fact[Suspects | None] = Fact("suspects", Suspects | None, None)
CONFIRMED = Fact("confirmed", bool, False)
"""Whether the receiver ever showed that it has a document."""
UNCONFIRMED = Fact("unconfirmed_rounds", int, 0)
REFUSED_IN_A_ROW: Fact[list[str]] = Fact("refused_in_a_row", list[str], [])
TRIED_ONCE_MORE: Fact[list[str]] = Fact("tried_once_more", list[str], [])
"""The dead letters that had a second attempt."""
LAST_ATTEMPT: Fact[datetime | None] = Fact("last_attempt", datetime | None, None)
"""When a batch was sent again whose documents were all in doubt already."""
LAST_DELIVERED: Fact[datetime | None] = Fact("last_delivered", datetime | None, None)
REWRITES_ALLOWED = Fact("rewrites_allowed", bool, False)
"""Whether the user agreed to change documents that were delivered long ago."""
# health and reports
HEALTH = Fact("health", Health, Health())
UNUSABLE: Fact[Health | None] = Fact("unusable", Health | None, None)
"""Why the sink could not be opened, such as a secret that cannot be read. It hides ``HEALTH``, which counts again afterwards."""
COMPARED = Fact("compared", str, "")


@attrs.frozen
class Facts:
    """The stored values of one outbox."""

    _db: sqlite3.Connection

    def get(self, fact: Fact[T]) -> T:
        """Return the stored value; the default if it is missing or unreadable."""
        row = self._db.execute("SELECT value FROM fact WHERE name = ?", (fact.name,)).fetchone()
        if row is None:
            return fact.default
        try:
            value: T = row[0] if fact.type is str else CONVERTER.loads(row[0], fact.type)  # type: ignore[arg-type]  # mypy knows no type forms
        except Exception:  # noqa: BLE001 - the remedy is the same for every cause
            return fact.default
        return value

    def put(self, fact: Fact[T], value: T) -> None:
        """Store a value."""
        self.put_text(
            fact.name, value if isinstance(value, str) and fact.type is str else CONVERTER.dumps(value, fact.type)
        )

    def put_text(self, name: str, text: str) -> None:
        """Store a value in its stored form."""
        self._db.execute(
            "INSERT INTO fact VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value", (name, text)
        )

    def forget(self, *facts: Fact[Any]) -> None:
        """Delete these."""
        self._db.executemany("DELETE FROM fact WHERE name = ?", [(fact.name,) for fact in facts])

    def forget_of_streams(self, fact: Fact[Any]) -> None:
        """Delete this fact for every stream."""
        self._db.execute("DELETE FROM fact WHERE substr(name, 1, ?) = ?", (len(fact.name) + 1, f"{fact.name}:"))
