"""Small values that a sink stores, such as its cursor and its health: one typed value for each name."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from enum import Enum
from typing import Any, Generic, TypeVar

import attrs

from tconnectsync.health.states import Health
from tconnectsync.json_converter import CONVERTER
from tconnectsync.outbox.batch_size import BatchSize
from tconnectsync.outbox.suspect_documents import Suspects

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
class StoredValue(Generic[T]):
    """The name of a value, its type for cattrs, and its default. A text is stored as it is."""

    name: str
    type: object
    default: T

    def of(self, stream: str) -> StoredValue[T]:
        """Return this value for one stream."""
        return attrs.evolve(self, name=f"{self.name}:{stream}")


# the log
LOG_ID = StoredValue("log_id", str, "")
CURSOR = StoredValue("cursor", int, 0)
"""The log position up to which events were invalidated for folding."""
CURSOR_CHECKSUM = StoredValue("cursor_mark", str, "")
"""Identifies the record at the cursor, so that another log is noticed."""
FINGERPRINT = StoredValue("fingerprint", str, "")
"""Identifies the folds, the options and the decoders with which everything was folded."""
PLACEMENT = StoredValue("placement", str, "")
"""For each stream: the UTC times with which it was folded."""
HAND_OVERS: StoredValue[list[tuple[int, datetime, str]]] = StoredValue(
    "hand_overs", list[tuple[int, datetime, str]], []
)
"""For each stream: (order key, UTC time, kind) of each event that begins or ends the wearing of its pump."""
GAPS: StoredValue[list[tuple[int, int]]] = StoredValue("gaps", list[tuple[int, int]], [])
"""For each stream: first and last UTC millisecond of each open gap in the log, when its protected documents were last checked."""
UNCHECKED = [(1, 0)]
"""A value of ``GAPS`` that is never the present one: documents were protected since the last check."""
# the receiver
ADDRESS = StoredValue("address", str, "")
"""The address to which everything was delivered so far."""
ADMITTED_FROM: StoredValue[datetime | None] = StoredValue("admitted_from", datetime | None, None)
"""The first UTC time that was checked before a delivery."""
ADMITTED_FOLDS: StoredValue[list[str]] = StoredValue("admitted_folds", list[str], [])
"""The folds for which the receiver was checked."""
LOOKED_AT: StoredValue[datetime | None] = StoredValue("looked_at", datetime | None, None)
"""When the receiver was last checked before a delivery."""
OLDER_COPY_FROM: StoredValue[datetime | None] = StoredValue("older_copy_from", datetime | None, None)
"""This outbox is an older copy. Its documents from this UTC time on are still to be doubted."""
DOUBTED_FROM: StoredValue[datetime | None] = StoredValue("doubted_from", datetime | None, None)
"""From this UTC time on, the receiver may have what this outbox does not know."""
FOREIGN_ALLOWED: StoredValue[ForeignAllowed | None] = StoredValue("others_allowed", ForeignAllowed | None, None)
READ_BACK: StoredValue[ReadBack | None] = StoredValue("read_back", ReadBack | None, None)
# delivery
RECEIVER_MEMORY = StoredValue("receiver_memory", str, "")
BATCH_SIZE = StoredValue("batch_size", BatchSize, BatchSize())
SUSPECTS: StoredValue[Suspects | None] = StoredValue("suspects", Suspects | None, None)
CONFIRMED = StoredValue("confirmed", bool, False)
"""Whether the receiver ever showed that it has a document."""
UNCONFIRMED = StoredValue("unconfirmed_rounds", int, 0)
REFUSED_IN_A_ROW: StoredValue[list[str]] = StoredValue("refused_in_a_row", list[str], [])
TRIED_ONCE_MORE: StoredValue[list[str]] = StoredValue("tried_once_more", list[str], [])
"""The dead letters that had a second attempt."""
LAST_ATTEMPT: StoredValue[datetime | None] = StoredValue("last_attempt", datetime | None, None)
"""When a batch was sent again whose documents were all in doubt already."""
LAST_DELIVERED: StoredValue[datetime | None] = StoredValue("last_delivered", datetime | None, None)
REWRITES_ALLOWED = StoredValue("rewrites_allowed", bool, False)
"""Whether the user agreed to change documents that were delivered long ago."""
# health and reports
HEALTH = StoredValue("health", Health, Health())
UNUSABLE: StoredValue[Health | None] = StoredValue("unusable", Health | None, None)
"""Why the sink could not be opened, such as a secret that cannot be read. It hides ``HEALTH``, which counts again afterwards."""
COMPARED = StoredValue("compared", str, "")


@attrs.frozen
class StoredValues:
    """The stored values of one outbox."""

    _db: sqlite3.Connection

    def get(self, stored: StoredValue[T]) -> T:
        """Return the stored value; the default if it is missing or unreadable."""
        row = self._db.execute("SELECT value FROM stored_value WHERE name = ?", (stored.name,)).fetchone()
        if row is None:
            return stored.default
        try:
            value: T = row[0] if stored.type is str else CONVERTER.loads(row[0], stored.type)  # type: ignore[arg-type]  # mypy knows no type forms
        except Exception:  # noqa: BLE001 - the remedy is the same for every cause
            return stored.default
        return value

    def put(self, stored: StoredValue[T], value: T) -> None:
        """Store a value."""
        self.put_text(
            stored.name, value if isinstance(value, str) and stored.type is str else CONVERTER.dumps(value, stored.type)
        )

    def put_text(self, name: str, text: str) -> None:
        """Store a value in its stored form. One that is stored already costs no write."""
        self._db.execute(
            "INSERT INTO stored_value VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value"
            " WHERE value IS NOT excluded.value",
            (name, text),
        )

    def put_earliest(self, stored: StoredValue[datetime | None], at: datetime) -> None:
        """Store a time, unless an earlier one is stored."""
        self.put(stored, min(at, self.get(stored) or at))

    def forget(self, *stored: StoredValue[Any]) -> None:
        """Delete these."""
        self._db.executemany("DELETE FROM stored_value WHERE name = ?", [(each.name,) for each in stored])

    def forget_of_streams(self, stored: StoredValue[Any]) -> None:
        """Delete this value for every stream."""
        self._db.execute(
            "DELETE FROM stored_value WHERE substr(name, 1, ?) = ?", (len(stored.name) + 1, f"{stored.name}:")
        )
