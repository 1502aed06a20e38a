"""Shortens pumps' serial numbers in what a fleet's operators read: log lines and `fleet status`. `fleet show` has all of them."""

from __future__ import annotations

import re

from tconnectsync import short_serial

_SERIAL = re.compile(r"(?:(?<=pump=)|(?<=[a-z]:)(?=\d+:\d)|(?<![\w.,…=:/-]))\d{6,10}(?!\w|[.,]\d)")
"""A number that stands alone, or in an event's id (``tandem:90556643:0:55``); not one of ``events=123456``, of a time, or with a point
or commas in it."""
_MAY_NAME_A_PUMP = re.compile(r"pump|error=\"|traceback|[a-z]:\d{6,10}:\d", re.IGNORECASE)


def with_short_serials(text: str) -> str:
    """Return a text about a pump, or about an unexpected error, with the ends of the serial numbers only; any other text as it is."""
    return _SERIAL.sub(lambda found: short_serial(found[0]), text) if _MAY_NAME_A_PUMP.search(text) else text
