"""The bytes of a file in pieces: as they are, or of base64 text with whatever line breaks, quotes and commas stand in it."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_RUN = re.compile(rb"[A-Za-z0-9+/]+|[ \t\r\n]+|.", re.DOTALL)
_BLANKS = b" \t\r\n"
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_BETWEEN = b'",[]\xef\xbb\xbf'
"""What may stand between two answers: JSON's own marks, and a byte order mark."""
_GROUP = 4
"""Letters that are three bytes together."""


class TextPart(NamedTuple):
    """Some bytes, and where in the file the first of them stands.

    ``ends``: the answer that they belong to ends with them. ``trouble``: what is wrong there; what it spoils is the next
    three bytes.
    """

    content: bytes
    position: int
    ends: bool = False
    trouble: str | None = None


def plain(chunks: Iterable[bytes]) -> Iterator[TextPart]:
    """The bytes as they are: one answer."""
    position = 0
    for content in chunks:
        yield TextPart(content, position)
        position += len(content)


def decoded(chunks: Iterable[bytes]) -> Iterator[TextPart]:
    """The bytes of base64 text. Answers end where their filling (``=``) or a mark of JSON stands."""
    waiting = b""  # letters that are no whole group yet
    filled = False
    position = 0
    for chunk in chunks:
        for run in _RUN.finditer(chunk):
            text, at = run[0], position + run.start()
            if text[0] in _BLANKS:
                continue
            if text == b"=" and len(waiting) > 1:
                yield TextPart(a2b_base64(waiting.ljust(_GROUP, b"=")), at - len(waiting), ends=True)
                waiting, filled = b"", True
                continue
            if text == b"=" and filled:
                continue
            if text in _BETWEEN:
                trouble = "base64 text that ends in the middle" if waiting else None
                yield TextPart(b"", at, ends=True, trouble=trouble)
                waiting, filled = b"", False
                continue
            if text[0] not in _LETTERS:
                yield TextPart(b"", at, trouble="no base64 text")
                text = b"A"  # in its place, so that what follows is read as it was written
            begin, text = at - len(waiting), waiting + text
            whole = len(text) // _GROUP * _GROUP
            waiting, filled = text[whole:], False
            if whole:
                yield TextPart(a2b_base64(text[:whole]), begin)
        position += len(chunk)
    if waiting:
        yield TextPart(b"", position, ends=True, trouble="the file ends there in the middle of a record")
