"""Read one entry of ``events`` or ``clockChanges``: its identity, its time, and its contents."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from tconnectsync import events
from tconnectsync.events import Body
from tconnectsync_tandem.decode import binary_only_records as older
from tconnectsync_tandem.decode import device, glucose, insulin, modes
from tconnectsync_tandem.decode.fields import plain_whole
from tconnectsync_tandem.decode.records import Record, shown

RECORDS: Mapping[int, Record] = {
    record.code: record for family in (insulin, device, glucose, modes, older) for record in family.RECORDS
}
"""Every record id that is decoded."""

NO_SUCH_CODE = "no such code"
NO_CODE = "?"
"""The code of an entry whose ``eventCode`` cannot be read."""

_KEYS = frozenset(
    {
        "deviceAssignmentId",
        "eventCode",
        "sequenceGroup",
        "sequenceNumber",
        "pumpDateTime",
        "estimatedDateTime",
        "eventProperties",
        "payload",  # from a binary record: bytes that belong to no property
    }
)
_SPELLING = {key.lower(): key for key in _KEYS}
_MOST = 2**63
_WALL_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d)(:\d\d)?([.,]\d{1,9})?\s?(Z|[+-]\d\d(:?\d\d)?)?", re.ASCII | re.IGNORECASE
)
_FIRST_YEAR, _LAST_YEAR = 2008, 2150  # a 32-bit count of seconds since 2008 ends in 2144


class HistoryEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry as read. ``seq`` is None if the entry has no usable identity: then it is ``unknown``."""

    kind: str
    body: Body
    group: int | None
    seq: int | None
    pump_time: datetime | None
    notes: tuple[str, ...]


def read_entry(raw: Mapping[str, Any]) -> HistoryEntry:
    """Read ``raw``; never raises. ``notes`` name unknown or invalid parts."""
    notes: tuple[str, ...] = ()
    found = raw
    if not raw.keys() <= _KEYS:
        notes = tuple(f"new key {str(key)[:60]}" for key in raw if str(key).lower() not in _SPELLING)
        found = {_SPELLING[key.lower()]: raw[key] for key in raw if str(key).lower() in _SPELLING}
        found.update({key: raw[key] for key in raw if key in _KEYS})
    code, group, seq = found.get("eventCode"), found.get("sequenceGroup"), found.get("sequenceNumber")
    if not (type(code) is int and type(group) is int and type(seq) is int):
        code, group, seq = plain_whole(code), plain_whole(group), plain_whole(seq)
    pump_time = _wall_time(found.get("pumpDateTime"))
    if group is None:
        group = 0  # no other one was ever seen
    if type(code) is not int:
        return _unidentified(NO_CODE, "eventCode", code, pump_time, notes)
    if type(seq) is not int or not 0 <= seq < _MOST:
        return _unidentified(str(code), "sequenceNumber", seq, pump_time, notes)
    if type(group) is not int or not 0 <= group < _MOST:
        return _unidentified(str(code), "sequenceGroup", group, pump_time, notes)
    if pump_time is None:
        return _unidentified(str(code), "pumpDateTime", found.get("pumpDateTime"), pump_time, notes)
    record = RECORDS.get(code)
    if record is None:
        return HistoryEntry(
            "unknown", events.Unknown(code=str(code), reason=NO_SUCH_CODE), group, seq, pump_time, notes
        )
    properties = unpacked(found.get("eventProperties"))
    if type(properties) is not dict:
        kind, body, more = record.unknown(f"eventProperties is {shown(properties)}")
    else:
        kind, body, more = record.read(properties, pump_time)
    return HistoryEntry(kind, body, group, seq, pump_time, notes + more if more else notes)


def _unidentified(code: str, key: str, value: Any, pump_time: datetime | None, notes: tuple[str, ...]) -> HistoryEntry:
    body = events.Unknown(code=code[:40], reason=f"{key} is {shown(value)}")
    return HistoryEntry("unknown", body, None, None, pump_time, notes)


def unpacked(properties: Any) -> Any:
    """Return an object that was sent as JSON text; anything else as it is."""
    if type(properties) is str:
        with suppress(ValueError, RecursionError):
            return msgspec.json.decode(properties)
    return properties


def _wall_time(text: Any) -> datetime | None:
    """Read the pump's wall clock; a zone or fraction after it is ignored. Without seconds, the start of the minute.

    Anything else after it ("01:05:00 PM") may change its meaning: then there is no time.
    """
    if type(text) is not str:
        return None
    if not (len(text) == 19 and text[4::3] == "--T::"):  # not 2026-11-20T00:03:00, as almost all are
        found = _WALL_TIME.fullmatch(text.strip())
        if found is None:
            return None
        text = found[1] + (found[2] or ":00")
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if _FIRST_YEAR <= time.year <= _LAST_YEAR else None
