"""Who may come in: one secret, compared in constant time; guessing is slowed down."""

from __future__ import annotations

import hmac
import math
import threading
from collections.abc import Callable

FREE_FAILURES = 3
"""So many wrong secrets in a row are mistakes."""
LONGEST_WAIT_S = 60.0


class Gate:
    """``monotonic`` answers seconds."""

    def __init__(self, secret: bytes, monotonic: Callable[[], float]) -> None:
        self._secret = secret
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._failures = 0
        self._shut_until = 0.0

    def wait_s(self) -> int:
        """Whole seconds until the next secret is looked at; 0: now."""
        with self._lock:
            return max(0, math.ceil(self._shut_until - self._monotonic()))

    def admits(self, offered: bytes) -> bool:
        """Whether this is the secret. From the fourth wrong one in a row on, each shuts the gate for twice as long."""
        with self._lock:
            now = self._monotonic()
            if now < self._shut_until:
                return False
            if hmac.compare_digest(offered, self._secret):
                self._failures = 0
                return True
            self._failures = min(self._failures + 1, 30)
            if self._failures > FREE_FAILURES:
                self._shut_until = now + min(LONGEST_WAIT_S, 2.0 ** (self._failures - FREE_FAILURES))
            return False
