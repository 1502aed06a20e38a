"""Readers of single properties, which never raise and never turn unknown values into numbers.

A reader gets a JSON value that is not null. It returns the typed value, ``None`` if the pump means "none" (65535 and
the like), or :data:`ODD` if the value is invalid for the property.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias


class _Odd:
    """The type of :data:`ODD`."""

    def __repr__(self) -> str:
        return "ODD"


ODD: Final = _Odd()
"""A value of the wrong type, not finite, or outside the property's range."""

Read: TypeAlias = Callable[[Any], Any]

_BITS = frozenset(range(64))
_INT = {int}
_NUMBER = re.compile(r"\s*[+-]?(\d{1,19}|\d{0,19}\.\d{1,30}|\d{1,19}\.)([eE][+-]?\d{1,2})?\s*", re.ASCII)
_WHOLE = re.compile(r"\s*[+-]?\d{1,19}\s*", re.ASCII)
_WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}


class Field(NamedTuple):
    """One value of a body: its name, its property, its reader, whether it is required, other spellings.

    A tuple, because decoding spends most time on unpacking these.
    """

    name: str
    key: str
    read: Read
    required: bool
    more_keys: tuple[str, ...]


def need(name: str, key: str, read: Read) -> Field:
    """A required value."""
    return Field(name, key, read, True, ())


def may(name: str, key: str, read: Read, *more_keys: str) -> Field:
    """An optional value; ``more_keys`` are other spellings that were seen."""
    return Field(name, key, read, False, more_keys)


def plain(value: Any) -> Any:
    """Return a number that was sent as text as a number ("1000", "1.05"); anything else as it is."""
    if type(value) is not str:
        return value
    if _WHOLE.fullmatch(value):
        return int(value)
    return float(value) if _NUMBER.fullmatch(value) else value


def plain_whole(value: Any) -> Any:
    """Return a whole number that was sent as text or as 279.0; anything else as it is."""
    value = plain(value)
    return int(value) if type(value) is float and value == value // 1 and abs(value) < 2**53 else value


def number(low: float, high: float, *, none: Collection[float] = (), per_unit: int = 1) -> Read:
    """A finite number from ``low`` to ``high`` as sent; ``per_unit`` 1000 converts milliunits to units."""
    nothing = frozenset(none)

    def read(value: Any) -> Any:
        kind = type(value)
        if kind is not int and kind is not float:
            value = plain(value)
            kind = type(value)
            if kind is not int and kind is not float:
                return ODD
        if value in nothing:
            return None
        return value / per_unit if low <= value <= high else ODD  # NaN compares false

    return read


def whole(low: int, high: int, *, none: Collection[int] = ()) -> Read:
    """A whole number from ``low`` to ``high``."""
    nothing = frozenset(none)

    def read(value: Any) -> Any:
        if type(value) is not int:
            value = plain_whole(value)
            if type(value) is not int:
                return ODD
        if value in nothing:
            return None
        return value if low <= value <= high else ODD

    return read


def named(names: Mapping[int, str], *, none: Collection[int] = ()) -> Read:
    """The name of a number; one that is not in ``names`` stays a number, as text."""
    table = {number: None if number in none else name for number, name in names.items()}
    table.update(dict.fromkeys(none))
    any_number = whole(-(2**32), 2**32)

    def read(value: Any) -> Any:
        if type(value) is int and value in table:
            return table[value]
        found = any_number(int(value) if isinstance(value, bool) else value)
        return ODD if found is ODD else table.get(found, str(found))

    return read


def flag(value: Any) -> Any:
    """Yes or no: 0 and 1 in captures; true, false and their names are accepted."""
    if value in (0, 1) and isinstance(value, (int, float)):
        return bool(value)
    return _WORDS.get(value.strip().lower(), ODD) if isinstance(value, str) else ODD


def bits(names: Mapping[int, str]) -> Read:
    """Set bits as a tuple of names in bit order, from a list of bit numbers (as captured) or from a mask."""

    @lru_cache(maxsize=256)
    def words(found: frozenset[int]) -> tuple[str, ...]:
        return tuple(names.get(bit, str(bit)) for bit in sorted(found))

    def read(value: Any) -> Any:
        found = bit_numbers(value)
        return ODD if found is ODD else words(found)

    return read


def bit_numbers(value: Any) -> Any:
    """Set bits as a frozen set of numbers, from a list or a mask; :data:`ODD` for anything else."""
    if type(value) is list:
        if not set(map(type, value)) <= _INT:
            value = [plain(each) for each in value]
            if not set(map(type, value)) <= _INT:  # among sets and keys, True and 1.0 would be 1
                return ODD
        found = frozenset(value)
        return found if found <= _BITS else ODD
    value = plain(value)
    if type(value) is int and 0 <= value < 2 ** len(_BITS):
        return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)
    return ODD


# The pump's possible range, widely: 300 U is the largest cartridge. Folds decide whether a dose is plausible.
INSULIN_U = number(0, 500)
INSULIN_MU = number(0, 500_000, per_unit=1000)
RATE_U_PER_H = number(0, 100)
RATE_MU_PER_H = number(0, 65_534, none=(65_535,), per_unit=1000)
RESERVOIR_U = number(0, 1_000)
IOB_U = number(-100, 500)
PRIME_U = number(0, 500, none=(-1,))
PERCENT = number(0, 100)
GLUCOSE_OR_NONE = number(1, 1_500, none=(0,))
POSITIVE_OR_NONE = number(0.001, 1_000_000, none=(0,))
MINUTES = number(0, 100_000)
COUNT_32 = whole(0, 2**32 - 1)
SIGNED_32 = whole(-(2**31), 2**32 - 1)
SECONDS_OR_NONE = whole(0, 2**32 - 2, none=(2**32 - 1,))
PARAMETER = number(-1e12, 1e12)
YES_NO = flag
