"""Match stored documents with ours, also on compatible sites that drop our ``identifier``."""

from __future__ import annotations

import uuid
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import msgspec

from tconnectsync_nightscout.api.document_format import SYNC_IDENTIFIER, Key, Task, moment_of, slot_of, whole_ms

IDENTITIES = ("identifier", SYNC_IDENTIFIER)
_TIMES = ("created_at", "dateString", "timestamp", "eventTime")
_NUMBERS = ("mills", "date")


class StoredName(msgspec.Struct, frozen=True, kw_only=True):
    """A document of ours in a response. ``mongo_id``: the site's own id, if the site does not keep ours."""

    mongo_id: str = ""
    by_identifier: bool = False


def stored_names(answered: Sequence[Mapping[str, Any]], puts: Sequence[Task]) -> dict[str, StoredName]:
    """Return our documents in the response to ``puts``, matched by identity, else by time and type."""
    ours = {task.id for task in puts}
    found: dict[str, StoredName] = {}
    rest = []
    for item in answered:
        identity = identity_of(item, ours)
        if identity is None:
            rest.append(item)
        else:
            found[identity] = stored_name(identity, item)
    by_key: dict[Key, list[str]] = {}
    for task in puts:
        if task.key is not None and task.id not in found:
            by_key.setdefault(_second(task.key), []).append(task.id)
    for item in rest:
        at = time_of_document(item)
        ids = [] if at is None else by_key.get(_second(Key(at=at, event_type=slot_of(item))), [])
        if len(ids) == 1:
            found[ids[0]] = stored_name(ids[0], item)
    return found


def identity_of(item: Mapping[str, Any], ours: Container[str]) -> str | None:
    """Return which of ``ours`` a stored document has as identity, in any field."""
    for name in (*IDENTITIES, "_id"):
        value = item.get(name)
        if isinstance(value, str) and value in ours:
            return value
    return None


class CopyMatcher:
    """Find the tasks of stored documents without identifiers: by the site's ``_id``, else by author, type and time."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._by_id: dict[str, str] = {}
        self._by_key: dict[tuple[str, Key], str] = {}
        for task in tasks:
            if task.mongo_id:
                self._by_id[task.mongo_id] = task.id
            for key in (task.old, task.key):
                if key is not None:
                    self._by_key[task.author, key] = task.id

    def owner(self, item: Mapping[str, Any]) -> str | None:
        """Return the identity of the stored document's task, if any. One with an identity of ours belongs to that only."""
        mongo_id, at = item.get("_id"), time_of_document(item)
        if isinstance(mongo_id, str) and mongo_id in self._by_id:
            return self._by_id[mongo_id]
        if at is None or any(is_ours(item.get(name)) for name in IDENTITIES):
            return None
        return self._by_key.get((str(item.get("enteredBy") or ""), Key(at=at, event_type=slot_of(item))))


def is_ours(identifier: object) -> bool:
    """Whether it is a UUIDv5, as this product computes identities."""
    try:
        return isinstance(identifier, str) and uuid.UUID(identifier).version == 5
    except ValueError:
        return False


def time_of_document(item: Mapping[str, Any]) -> datetime | None:
    """The time of a document, in any format that servers use."""
    for name in _TIMES:
        at = moment_of(item.get(name))
        if at is not None:
            return at
    for name in _NUMBERS:
        value = item.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1e14:
            return whole_ms(datetime.fromtimestamp(value / 1000, timezone.utc))
    return None


def _second(key: Key) -> Key:
    return Key(
        at=key.at.replace(microsecond=0), event_type=key.event_type
    )  # replace() keeps the text of the old time in msgspec 0.19


def stored_name(identity: str, item: Mapping[str, Any]) -> StoredName:
    """The site's name for a stored document of ours."""
    mongo_id = item.get("_id")
    kept = item.get("identifier") == identity
    return StoredName(by_identifier=kept, mongo_id="" if kept or not isinstance(mongo_id, str) else mongo_id)
