"""Decide whether request bodies are compressed: not if a site refuses a compressed body and accepts it plain."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import attrs

COMPRESS_FROM = 8192
REFUSED = frozenset({400, 403, 406, 411, 415, 422, 501})
"""Statuses that refuse a request before it is executed: the same body is sent plain at once."""
PLAIN, DOUBT = "plain", "doubt"


@attrs.define
class Compression:
    """What is known about one site. ``memory`` and :meth:`recall` keep it over a restart."""

    plain: bool = False
    """The site refused a compressed body, and accepted a plain one."""
    _doubt: bool = False
    """The last compressed body got no response, or a gateway's: the next one is sent plain as a test."""

    @property
    def memory(self) -> str:
        """The state as text."""
        return PLAIN if self.plain else DOUBT if self._doubt else ""

    def recall(self, memory: Sequence[str]) -> None:
        """Restore the state from the words of ``memory``."""
        self.plain = self.plain or PLAIN in memory
        self._doubt = self._doubt or DOUBT in memory

    def compressed(self, body: bytes) -> bytes | None:
        """Return the compressed body; None if it is to be sent as it is."""
        if self.plain or self._doubt or len(body) < COMPRESS_FROM:
            return None
        # level 4 takes half as long again, for bodies a twelfth smaller
        return gzip.compress(body, compresslevel=3, mtime=0)

    def failed(self, body: bytes) -> None:
        """A request with this body failed: try the other way next."""
        if len(body) >= COMPRESS_FROM:
            self.plain, self._doubt = False, not (self.plain or self._doubt)

    def passed_plain(self, body: bytes, *, after_refusal: bool = False) -> None:
        """The site accepted this plain body."""
        if len(body) >= COMPRESS_FROM and (self._doubt or after_refusal):
            self.plain, self._doubt = True, False
