"""Parse cells as numbers and times; None for an empty cell. Errors name the column, never the value."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime

from tconnectsync_tconnect.rows.bad_row import BadRow

NO_TIME_YEAR = 1
"""The text that means "no time"."""
FIRST_YEAR = 2008
"""Pumps count time from 2008."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?|\.\d+)([eE][+-]?\d{1,2})?", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d)(\.\d+)?", re.ASCII)


def text(cells: Mapping[str, str], column: str) -> str:
    """Return a cell without surrounding blanks; "" if it is empty or there is no such column."""
    return cells.get(column, "").strip()


def number(cells: Mapping[str, str], column: str) -> float | None:
    """Parse a decimal number of any size."""
    found = text(cells, column)
    if not found:
        return None
    if not _NUMBER.fullmatch(found):
        raise BadRow("is not a number", column=column)
    value = float(found) + 0.0
    if not math.isfinite(value):
        raise BadRow("is not a number", column=column)
    return value


def flag(cells: Mapping[str, str], column: str) -> bool:
    """Whether it is 1 or true. Raises BadRow for anything but 0, false or empty otherwise."""
    found = text(cells, column).lower()
    if found in ("1", "true"):
        return True
    if found in ("", "0", "false"):
        return False
    raise BadRow("is neither 0 nor 1", column=column)


def identity(cells: Mapping[str, str], column: str) -> int | None:
    """Parse an id: ``7007`` and ``7007.000`` are the same; 0 is none."""
    found = number(cells, column)
    if found is None or found == 0:
        return None
    if found != int(found) or found < 0:
        raise BadRow("is not a whole number", column=column)
    return int(found)


def time(cells: Mapping[str, str], column: str) -> datetime | None:
    """Parse a time on the user's wall clock, naive, in whole seconds."""
    found = text(cells, column)
    if not found:
        return None
    match = _TIME.fullmatch(found)
    try:
        at = datetime.fromisoformat(match.group(1)) if match else None
    except ValueError:
        at = None
    if at is not None and at.year == NO_TIME_YEAR:
        return None
    if at is None or at.year < FIRST_YEAR:
        raise BadRow("is not a time of a pump (2021-04-01T00:00:19)", column=column)
    return at


def needed_number(cells: Mapping[str, str], column: str) -> float:
    """Like :func:`number`, but an empty cell is an error."""
    found = number(cells, column)
    if found is None:
        raise BadRow("is empty", column=column, empty=True)
    return found


def needed_time(cells: Mapping[str, str], column: str) -> datetime:
    """Like :func:`time`, but an empty cell is an error."""
    found = time(cells, column)
    if found is None:
        raise BadRow("is not a time", column=column, empty=True)
    return found
