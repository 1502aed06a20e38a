"""Sync cycles, one at a time: a request during a cycle joins it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import attrs


@attrs.frozen(kw_only=True)
class Outcome:
    """The outcome of a cycle: the exit status of ``tconnectsync sync``, and its output."""

    status: int
    lines: tuple[str, ...] = ()


class Cycle:
    """One cycle, running or ended."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._outcome: Outcome | None = None

    def end(self, outcome: Outcome) -> None:
        """Set the outcome and wake all waiting threads."""
        self._outcome = outcome
        self._ended.set()

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        """Wait for the outcome; None after ``timeout_s``."""
        self._ended.wait(timeout_s)
        return self._outcome


class Cycles:
    """Runs ``work`` in a thread, never twice at once. ``work`` must not raise."""

    def __init__(self, work: Callable[[], Outcome]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._running: Cycle | None = None
        self._last: Outcome | None = None

    def start(self) -> tuple[Cycle, bool]:
        """Start a cycle unless one is running. Returns the cycle, and whether it is new."""
        with self._lock:
            if self._running is not None:
                return self._running, False
            cycle = self._running = Cycle()
        try:
            threading.Thread(target=self._run, args=(cycle,), name="cycle", daemon=True).start()
        except RuntimeError:  # no thread available: the next request tries again
            self._finish(cycle, Outcome(status=1, lines=("this computer cannot start another thread",)))
        return cycle, True

    @property
    def running(self) -> Cycle | None:
        """The running cycle."""
        with self._lock:
            return self._running

    @property
    def last(self) -> Outcome | None:
        """The outcome of the last cycle."""
        with self._lock:
            return self._last

    def _run(self, cycle: Cycle) -> None:
        outcome = Outcome(status=1, lines=("the cycle ended without a result",))
        try:
            outcome = self._work()
        finally:
            self._finish(cycle, outcome)

    def _finish(self, cycle: Cycle, outcome: Outcome) -> None:
        with self._lock:
            self._running, self._last = None, outcome
        cycle.end(outcome)


def at_intervals(cycles: Cycles, interval_s: float, pause: Callable[[float], bool]) -> None:
    """Start a cycle now and after every ``interval_s``, until ``pause`` (which waits that many seconds) returns True."""
    while True:
        cycles.start()
        if pause(interval_s):
            return
