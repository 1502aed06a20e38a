"""Times of the web services as the user's wall clock: naive, in whole seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any
from zoneinfo import ZoneInfo

from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.cells import FIRST_YEAR

_PACIFIC = "America/Los_Angeles"
_LAST_YEAR = 2150
_NUMBER = re.compile(r"-?\d{1,15}(\.\d{1,15})?", re.ASCII)
_DATE = re.compile(r"/Date\((-?\d{1,17})(?:[+-]\d{4})?\)/", re.ASCII)


def at_seconds(row: Mapping[str, Any], key: str = "x") -> datetime:
    """The Pacific rule: read as a Pacific wall clock, the seconds give the user's wall clock in any zone."""
    found = plain(row.get(key))
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise BadRow("is not a time in seconds", column=key)
    return _pacific(found, key)


def at_date(row: Mapping[str, Any], key: str = "EventDateTime") -> datetime:
    """``/Date(1638663490000-0000)/``: milliseconds, by the same rule."""
    match = _DATE.fullmatch(str(row.get(key)))
    if match is None:
        raise BadRow("is not /Date(milliseconds)/", column=key)
    return _pacific(int(match[1]) / 1000, key)


def plain(value: Any) -> Any:
    """Return a number that was sent as text as a number; anything else as it is."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value.strip()):
        return value
    return float(value) if "." in value else int(value)


def _pacific(seconds: float, key: str) -> datetime:
    try:
        found = datetime.fromtimestamp(seconds, timezone.utc).astimezone(ZoneInfo(_PACIFIC))
    except (ValueError, OverflowError, OSError):
        raise BadRow("is not a time", column=key) from None
    if not FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise BadRow("is not a time of a pump", column=key)
    return found.replace(tzinfo=None, microsecond=0, fold=0)


def number(row: Mapping[str, Any], key: str) -> float:
    """Return a required number."""
    found = plain(row.get(key))
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise BadRow("is not a number", column=key)
    return float(found) + 0.0
