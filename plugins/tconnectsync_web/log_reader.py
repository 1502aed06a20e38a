"""Reads one person's event log for the pages. Nothing is written, and the daemon is not asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from typing import Any

import attrs

from tconnectsync import Event, GlucoseUnits, PumpLog, Summary, Therapy, Zones
from tconnectsync.events import pump_state, reservoir
from tconnectsync.events.pump_state import PumpState
from tconnectsync_web.pages.reader import Answer, ReadEvents

RECENT = timedelta(hours=6)
"""Insulin on board, battery and glucose come from the data of this time."""
LONGEST_CARTRIDGE = timedelta(days=8)
"""The reservoir, and whether delivery is stopped, come from the data of this time."""
REOPEN_S = 600.0
"""The log is opened again after this time: a restored or repaired log is in other files."""
MOST_ANSWERS = 12
"""The number of answers that are remembered until the log changes."""


@attrs.define(kw_only=True)
class LogReader:
    """A :class:`~tconnectsync_web.pages.reader.PageReader` over the event log.

    ``open_log`` opens it for one thread; ``read_status`` returns what ``status --json`` prints. One thread does all reading,
    so that many requests need no more memory than one, and the log stays open between them.
    """

    zones: Zones
    units: GlucoseUnits
    open_log: Callable[[], PumpLog]
    read_status: Callable[[], Mapping[str, Any]]
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    _thread: ThreadPoolExecutor = attrs.field(
        factory=lambda: ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader")
    )
    _log: PumpLog | None = None
    _opened_at: float = 0.0
    _position: tuple[str, int] = ("", -1)
    _answers: dict[Hashable, Any] = attrs.field(factory=dict)

    def therapy(self, begin: datetime, end: datetime) -> Therapy:
        """See PageReader."""
        return self._ask(("therapy", begin, end), lambda log: log.therapy(begin, end))

    def events(self, begin: datetime, end: datetime, kinds: frozenset[str]) -> Sequence[Event]:
        """See PageReader."""
        return self._ask(
            ("events", begin, end, kinds), lambda log: list(log.events(begin, end, kinds, active_only=True))
        )

    def browse(self, work: Callable[[ReadEvents], Answer]) -> Answer:
        """See PageReader."""
        return self._thread.submit(self._answer, None, lambda log: work(log.events)).result()

    def newest(self, kinds: frozenset[str], where: Callable[[Event], bool] | None = None) -> Event | None:
        """See PageReader."""
        return self._ask(("newest", kinds, where), lambda log: log.last(kinds, where))

    def state(self) -> PumpState | None:
        """See PageReader."""
        return self._ask("state", _state)

    def summaries(self, first: date, last: date) -> Sequence[Summary]:
        """See PageReader."""
        return self._ask(("summaries", first, last), lambda log: log.days(first, last))

    def status(self) -> Mapping[str, Any]:
        """See PageReader."""
        return self.read_status()

    def close(self) -> None:
        """Close the log."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _ask(self, question: Hashable, read: Callable[[PumpLog], Answer]) -> Answer:
        return self._thread.submit(self._answer, question, read).result()

    def _answer(self, question: Hashable, read: Callable[[PumpLog], Answer]) -> Answer:
        """Answer in the reading thread; the question None is not remembered. After an error the log is opened again."""
        try:
            log = self._current()
            if question is None:
                return read(log)
            if question not in self._answers:
                found = read(log)
                while len(self._answers) >= MOST_ANSWERS:
                    del self._answers[next(iter(self._answers))]
                self._answers[question] = found
            answer: Answer = self._answers[question]
            return answer
        except BaseException:
            self._close()
            raise

    def _current(self) -> PumpLog:
        if self._log is not None and time.monotonic() - self._opened_at > REOPEN_S:
            self._close()
        if self._log is None:
            self._log, self._opened_at = self.open_log(), time.monotonic()
        if self._log.position != self._position:
            self._answers.clear()
            self._position = self._log.position
        return self._log

    def _close(self) -> None:
        log, self._log = self._log, None
        self._answers.clear()
        if log is not None:
            log.close()


def _state(log: PumpLog) -> PumpState | None:
    newest = log.newest()
    if newest is None:
        return None
    state, worn, begin = PumpState(), log.worn_pumps(), newest - RECENT
    for kinds, first, last in (
        (reservoir.KINDS, newest - LONGEST_CARTRIDGE, begin),
        (pump_state.KINDS, begin, newest + timedelta(seconds=1)),
    ):
        for event in log.events(first, last, kinds):
            if event.pump in worn:
                state = pump_state.after(state, event)
    return state
