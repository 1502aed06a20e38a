"""State that survives a restart but is not in the log: unreadable days, damaged records, how long a window may be, and pauses.

A small file. If it is deleted, long windows are tried again, and the log decides which days are fetched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Set
from datetime import date, datetime, timedelta
from pathlib import Path

import attrs

from tconnectsync import CONVERTER
from tconnectsync_tandem.polling.cooldown import Cooldown
from tconnectsync_tandem.polling.planner import FetchedDay
from tconnectsync_tandem.polling.unreadable_days import REPORTED_FOR

log = logging.getLogger("tconnectsync.tandem")

FORGOTTEN_AFTER = timedelta(days=7)
"""After this time a longer window is tried again."""
MOST_DAYS = 4_000
"""How many unread days of one pump are remembered."""


@attrs.define
class WindowState:
    """The state in the file ``path``."""

    path: Path = attrs.field(default=Path("windows.json"), metadata={"json": None})
    longest_days: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(1)))
    """The longest window that the server accepted after it refused a longer one."""
    longest_since: datetime | None = None
    _unread: dict[str, dict[date, datetime]] = attrs.field(factory=dict, metadata={"json": "unread"})
    _damaged: dict[str, dict[date, datetime]] = attrs.field(factory=dict, metadata={"json": "damaged"})
    """By pump and day: since when the day has records that cannot be read."""
    cooldown: Cooldown = attrs.field(factory=Cooldown)
    _saved: str = attrs.field(default="", init=False, eq=False, metadata={"json": None})

    def __attrs_post_init__(self) -> None:
        days_of_pumps = (*self._unread.values(), *self._damaged.values())
        times = [self.longest_since, *(at for days in days_of_pumps for at in days.values()), *self.cooldown.times]
        if any(at is not None and at.tzinfo is None for at in times):
            raise ValueError("a time without a zone")
        self._saved = CONVERTER.dumps(self, indent=1)

    @classmethod
    def load(cls, path: Path) -> WindowState:
        """Read the file; an unreadable file counts as empty."""
        try:
            found = CONVERTER.loads(path.read_bytes(), cls)
        except FileNotFoundError:
            return cls(path)
        except Exception as error:  # noqa: BLE001 - the remedy is the same for every cause
            log.warning("memo_unreadable file=%s reason=%s", path.name, type(error).__name__)
            return cls(path)
        found.path = path
        return found

    def most_days(self, now: datetime) -> int | None:
        """The longest window to request now; None: any length."""
        if self.longest_since is None or not timedelta(0) <= now - self.longest_since < FORGOTTEN_AFTER:
            return None
        return self.longest_days

    def record_length(self, days: int, now: datetime) -> None:
        """The server accepted ``days`` days after it had refused a longer window."""
        if days != self.most_days(now):
            self.longest_days, self.longest_since = days, now
            self.save()

    def record_unread(self, pump: str, days: Iterable[date], now: datetime) -> None:
        """These days of the pump could not be read."""
        left = dict.fromkeys(days, now)
        known = self._unread.get(pump, {})
        if left:
            self._unread[pump] = dict(sorted({**known, **left}.items())[-MOST_DAYS:])
            if left.keys() - known.keys():
                self.save()

    def unread(self, pump: str, fetched: Mapping[date, FetchedDay]) -> Set[date]:
        """The pump's unread days that were not fetched since; ``fetched`` is what the log says."""
        known = self._unread.get(pump, {})
        still = {day: at for day, at in known.items() if day not in fetched or fetched[day].at < at}
        if len(still) < len(known):
            self._unread[pump] = still
            self.save()
        return still.keys()

    def record_damaged(self, pump: str, read: Iterable[date], damaged: Iterable[date], now: datetime) -> None:
        """The days ``read`` were read, and records of the days ``damaged`` cannot be read."""
        known = self._damaged.get(pump, {})
        found = {day: known.get(day, now) for day in damaged}
        left = dict(sorted({**{day: known[day] for day in known.keys() - set(read)}, **found}.items())[-MOST_DAYS:])
        if left != known:
            self._damaged[pump] = left
            self.save()

    def reported(self, pump: str, now: datetime) -> Set[date]:
        """The days whose damaged records have been known for a week."""
        return {day for day, since in self._damaged.get(pump, {}).items() if now - since >= REPORTED_FOR}

    def save(self) -> None:
        """Write the file if anything has changed."""
        text = CONVERTER.dumps(self, indent=1)
        if text == self._saved:
            return
        temporary = self.path.with_name(self.path.name + ".tmp")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_text(text)
            temporary.replace(self.path)
            self._saved = text
        except OSError as error:
            log.warning("memo_not_saved reason=%s", error.strerror)
