"""Counted nouns for messages: ``1 document``, ``1,163 documents``."""

from __future__ import annotations

_ES = ("s", "x", "ch", "sh")
_VOWEL_Y = ("ay", "ey", "oy", "uy")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return the number, with commas between thousands, and the noun that fits it.

    ``plural`` is needed only for irregular nouns, or when a verb comes with it: ``counted(n, "day was", "days were")``.
    """
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {_plural(noun) if plural is None else plural}"


def _plural(noun: str) -> str:
    if noun.endswith("y") and not noun.endswith(_VOWEL_Y):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(_ES) else f"{noun}s"
