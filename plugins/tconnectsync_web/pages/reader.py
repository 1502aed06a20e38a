"""What the pages ask the data folder for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol, TypeVar

from tconnectsync import Event, GlucoseUnits, Summary, Therapy, Zones
from tconnectsync.events.pump_state import PumpState

Answer = TypeVar("Answer")
ReadEvents = Callable[[datetime | None, datetime, frozenset[str] | None], Iterable[Event]]
"""Returns the events with begin (None: the first) <= ``at`` < end in order of time; kinds None: all."""


class PageReader(Protocol):
    """Read-only access to one person's data. Each call may run in any of the server's threads.

    Errors of all calls: LogCorrupt if a record that is needed is corrupt.
    """

    @property
    def zones(self) -> Zones:
        """The wearer's local time."""

    @property
    def units(self) -> GlucoseUnits:
        """The units in which glucose is shown."""

    def now(self) -> datetime:
        """The present UTC time."""

    def therapy(self, begin: datetime, end: datetime) -> Therapy:
        """The active pump's glucose, insulin, carbs and modes from ``begin`` until before ``end``, with what began earlier."""

    def events(self, begin: datetime, end: datetime, kinds: frozenset[str]) -> Iterable[Event]:
        """The active pump's events of these kinds from ``begin`` until before ``end``, in order of time, with ``at`` set."""

    def browse(self, work: Callable[[ReadEvents], Answer]) -> Answer:
        """Call ``work`` with what reads the events of all pumps piece by piece, and return its answer."""

    def newest(self, kinds: frozenset[str], where: Callable[[Event], bool] | None = None) -> Event | None:
        """The newest event of these kinds of the pump that is worn now, however old, with ``at`` set; None if there is none.

        ``where``: only events for which it is true.
        """

    def state(self) -> PumpState | None:
        """The newest values of the pump that is worn now; None if there are none."""

    def summaries(self, first: date, last: date) -> Sequence[Summary]:
        """The figures of each local day from ``first`` to ``last``, both included."""

    def status(self) -> Mapping[str, Any]:
        """The status, as printed by ``status --json``."""
