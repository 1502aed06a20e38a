"""Make the log's events from the vendor's entries."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tconnectsync import Event
from tconnectsync_tandem.decode import DECODER
from tconnectsync_tandem.decode.entries import HistoryEntry, read_entry
from tconnectsync_tandem.decode.fields import plain_whole

SOURCE = "tandem"

_NO_TIME = datetime(2008, 1, 1)
_SECRET_CODES = frozenset({156, 216, 217, 390, 395})
"""Records that may contain pairing data of a sensor or transmitter: its number, or the code on its box."""
_KEPT_OF_SECRETS = frozenset(
    {"deviceassignmentid", "eventcode", "sequencegroup", "sequencenumber", "pumpdatetime", "estimateddatetime"}
)
_BLANK = {"eventProperties": {"blanked": "may hold a sensor's pairing code"}}


def make_event(raw: Any, *, pump: str, received_at: datetime) -> tuple[Event, HistoryEntry]:
    """Return the event of one entry, and the entry as read.

    The identity is pump, sequence group and sequence number. An entry without these is stored as ``unknown`` under a
    hash of its contents, so that fetching it again gives the same event.
    """
    record: Mapping[str, Any] = raw if type(raw) is dict else {"entry": raw}
    code = record.get("eventCode")
    if type(code) is not int or code in _SECRET_CODES:
        record = _without_secrets(record)
    entry = read_entry(record)
    if entry.seq is None:
        identity = f"{SOURCE}:{pump}:odd:{_digest(record)}"
    else:
        identity = f"{SOURCE}:{pump}:{entry.group}:{entry.seq}"
    event = Event(
        id=identity,
        kind=entry.kind,
        pump=pump,
        group=entry.group,
        seq=entry.seq,
        pump_time=entry.pump_time or _NO_TIME,
        source=SOURCE,
        received_at=received_at,
        body=entry.body,
        raw=record,
        decoder=DECODER,
    )
    return event, entry


def device_of(event: Event) -> str | None:
    """Tandem's id of a pump in an account, which every entry has."""
    device = (event.raw or {}).get("deviceAssignmentId")
    return device if isinstance(device, str) and device else None


def _without_secrets(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry as it may be stored: of some records only the type and the time."""
    code = next((value for key, value in record.items() if str(key).lower() == "eventcode"), None)
    code = record.get("eventCode", code)
    if not isinstance(code, (int, float, str)):  # under another name, or packed into an object
        others = (value for key, value in record.items() if str(key).lower() not in _KEPT_OF_SECRETS)
        candidates = [*others, *(code.values() if isinstance(code, dict) else ())]
    else:
        candidates = [code]
    if not any(plain_whole(each) in _SECRET_CODES for each in candidates if isinstance(each, (int, float, str))):
        return record
    return {key: value for key, value in record.items() if str(key).lower() in _KEPT_OF_SECRETS} | _BLANK


def _digest(record: Mapping[str, Any]) -> str:
    text = json.dumps(record, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()
