"""Dead letters: documents that were set aside because the receiver refuses them, or because they are invalid."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import msgspec

from tconnectsync.clock import moment
from tconnectsync.text.plural import counted


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A document that the receiver never accepts, or that has an impossible value, with the reason."""

    id: str
    at: datetime
    collection: str
    reason: str
    content: dict[str, Any]
    attempts: int


def letter_fields(sink: str, letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter as JSON values, as `dead-letters list --json` prints it."""
    at = letter.at.isoformat().replace("+00:00", "Z")
    return {**msgspec.structs.asdict(letter), "sink": sink, "at": at}


def letter_lines(letter: Mapping[str, Any]) -> tuple[str, str]:
    """Format what :func:`letter_fields` returns as two lines."""
    content = letter.get("content") or {}
    kind = content.get("eventType") or letter.get("collection")
    tried = counted(int(letter.get("attempts") or 0), "time")
    return (
        f"{letter.get('sink')}  {letter.get('id')}  {kind} of {letter.get('at')}, tried {tried}",
        f"    {letter.get('reason')}",
    )


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of pending and dead documents. Both have an index; to count the delivered ones, every document would be read."""

    pending: int
    dead: int


def set_aside_words(count: int, reason: str) -> str:
    """Return how many documents were set aside, and the reason of the newest."""
    return f"{counted(count, 'document was', 'documents were')} set aside: {reason.rstrip('.')}"


@attrs.frozen
class DeadLetters:
    """Lists, retries and drops the documents that were set aside."""

    _db: sqlite3.Connection

    def all(self) -> list[DeadLetter]:
        """Return the dead letters, oldest first."""
        sql = (
            "SELECT id, at_ms, collection, dead_reason, content, attempts FROM document"
            " WHERE dead_reason IS NOT NULL ORDER BY at_ms, id"
        )
        return [
            DeadLetter(
                id=row[0], at=moment(row[1]), collection=row[2], reason=row[3], attempts=row[5],
                content={} if row[4] is None else msgspec.json.decode(row[4]),
            )
            for row in self._db.execute(sql)
        ]  # fmt: skip

    def last_reason(self) -> str:
        """Return the reason of the newest dead letter; empty if there is none."""
        sql = "SELECT dead_reason FROM document WHERE dead_reason IS NOT NULL ORDER BY at_ms DESC, id LIMIT 1"
        row = self._db.execute(sql).fetchone()
        return "" if row is None else str(row[0])

    def retry(self, ids: Sequence[str] | None) -> int:
        """Retry these (None: all that the receiver refused). Invalid documents stay. Return the number."""
        return self._db.execute(
            "UPDATE document SET dead_reason = NULL, attempts = 0, next_attempt_ms = NULL"
            f" WHERE dead_reason IS NOT NULL AND content_state <> 'invalid' AND {_CHOSEN}",
            _chosen(ids),
        ).rowcount

    def drop(self, ids: Sequence[str] | None) -> int:
        """Give these up (None: all): they count as delivered until their content changes. Return the number.

        The column ``given_up`` tells them from documents that the receiver really has, for the comparison with it.
        """
        return self._db.execute(
            "UPDATE document SET dead_reason = NULL, content = NULL, next_attempt_ms = NULL, given_up = 1,"
            " delivered_hash = desired_hash, delivery_state = CASE WHEN ownership_state = 'withdrawn' THEN 'never'"
            f" WHEN desired_hash IS NULL THEN 'stale' ELSE 'delivered' END WHERE dead_reason IS NOT NULL AND {_CHOSEN}",
            _chosen(ids),
        ).rowcount

    def counts(self) -> Counts:
        """Return the numbers of pending and dead documents."""
        (pending,) = self._db.execute("SELECT count(*) FROM document WHERE pending").fetchone()
        (dead,) = self._db.execute("SELECT count(*) FROM document WHERE dead_reason IS NOT NULL").fetchone()
        return Counts(pending=pending, dead=dead)


_CHOSEN = "(:ids IS NULL OR id IN (SELECT value FROM json_each(:ids)))"


def _chosen(ids: Sequence[str] | None) -> dict[str, str | None]:
    return {"ids": None if ids is None else msgspec.json.encode(list(ids)).decode()}
