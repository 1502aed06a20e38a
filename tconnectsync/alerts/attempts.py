"""The parts of a look: if one fails, the others are done all the same, and a failure that lasts is a problem itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import attrs

from tconnectsync.alerts.heartbeat import BAD_AFTER, Pulse
from tconnectsync.alerts.problems import Problem
from tconnectsync.clock import Clock
from tconnectsync.errors import TconnectsyncError
from tconnectsync.storage_errors import storage_error, storage_remedy

log = logging.getLogger("tconnectsync.alerts")
Found = TypeVar("Found")

STATUS, PUMP, WEARER, REPORTS = "own state", "pump records", "wearer alerts", "notifications"
_UNTOLD = (
    "Pump alarms and low values may not be reported: they cannot be read",
    "Pump alarms and low values are read again",
)
TITLES: Mapping[str, tuple[str, str]] = {
    STATUS: (
        "Problems may go unnoticed: the state of tconnectsync cannot be read",
        "The state of tconnectsync is read again",
    ),
    PUMP: _UNTOLD,
    WEARER: _UNTOLD,
    REPORTS: ("Notifications fail unexpectedly", "Notifications work again"),
}
"""What to say of a part that fails, and when it works again. A failure of another part is only logged."""
SEE_LOG = "See the reason: `journalctl -u tconnectsync -n 200`."


@attrs.define
class Attempts:
    """Does the parts of a look, and remembers which of them fail since when. ``folder`` is the data folder."""

    folder: Path
    clock: Clock
    grace: timedelta = BAD_AFTER
    """A failure that is shorter is no problem: the next look mostly succeeds."""
    _failing: dict[str, tuple[Exception, float]] = attrs.field(factory=dict)

    def do(self, part: str, work: Callable[[], Found], otherwise: Found) -> Found:
        """Do one part. If it fails, log that once, and return ``otherwise``."""
        try:
            found = work()
        except Exception as error:
            # whatever fails here, the daemon and all other parts must continue
            before, since = self._failing.get(part, (None, self.clock.monotonic()))
            if repr(before) != repr(error):
                log.exception('watch_failed part="%s"', part)
            self._failing[part] = error, since
            return otherwise
        self._failing.pop(part, None)
        return found

    def fails(self, part: str) -> bool:
        """Whether the last attempt of this part failed."""
        return part in self._failing

    def problems(self, now: datetime) -> tuple[Problem, ...]:
        """Return a problem for each part that fails. One that may end by itself is not reported."""
        return tuple(self._problem(part, now) for part in TITLES if part in self._failing)

    def _problem(self, part: str, now: datetime) -> Problem:
        error, since = self._failing[part]
        lasted = timedelta(seconds=self.clock.monotonic() - since)
        message, remedy = self._words(error)
        title, well = TITLES[part]
        problem = Problem(key=part, state="failing", title=title, message=message, remedy=remedy, well=well)
        return attrs.evolve(problem, since=now - lasted, consequence=lasted < self.grace)

    def _words(self, error: Exception) -> tuple[str, str]:
        if isinstance(error, TconnectsyncError):
            return error.message, error.remedy or SEE_LOG
        found = storage_error(error, self.folder)
        if found is None:
            return f"It failed unexpectedly ({type(error).__name__}).", SEE_LOG
        where = f"{found.filename}: " if found.filename else ""
        return f"{where}{found.strerror}", storage_remedy(found, self.folder) or SEE_LOG


def with_failures(cycle: Pulse, failures: tuple[Problem, ...]) -> Pulse:
    """Return a cycle that is also bad because of these failures."""
    lasting = [each for each in failures if not each.consequence]
    if not lasting:
        return cycle
    reasons = [cycle.reason] if cycle.reason else []
    return Pulse(
        number=cycle.number,
        good=False,
        reason="; ".join([*reasons, *(f"{each.title}: {each.message}" for each in lasting)]),
        parts=(*cycle.parts, *(each.key for each in lasting)),
    )
