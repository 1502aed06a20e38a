"""What was set aside, and how much of everything there is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import attrs
import msgspec

from tconnectsync.clock import moment
from tconnectsync.outbox.queue import GIVEN_UP, DeliveryQueue
from tconnectsync.text.plural import counted


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A document that the receiver will never take as it is, or that cannot be, with the reason."""

    id: str
    at: datetime
    collection: str
    reason: str
    content: dict[str, Any]
    attempts: int


@attrs.frozen(kw_only=True)
class Counts:
    """How many documents wait, are set aside, are delivered; and how many waiting ones rewrite the settled past."""

    pending: int
    dead: int
    delivered: int


def set_aside_words(count: int, reason: str) -> str:
    """That so many documents were set aside, and why the newest was."""
    return f"{counted(count, 'document was', 'documents were')} set aside: {reason.rstrip('.')}"


class DeadLetters(DeliveryQueue):
    """Documents that were set aside, and counts."""

    def dead_letters(self) -> list[DeadLetter]:
        """What was set aside, oldest first."""
        sql = "SELECT id, at, collection, dead, content, attempts FROM document WHERE dead IS NOT NULL ORDER BY at, id"
        return [
            DeadLetter(
                id=row[0], at=moment(row[1]), collection=row[2], reason=row[3], attempts=row[5],
                content={} if row[4] is None else msgspec.json.decode(row[4]),
            )
            for row in self._db.execute(sql)
        ]  # fmt: skip

    def last_reason(self) -> str:
        """Why the newest dead letter was set aside; empty where there is none."""
        sql = "SELECT dead FROM document WHERE dead IS NOT NULL ORDER BY at DESC, id LIMIT 1"
        row = self._db.execute(sql).fetchone()
        return "" if row is None else str(row[0])

    def retry(self, ids: Sequence[str] | None) -> int:
        """Try these dead letters once more (None: all that the receiver refused). Impossible values stay. Their number."""
        sql = (
            "UPDATE document SET dead = NULL, attempts = 0, next_try = NULL WHERE dead IS NOT NULL AND coalesce(want, '') NOT LIKE '%!'"
            " AND (? IS NULL OR id IN (SELECT value FROM json_each(?)))"
        )
        chosen = None if ids is None else msgspec.json.encode(list(ids)).decode()
        return self._db.execute(sql, (chosen, chosen)).rowcount

    def drop(self, ids: Sequence[str] | None) -> int:
        """Let these dead letters go (None: all): counted as delivered until their content changes. Their number."""
        sql = (
            "UPDATE document SET dead = NULL, sent = want, content = NULL, next_try = ? WHERE dead IS NOT NULL"
            " AND (? IS NULL OR id IN (SELECT value FROM json_each(?)))"
        )
        chosen = None if ids is None else msgspec.json.encode(list(ids)).decode()
        return self._db.execute(sql, (GIVEN_UP, chosen, chosen)).rowcount

    def counts(self) -> Counts:
        """For status."""
        (pending,) = self._db.execute(
            "SELECT count(*) FROM document WHERE want IS NOT sent AND dead IS NULL"
        ).fetchone()
        (dead,) = self._db.execute("SELECT count(*) FROM document WHERE dead IS NOT NULL").fetchone()
        (delivered,) = self._db.execute("SELECT count(*) FROM document WHERE sent IS NOT NULL").fetchone()
        return Counts(pending=pending, dead=dead, delivered=delivered)
