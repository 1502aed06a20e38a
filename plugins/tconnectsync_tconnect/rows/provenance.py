"""A fact with its origin in the log: enough to decode it again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import attrs

from tconnectsync.events import Unknown
from tconnectsync_tconnect.rows.row_event import RowEvent

Row: TypeAlias = Mapping[str, Any]
Reader: TypeAlias = Callable[[Row, Mapping[str, Any]], Sequence[RowEvent]]
"""Makes the facts of a vendor's row; the second mapping is its context. Raises BadRow."""

_PERSONAL = frozenset(
    {
        "address",
        "birthdate",
        "dateofbirth",
        "dob",
        "email",
        "firstname",
        "lastname",
        "name",
        "patientid",
        "patientname",
        "phone",
        "userguid",
        "userid",
        "username",
    }
)


@attrs.frozen(kw_only=True)
class ProvenancedRow:
    """A fact and its ``raw``: ``from`` (the table), ``row`` (the vendor's), ``fact`` (its name), and the context."""

    fact: RowEvent
    raw: Mapping[str, Any]


def with_row(origin: str, row: Row, facts: Sequence[RowEvent], **around: Any) -> list[ProvenancedRow]:
    """The facts that ``origin``'s reader made of ``row`` and ``around``."""
    clean = impersonal(row)
    return [
        ProvenancedRow(fact=fact, raw={"from": origin, **around, "fact": fact.name, "row": clean}) for fact in facts
    ]


def unknown_with_row(origin: str, row: Any, reason: str, at: datetime, **around: Any) -> ProvenancedRow:
    """An unreadable row as ``unknown``: named by its content, unchanged except for personal data."""
    clean = impersonal(row)
    text = json.dumps(clean, sort_keys=True, default=str)
    name = hashlib.sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:16]
    fact = RowEvent(name=f"unknown:{origin}:{name}", kind="unknown", at=at, body=Unknown(code=origin, reason=reason))
    return ProvenancedRow(fact=fact, raw={"from": origin, **around, "fact": fact.name, "row": clean})


def impersonal(value: Any) -> Any:
    """A vendor's value without personal data."""
    if isinstance(value, Mapping):
        return {str(key): impersonal(item) for key, item in value.items() if str(key).lower() not in _PERSONAL}
    if isinstance(value, (list, tuple)):
        return [impersonal(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
