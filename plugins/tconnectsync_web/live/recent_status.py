"""The status for pages: read again when something changed, else at most every few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

LONGEST_S = 10.0
"""What is in no file, such as a daemon that died, is seen after this time."""


class RecentStatus:
    """Returns the status. Many pages at a time need one reading. ``version`` names what the data folder holds."""

    def __init__(
        self,
        read: Callable[[], Mapping[str, Any]],
        version: Callable[[], str],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read, self._version, self._monotonic = read, version, monotonic
        self._lock = threading.Lock()
        self._seen: tuple[str, float] | None = None
        self._status: Mapping[str, Any] = {}

    def __call__(self) -> Mapping[str, Any]:
        """Return the status. It may be shown, not changed. Errors: those of ``read``."""
        with self._lock:
            version, now = self._version(), self._monotonic()
            if self._seen is None or self._seen[0] != version or not 0 <= now - self._seen[1] < LONGEST_S:
                self._status = self._read()
                self._seen = version, now
            return self._status
