"""Waits for servers. A process that does work for many people in threads, as a worker of a fleet, begins something else meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

AroundWaits = Callable[[], AbstractContextManager[None]]
_here = threading.local()


def waiting() -> AbstractContextManager[None]:
    """Return a context for a block in which this thread waits. Outside such a block it counts as computing."""
    return _around()()


@contextlib.contextmanager
def around_waits(around: AroundWaits) -> Iterator[None]:
    """Let this thread enter ``around()`` for each of its waits, as long as the block lasts."""
    before, _here.around = _around(), around
    try:
        yield
    finally:
        _here.around = before


def _around() -> AroundWaits:
    around: AroundWaits = getattr(_here, "around", contextlib.nullcontext)
    return around
