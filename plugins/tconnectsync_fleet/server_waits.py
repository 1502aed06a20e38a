"""How long each thread has waited for the NATS servers. In a person's turn, that is not the fault of the person's sites."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

import attrs

_own = threading.local()


@attrs.define
class ServerWaits:
    """The waits of one thread. Any thread may read them."""

    _ended_s_and_since: tuple[float, float | None] = (0.0, None)
    """Seconds of all waits that have ended, and when (monotonic) the present one began. Replaced as a whole, so that both fit."""

    def seconds(self) -> float:
        """Return how long the thread has waited until now."""
        ended_s, since = self._ended_s_and_since
        return ended_s if since is None else ended_s + time.monotonic() - since

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Count the block as a wait."""
        self._ended_s_and_since = self.seconds(), time.monotonic()
        try:
            yield
        finally:
            self._ended_s_and_since = self.seconds(), None


def waits_of_this_thread() -> ServerWaits:
    """Return the waits of the calling thread."""
    if not hasattr(_own, "waits"):
        _own.waits = ServerWaits()
    waits: ServerWaits = _own.waits
    return waits
