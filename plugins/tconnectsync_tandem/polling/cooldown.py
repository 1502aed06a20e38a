"""Pauses for pumps that are not in use and for old unreadable days, so that they do not slow down the rest.

Stored in ``windows.json``, so that they hold as well if each poll is a new process (``sync`` from cron).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from datetime import date, datetime

import attrs

from tconnectsync import Clock, RememberedDeadline
from tconnectsync_tandem.api.pumps import Pump

PUMP_PAUSE_S = 24 * 3600.0
DAY_PAUSES_S = (0.0, 3600.0, 6 * 3600.0)
"""How long an old day is paused after the first, the second and each later failed poll."""
BUSY_TRIES = 3
"""After this many busy responses for a pump's events, smaller windows are tried."""


@attrs.define
class FailedDay:
    """In how many polls an old day could not be read, at most as many as :data:`DAY_PAUSES_S`, and until when it is paused."""

    tries: int = 0
    until: RememberedDeadline | None = None


@attrs.define
class Cooldown:
    """Until when a pump, or one of its days, is not requested. Everything by serial number."""

    pumps: dict[str, RememberedDeadline] = attrs.field(factory=dict)
    days: dict[str, dict[date, FailedDay]] = attrs.field(factory=dict)
    busy: dict[str, int] = attrs.field(factory=dict)
    """In how many polls the server was busy, at most :data:`BUSY_TRIES`."""
    exhausted: set[str] = attrs.field(factory=set)
    """Pumps of which nothing could be read the last time: the next request is for their newest day alone."""

    @property
    def times(self) -> Iterator[datetime | None]:
        """All times."""
        days = (each.until for days in self.days.values() for each in days.values())
        for until in (*self.pumps.values(), *days):
            if until is not None:
                yield from (until.until, until.set_at)

    def pause_pump(self, pump: Pump, clock: Clock) -> None:
        """Pause a pump that is not in use, after an error."""
        self.pumps[pump.serial] = RememberedDeadline.after(PUMP_PAUSE_S, clock)

    def record_failed_day(self, pump: Pump, day: date, clock: Clock) -> None:
        """Count one more poll in which an old day could not be read."""
        failed = self.days.setdefault(pump.serial, {}).setdefault(day, FailedDay())
        failed.tries = min(failed.tries + 1, len(DAY_PAUSES_S))
        failed.until = RememberedDeadline.after(DAY_PAUSES_S[failed.tries - 1], clock)

    def clear_days(self, pump: Pump, days: Iterable[date]) -> None:
        """These days were read."""
        failed = self.days.get(pump.serial, {})
        for day in days:
            failed.pop(day, None)

    def should_wait(self, pump: Pump) -> bool:
        """Whether to wait because the server is busy. After several polls a smaller window is tried instead."""
        self.busy[pump.serial] = min(self.busy.get(pump.serial, 0) + 1, BUSY_TRIES)
        return self.busy[pump.serial] < BUSY_TRIES

    def clear_busy(self, pump: Pump) -> None:
        """The server was not too busy for any window of the pump."""
        self.busy.pop(pump.serial, None)

    def clear_pump(self, pump: Pump) -> None:
        """A window of the pump was read."""
        self.pumps.pop(pump.serial, None)
        self.exhausted.discard(pump.serial)

    def is_pump_paused(self, pump: Pump, clock: Clock) -> bool:
        until = self.pumps.get(pump.serial)
        return until is not None and not until.is_over(clock)

    def paused_days(self, pump: Pump, clock: Clock) -> Set[date]:
        """The pump's days that are paused now."""
        failed = self.days.get(pump.serial, {})
        return {day for day, each in failed.items() if each.until is not None and not each.until.is_over(clock)}
