"""Shortens pumps' serial numbers in what a fleet's operators read: log lines and `fleet status`. `fleet show` has all of them."""

from __future__ import annotations

import re

from tconnectsync import short_serial

_SERIAL = re.compile(r"(?:(?<=pump=)|(?<![\w.,…=:/-]))\d{6,10}(?!\w|[.,]\d)")
"""A number that stands alone; not one of ``events=123456``, of a time, or with a point or commas in it."""


def with_short_serials(text: str) -> str:
    """Return a sentence about a pump with the ends of the serial numbers only; any other text as it is."""
    return _SERIAL.sub(lambda found: short_serial(found[0]), text) if "pump" in text.lower() else text
