"""Text from outside, made safe to show: nothing in it that a terminal would obey, or that no one would see."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return the text with each control or invisible character written as an escape, such as ``\x1b``. Line ends stay.

    Terminals obey control characters: they move the cursor, change the title, or hide words. Characters that turn the
    direction of writing (U+202E) make a text look like another one.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each == "\n" else repr(each)[1:-1] for each in text)


def one_line(text: str) -> str:
    r"""Return :func:`printable` text without line ends, which become ``\n``."""
    return printable(text).replace("\n", "\\n")


def printable_json(text: str) -> str:
    r"""Return JSON text that means the same and holds no such character: in strings they become ``\u001b``."""
    if text.isprintable():
        return text
    import json

    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)
