"""Whether bodies travel compressed: not to a site that refuses a compressed one and takes the same plain."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import attrs

COMPRESS_FROM = 8192
REFUSED = frozenset({400, 403, 406, 411, 415, 422, 501})
"""Statuses that refuse a request before it is carried out: the same body is sent plain at once."""
PLAIN, DOUBT = "plain", "doubt"


@attrs.define
class Compression:
    """What is known of one site. ``memory`` and :meth:`recall` carry it over a restart."""

    plain: bool = False
    """The site refused a compressed body, and took a plain one."""
    _doubt: bool = False
    """The last compressed body got no answer, or that of a gateway: the next one is sent plain, to see whether that passes."""

    @property
    def memory(self) -> str:
        """As text."""
        return PLAIN if self.plain else DOUBT if self._doubt else ""

    def recall(self, memory: Sequence[str]) -> None:
        """What was learned before, word by word."""
        self.plain = self.plain or PLAIN in memory
        self._doubt = self._doubt or DOUBT in memory

    def compressed(self, body: bytes) -> bytes | None:
        """The body as it travels, None if it is to travel as it is."""
        if self.plain or self._doubt or len(body) < COMPRESS_FROM:
            return None
        return gzip.compress(body, compresslevel=6, mtime=0)

    def failed(self, body: bytes) -> None:
        """A request with this body got no good answer: the next one travels the other way."""
        if len(body) >= COMPRESS_FROM:
            self.plain, self._doubt = False, not (self.plain or self._doubt)

    def passed_plain(self, body: bytes, *, after_refusal: bool = False) -> None:
        """A plain body of this size was taken."""
        if len(body) >= COMPRESS_FROM and (self._doubt or after_refusal):
            self.plain, self._doubt = True, False
