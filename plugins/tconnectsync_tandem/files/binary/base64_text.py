"""Read the bytes of a file in parts: raw, or from base64 text with any line breaks, quotes and commas."""

from __future__ import annotations

import re
from binascii import a2b_base64
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_RUN = re.compile(rb"[A-Za-z0-9+/]+|[ \t\r\n]+|.", re.DOTALL)
_BLANKS = b" \t\r\n"
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
_BETWEEN = b'",[]\xef\xbb\xbf'
"""Bytes that may be between two responses: JSON punctuation, and a byte order mark."""
_GROUP = 4
"""This many letters encode three bytes."""


class TextPart(NamedTuple):
    """A part of the bytes, and the position of its first byte in the file.

    ``ends``: the response ends with it. ``error``: what is wrong there; the next three bytes are invalid.
    """

    content: bytes
    position: int
    ends: bool = False
    error: str | None = None


def plain(chunks: Iterable[bytes]) -> Iterator[TextPart]:
    """The raw bytes, as one response."""
    position = 0
    for content in chunks:
        yield TextPart(content, position)
        position += len(content)


def decoded(chunks: Iterable[bytes]) -> Iterator[TextPart]:
    """The bytes of base64 text. A response ends at its padding (``=``) or at JSON punctuation."""
    waiting = b""  # letters of an incomplete group
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
                trouble = "base64 text that ends within a group" if waiting else None
                yield TextPart(b"", at, ends=True, error=trouble)
                waiting, filled = b"", False
                continue
            if text[0] not in _LETTERS:
                yield TextPart(b"", at, error="not base64 text")
                text = b"A"  # a placeholder, so that the following text stays aligned
            begin, text = at - len(waiting), waiting + text
            whole = len(text) // _GROUP * _GROUP
            waiting, filled = text[whole:], False
            if whole:
                yield TextPart(a2b_base64(text[:whole]), begin)
        position += len(chunk)
    if waiting:
        yield TextPart(b"", position, ends=True, error="the file ends there in the middle of a record")
