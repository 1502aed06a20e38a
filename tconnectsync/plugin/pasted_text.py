"""Removes invisible characters that copying adds to a secret or an address."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

_DASHES = "Pd"
_FORMAT = "Cf"
_MINUS = "\N{MINUS SIGN}"


def trim(text: str) -> str:
    """Return the text without blanks, line ends and zero-width characters at its ends."""
    return _cut(text, lambda each: each.isspace() or _is_invisible(each))


def trim_lines(text: str) -> str:
    """Return the text without line ends and zero-width characters at its ends. A blank may be part of a password."""
    return _cut(text, lambda each: each in "\r\n" or _is_invisible(each))


def without_unseen(text: str) -> str:
    """Return the text without zero-width characters, and without blanks and line ends around it."""
    return "".join(each for each in text if not _is_invisible(each)).strip()


def text_or_none(text: str) -> str | None:
    """Like :func:`without_unseen`; None if nothing is left: an empty value in a file means that nothing is set."""
    return without_unseen(text) or None


def plain_token(text: str) -> str:
    """Like :func:`without_unseen`, and replace the dashes of word processors by hyphens."""
    seen = without_unseen(text)
    return "".join("-" if unicodedata.category(each) == _DASHES or each == _MINUS else each for each in seen)


def odd_character(text: str) -> str | None:
    """Describe the first character that cannot be sent in a header; None if all can. The result does not contain the text."""
    for place, each in enumerate(text, start=1):
        if not "!" <= each <= "~":
            name = "a blank" if each.isspace() else unicodedata.name(each, f"U+{ord(each):04X}").lower()
            return f"its character {place} is {name}"
    return None


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) == _FORMAT


def _cut(text: str, drop: Callable[[str], bool]) -> str:
    first, last = 0, len(text)
    while first < last and drop(text[first]):
        first += 1
    while last > first and drop(text[last - 1]):
        last -= 1
    return text[first:last]
