"""The format of documents sent to Nightscout, and of the receiver key by which they are found again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec

from tconnectsync import Delivery, Document, Refused

SINK_FIELD = "sink"
"""The field with the sink's name, so that sinks of one site can tell their documents apart."""

SYNC_IDENTIFIER = "syncIdentifier"
"""Another field with a treatment's identity: some compatible sites drop ``identifier`` but keep this one."""

ENTRIES = "entries"
"""The collection of glucose values. It has the time as number and text, and a ``type`` instead of an event type."""

_NAMED_BY_SLOT = frozenset({"treatments", ENTRIES})
_RECEIVERS_OWN = frozenset({"_id", "created_at", "identifier", SYNC_IDENTIFIER, "enteredBy", SINK_FIELD})
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)
_MS_2000, _MS_2200 = 946_684_800_000, 7_258_118_400_000
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d+))? ?([Zz]|[+-]\d\d(?::?\d\d)?)", re.ASCII)
_FINITE = json.JSONEncoder(allow_nan=False)
_FIRST_YEAR, _LAST_YEAR = 1990, 2100


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """The key of a treatment on older servers: UTC time in milliseconds, and event type ("" in other collections).

    ``created_at`` is the time as a site stores it.
    """

    at: datetime
    event_type: str = ""
    created_at: str = ""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "created_at", created_at_text(self.at))


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A prepared delivery. Afterwards the site is to have ``body`` under ``key``; None: no document.

    ``id`` is the document's identity. ``old`` is the key of the last accepted version, if known. ``mongo_id`` is the
    site's own id, known only if the site does not keep ours. ``author`` is the name that the site shows in ``enteredBy``.
    """

    id: str
    delivery: Delivery
    body: Mapping[str, Any] | None = None
    key: Key | None = None
    old: Key | None = None
    mongo_id: str = ""
    author: str = ""

    @property
    def moved(self) -> bool:
        """Whether an older copy has another key."""
        return self.key is not None and self.old is not None and self.key != self.old

    @property
    def times(self) -> tuple[datetime, ...]:
        """The known times of its copies."""
        return tuple(key.at for key in (self.old, self.key) if key is not None)


def created_at_text(at: datetime) -> str:
    """Format as ``2026-01-31T12:00:00.123Z``: servers compare times as text, so there is only this format."""
    moment = at if at.tzinfo is timezone.utc else at.astimezone(timezone.utc)
    return moment.isoformat("T", "milliseconds")[:-6] + "Z"  # instead of +00:00


def moment_of(value: object) -> datetime | None:
    """Parse a server's time as UTC, cut to milliseconds; None if it is no time with an offset.

    Text with any number of digits after the seconds (.NET writes seven), or milliseconds since 1970.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _EPOCH + timedelta(milliseconds=int(value)) if _MS_2000 < value < _MS_2200 else None
    found = _MOMENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return None
    day, time, digits, zone = found.groups()
    zone = "+00:00" if zone in "Zz" else f"{zone[:3]}:{zone[3:].lstrip(':') or '00'}"
    try:
        return whole_ms(datetime.fromisoformat(f"{day}T{time}.{(digits or '')[:6]:0<6}{zone}"))
    except (ValueError, OverflowError):
        return None


def epoch_ms(at: datetime) -> int:
    """Milliseconds since 1970, the time format of entries."""
    return (at - _EPOCH) // _MILLISECOND


def slot_of(item: Mapping[str, Any]) -> str:
    """What distinguishes documents of one time: a treatment's event type, an entry's type, else ""."""
    return str(item.get("eventType") or (item.get("type") if "dateString" in item else "") or "")


def whole_ms(at: datetime) -> datetime:
    """Convert to UTC, cut to the milliseconds that servers keep."""
    moment = at.astimezone(timezone.utc)
    rest = moment.microsecond % 1000
    return moment.replace(microsecond=moment.microsecond - rest) if rest else moment


def stored_text(key: Key, mongo_id: str = "") -> str:
    """The receiver key as text, for the outbox."""
    fields = {"created_at": key.created_at}
    if key.event_type:
        fields["eventType"] = key.event_type
    if mongo_id:
        fields["_id"] = mongo_id
    return msgspec.json.encode(fields).decode()


def stored_id(text: str | None) -> str:
    """The site's own id in a :func:`stored_text`; "" if there is none."""
    return str(_stored_fields(text).get("_id") or "")


def _stored_fields(text: str | None) -> dict[str, Any]:
    if not text:  # most are new
        return {}
    try:
        fields = json.loads(text)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def stored_key(text: str | None) -> Key | None:
    """The inverse of :func:`stored_text`; None if the text has no time."""
    if not text:
        return None
    fields = _stored_fields(text)
    at = moment_of(fields.get("created_at"))
    return None if at is None else Key(at=at, event_type=str(fields.get("eventType") or ""))


def prepare(delivery: Delivery, *, entered_by: str, sink: str) -> Task | Refused:
    """Return the task of a delivery, or why its document can never be sent.

    The server stores an unreadable time as now and answers 200, so every time is checked here.
    """
    old, mongo_id = stored_key(delivery.receiver_key), stored_id(delivery.receiver_key)
    document = delivery.document
    if document is None:
        return Task(id=delivery.document_id, delivery=delivery, old=old, mongo_id=mongo_id, author=entered_by)
    reason = _validation_error(delivery, document)
    if reason is not None:
        return Refused(reason=reason)
    key = Key(at=whole_ms(document.at), event_type=_slot_there(document))
    body = dict(document.content)
    for name in _RECEIVERS_OWN.intersection(body):
        del body[name]
    body["created_at"] = key.created_at
    if document.collection == ENTRIES:
        body["date"] = epoch_ms(key.at)
        body["dateString"] = body["created_at"]
    body["identifier"] = document.id
    body["enteredBy"] = entered_by
    body[SINK_FIELD] = sink
    if document.collection == "treatments":
        body[SYNC_IDENTIFIER] = document.id
    return Task(id=document.id, delivery=delivery, body=body, key=key, old=old, mongo_id=mongo_id, author=entered_by)


def _slot_there(document: Document) -> str:
    """The value that :func:`slot_of` returns for the stored document."""
    return str(document.content.get("type" if document.collection == ENTRIES else "eventType") or "")


def _validation_error(delivery: Delivery, document: Document) -> str | None:
    if document.problem is not None:
        return document.problem
    if document.id != delivery.document_id or document.collection != delivery.collection:
        return "the document is not that of the delivery"
    if document.at.tzinfo is None or not _FIRST_YEAR <= document.at.year < _LAST_YEAR:
        return f"its time, {document.at.isoformat()}, is impossible: Nightscout would store it as now"
    if document.collection in _NAMED_BY_SLOT and not _slot_there(document):
        return f"a document of {document.collection} without its type"
    if delivery.content_hash:  # from an outbox, which read it from JSON
        return None
    try:
        if msgspec.json.decode(msgspec.json.encode(document.content)) != document.content:
            _FINITE.encode(dict(document.content))  # slower, and strict
    except (TypeError, ValueError) as error:
        return f"its content is not JSON with finite numbers: {error}"
    return None
