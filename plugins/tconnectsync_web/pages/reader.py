"""What the pages ask the data folder for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, Protocol

from tconnectsync import Event


class LocalTime(Protocol):
    """The wearer's local time, as :class:`tconnectsync.timeline.zones.Zones` knows it."""

    def wall_of(self, at: datetime) -> datetime:
        """The naive local time at an aware time."""

    def day_start(self, day: date) -> datetime:
        """The UTC time at which a local day begins."""


class PageReader(Protocol):
    """Read-only access to one person's data. Each call may run in any of the server's threads."""

    @property
    def zones(self) -> LocalTime:
        """The wearer's local time."""

    def now(self) -> datetime:
        """The present UTC time."""

    def events(self, begin: datetime, end: datetime, kinds: frozenset[str]) -> Iterable[Event]:
        """The active pump's events from ``begin`` until before ``end``, in order of time, each with ``at`` set.

        Errors: LogCorrupt if a record that is needed is corrupt.
        """

    def newest(self, kinds: frozenset[str], before: datetime) -> Event | None:
        """The newest event of these kinds before a time, however old; None if there is none."""

    def status(self) -> Mapping[str, Any]:
        """The status, as printed by ``status --json``."""
