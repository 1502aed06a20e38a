"""Convert values as a Nightscout server does: dates, numbers, dropped fields.

Measured on real servers; equal on 0.12.8 and 15.0.7 unless a text says otherwise.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias, TypeVar, cast

import attrs

Body: TypeAlias = dict[str, Any]
"""One JSON object."""

T = TypeVar("T")

_DATE = re.compile(
    r"(\d{4})-?(\d\d)?-?(\d\d)?(?:[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d+))?)?\s*(Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.IGNORECASE,
)
_NUMBERS = ("targetTop", "targetBottom", "carbs", "insulin", "percent", "relative", "preBolus")
_NUMBERS_THAT_MAY_BE_ZERO = ("absolute", "duration")


@attrs.frozen(kw_only=True)
class ParsedTime:
    """A time (aware, UTC), and the offset in its text, in minutes."""

    at: datetime
    offset_minutes: int = 0

    @property
    def text(self) -> str:
        """The text that the server stores: UTC, in milliseconds."""
        return iso(self.at)


def copied(value: T) -> T:
    """Return a copy of a JSON value that shares nothing with it. ``copy.deepcopy`` takes ten times as long."""
    if isinstance(value, dict):
        return cast(T, {key: copied(item) for key, item in value.items()})
    return cast(T, [copied(item) for item in value]) if isinstance(value, list) else value


def iso(at: datetime) -> str:
    """Format as ``2025-11-18T18:12:40.000Z``, cut to milliseconds."""
    return at.astimezone(timezone.utc).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def read_moment(value: object) -> ParsedTime | None:
    """Parse a date as the server does: ISO 8601 (no zone: UTC), or milliseconds since 1970; None if it is no date."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError, ValueError):
            return ParsedTime(at=datetime.fromtimestamp(0, timezone.utc) + timedelta(milliseconds=value))
        return None
    found = _DATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    offset = _offset_minutes(zone)
    try:
        wall = datetime(int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0))
        at = wall + timedelta(milliseconds=int((fraction or "0")[:3].ljust(3, "0"))) - timedelta(minutes=offset)
    except (ValueError, OverflowError):
        return None
    return ParsedTime(at=at.replace(tzinfo=timezone.utc), offset_minutes=offset)


def _offset_minutes(zone: str | None) -> int:
    if zone is None or zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0)
    return -minutes if zone[0] == "-" else minutes


def number(value: object) -> float | None:
    """Convert like JavaScript's ``Number(value)``; None if that is NaN."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (int, float)):
        return None if math.isnan(value) else value
    if value is None:
        return 0
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return 0
        with contextlib.suppress(ValueError):
            found = (
                float(text) if not text.lower().lstrip("+-").startswith(("inf", "nan")) and "_" not in text else None
            )
            return int(found) if found is not None and found.is_integer() else found
    return None


def without_point(text: str) -> float:
    """Parse a JSON number as JavaScript writes it again: ``2.0`` becomes ``2``."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def treatment(posted: Mapping[str, Any], now: datetime) -> Body:
    """Return a treatment as it is stored.

    ``created_at`` becomes UTC, and **now if it is no date**. Amounts become numbers and are dropped if they are 0, empty
    or no number; ``absolute`` and ``duration`` keep 0. Not simulated: pre-boluses, which are split into two treatments.
    """
    stored = dict(posted)
    moment = (
        ParsedTime(at=now) if "created_at" not in posted else read_moment(posted["created_at"]) or ParsedTime(at=now)
    )
    stored["created_at"], stored["utcOffset"] = moment.text, moment.offset_minutes
    event_time = read_moment(stored.pop("eventTime", None))
    if event_time is not None:
        stored["created_at"] = event_time.text
    for field in _NUMBERS:
        _set_or_drop(stored, field, number(stored[field]) or None if field in stored else None)
    for field in _NUMBERS_THAT_MAY_BE_ZERO:
        _set_or_drop(stored, field, number(stored[field]) if field in stored else None)
    glucose = number(stored["glucose"]) if "glucose" in stored else None
    _set_or_drop(stored, "glucose", glucose or None)
    if not glucose:
        stored.pop("glucoseType", None)
        stored.pop("units", None)
    if not stored.get("notes", True):
        del stored["notes"]
    if stored.get("eventType") == "Announcement":
        stored["isAnnouncement"] = True
    return stored


def _set_or_drop(stored: Body, field: str, value: object) -> None:
    if value is None:
        stored.pop(field, None)
    else:
        stored[field] = value


def device_status(posted: Mapping[str, Any], now: datetime) -> Body:
    """Return a device status as it is stored: ``created_at`` in UTC; now if it is missing or no date."""
    moment = (
        ParsedTime(at=now) if "created_at" not in posted else read_moment(posted["created_at"]) or ParsedTime(at=now)
    )
    return {**posted, "created_at": moment.text, "utcOffset": moment.offset_minutes}


def entry(posted: Mapping[str, Any], now: datetime) -> Body:
    """Return an entry as it is stored: ``sysTime`` from ``dateString``, else from ``date``, else now."""
    text = posted.get("dateString")
    moment = (read_moment(text) if text else None) or read_moment(posted.get("date")) or ParsedTime(at=now)
    stored = {**posted, "sysTime": moment.text, "utcOffset": moment.offset_minutes}
    if text:
        stored["dateString"] = moment.text
    return stored
