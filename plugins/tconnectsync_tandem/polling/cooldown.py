"""Pauses for pumps that are not in use and for old unreadable days, so that they do not slow down the rest.

Kept in memory only: after a restart they are requested again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from datetime import date

import attrs

from tconnectsync import Clock, RememberedDeadline
from tconnectsync_tandem.api.pumps import Pump

PUMP_PAUSE_S = 24 * 3600.0
DAY_PAUSE_S = 3600.0
DAY_TRIES = 3
"""After this many failed polls, an old day is paused for an hour."""
BUSY_TRIES = 3
"""After this many busy responses for a pump's events, smaller windows are tried."""


@attrs.define
class Cooldown:
    """Until when a pump, or one of its days, is not requested."""

    _pumps: dict[str, RememberedDeadline] = attrs.field(factory=dict)
    _days: dict[tuple[str, date], RememberedDeadline] = attrs.field(factory=dict)
    _tries: Counter[tuple[str, date]] = attrs.field(factory=Counter)
    _busy: Counter[str] = attrs.field(factory=Counter)
    exhausted: set[str] = attrs.field(factory=set)
    """Pumps of which nothing could be read the last time: the next request is for their newest day alone."""

    def pause_pump(self, pump: Pump, clock: Clock) -> None:
        """Pause a pump that is not in use, after an error."""
        self._pumps[pump.serial] = RememberedDeadline.after(PUMP_PAUSE_S, clock)

    def record_failed_day(self, pump: Pump, day: date, clock: Clock) -> None:
        """Count one more poll in which an old day could not be read."""
        self._tries[pump.serial, day] += 1
        if self._tries[pump.serial, day] >= DAY_TRIES:
            self._days[pump.serial, day] = RememberedDeadline.after(DAY_PAUSE_S, clock)

    def should_wait(self, pump: Pump) -> bool:
        """Whether to wait because the server is busy. After several polls a smaller window is tried instead."""
        self._busy[pump.serial] += 1
        return self._busy[pump.serial] < BUSY_TRIES

    def clear_busy(self, pump: Pump) -> None:
        """All windows of the pump were answered."""
        self._busy.pop(pump.serial, None)

    def is_pump_paused(self, pump: Pump, clock: Clock) -> bool:
        until = self._pumps.get(pump.serial)
        return until is not None and not until.is_over(clock)

    def paused_days(self, pump: Pump, clock: Clock) -> Set[date]:
        """The pump's days that are paused now."""
        return {
            day for (serial, day), until in self._days.items() if serial == pump.serial and not until.is_over(clock)
        }
