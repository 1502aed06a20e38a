"""The computer's clock as an argument: the real one for the daemon, a simulated one for tests."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Protocol

from tconnectsync.waits import waiting


class Clock(Protocol):
    """The current time, and how to wait."""

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
    """The real clock of this computer."""

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        with waiting():
            time.sleep(seconds)


_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MILLISECOND = timedelta(milliseconds=1)


def milliseconds(at: datetime) -> int:
    """Return a UTC time as whole milliseconds since 1970, truncated: the resolution that receivers store."""
    return (at - _EPOCH) // _MILLISECOND


def moment(ms: int) -> datetime:
    """Return the UTC time of milliseconds since 1970: the inverse of :func:`milliseconds`."""
    return _EPOCH + ms * _MILLISECOND
