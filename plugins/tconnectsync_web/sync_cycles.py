"""Sync cycles, one at a time: who asks while one runs gets that one."""

from __future__ import annotations

import threading
from collections.abc import Callable

import attrs


@attrs.frozen(kw_only=True)
class Outcome:
    """How a cycle ended: the exit status of ``tconnectsync sync``, and its words."""

    status: int
    lines: tuple[str, ...] = ()


class Cycle:
    """One cycle, on its way or at its end."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._outcome: Outcome | None = None

    def end(self, outcome: Outcome) -> None:
        """Let go everyone who waits."""
        self._outcome = outcome
        self._ended.set()

    def wait(self, timeout_s: float | None = None) -> Outcome | None:
        """Its outcome, once there is one; None after ``timeout_s``."""
        self._ended.wait(timeout_s)
        return self._outcome


class Cycles:
    """Starts ``work`` in a thread of its own, never twice at once. ``work`` must not raise."""

    def __init__(self, work: Callable[[], Outcome]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._running: Cycle | None = None
        self._last: Outcome | None = None

    def start(self) -> tuple[Cycle, bool]:
        """The cycle that runs now, and whether it is a new one."""
        with self._lock:
            if self._running is not None:
                return self._running, False
            cycle = self._running = Cycle()
        try:
            threading.Thread(target=self._run, args=(cycle,), name="cycle", daemon=True).start()
        except RuntimeError:  # no thread to be had: the next request is to try again
            self._finish(cycle, Outcome(status=1, lines=("this machine has no room for another thread",)))
        return cycle, True

    @property
    def running(self) -> Cycle | None:
        """The cycle that runs now."""
        with self._lock:
            return self._running

    @property
    def last(self) -> Outcome | None:
        """How the one before ended."""
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
    """A cycle now and after every ``interval_s``, until ``pause`` (seconds to wait) answers True."""
    while True:
        cycles.start()
        if pause(interval_s):
            return
