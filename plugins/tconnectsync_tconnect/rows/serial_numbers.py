"""Serial numbers in files. A spreadsheet turns 90001234 into 9.0001234E7, or rounds it to 9.00012E7."""

from __future__ import annotations

import re
from decimal import Decimal

_NUMBER = re.compile(r"\+?(\d+)(?:\.(\d*))?(?:[eE]\+?(\d{1,2}))?", re.ASCII)


def plain_serial(text: str) -> str:
    """Return the serial number: ``9.0001234E7`` is 90001234. Other text stays as it is."""
    text = text.strip()
    found = _NUMBER.fullmatch(text)
    if found is None or text.isdecimal() or is_rounded(text):
        return text
    return str(int(Decimal(text)))


def is_rounded(text: str) -> bool:
    """Whether digits are lost: ``9.00012E7`` may be any number from 90001150 to 90001250."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return False
    decimals, exponent = found[2] or "", int(found[3] or 0)
    if exponent == 0:
        return bool(decimals.strip("0"))
    return len(decimals) != exponent and not (len(decimals) > exponent and not decimals[exponent:].strip("0"))


def can_be(text: str, serial: str) -> bool:
    """Whether a rounded number may be this serial number."""
    found = _NUMBER.fullmatch(text.strip())
    if found is None or not serial.isdecimal():
        return False
    unit = Decimal(10) ** (int(found[3] or 0) - len(found[2] or ""))
    return abs(Decimal(serial) - Decimal(text.strip())) <= unit / 2
