"""What is left alone for a while: pumps in a drawer and old days that cannot be read must not slow down the rest.

Remembered for one process only: a restart asks again.
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
"""Polls in which an old day stays broken before it is left alone for an hour."""
BUSY_TRIES = 3
"""Polls in which the server is too busy for a pump's events before it is taken for a matter of the question's size."""


@attrs.define
class Cooldown:
    """Until when a pump, or a day of one, is not asked for."""

    _pumps: dict[str, RememberedDeadline] = attrs.field(factory=dict)
    _days: dict[tuple[str, date], RememberedDeadline] = attrs.field(factory=dict)
    _tries: Counter[tuple[str, date]] = attrs.field(factory=Counter)
    _busy: Counter[str] = attrs.field(factory=Counter)

    def leave_pump(self, pump: Pump, clock: Clock) -> None:
        """A pump that is not in use gave trouble."""
        self._pumps[pump.serial] = RememberedDeadline.after(PUMP_PAUSE_S, clock)

    def leave_day(self, pump: Pump, day: date, clock: Clock) -> None:
        """A day of the past stayed broken in one poll more."""
        self._tries[pump.serial, day] += 1
        if self._tries[pump.serial, day] >= DAY_TRIES:
            self._days[pump.serial, day] = RememberedDeadline.after(DAY_PAUSE_S, clock)

    def waits_out(self, pump: Pump) -> bool:
        """The server is too busy: whether to wait until that is over. Not for ever: a smaller question is tried then."""
        self._busy[pump.serial] += 1
        return self._busy[pump.serial] < BUSY_TRIES

    def was_read(self, pump: Pump) -> None:
        """All windows of the pump were answered."""
        self._busy.pop(pump.serial, None)

    def spares(self, pump: Pump, clock: Clock) -> bool:
        """Whether the pump is left alone now."""
        until = self._pumps.get(pump.serial)
        return until is not None and not until.is_over(clock)

    def spared_days(self, pump: Pump, clock: Clock) -> Set[date]:
        """The pump's days that are left alone now."""
        return {
            day for (serial, day), until in self._days.items() if serial == pump.serial and not until.is_over(clock)
        }
