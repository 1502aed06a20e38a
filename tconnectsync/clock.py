"""The host's clock, as an argument: real for the daemon, simulated for tests."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Protocol


class Clock(Protocol):
    """Time and waiting."""

    def now(self) -> datetime:
        """The current time, aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; may return early when a signal arrives."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def milliseconds(at: datetime) -> int:
    """UTC time as whole milliseconds since 1970, cut, not rounded: the resolution that receivers keep."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def moment(ms: int) -> datetime:
    """The inverse of :func:`milliseconds`."""
    return _EPOCH + timedelta(milliseconds=ms)
