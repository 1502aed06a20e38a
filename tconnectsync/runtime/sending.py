"""Where receivers are called: in threads, so that the engine reads and prepares meanwhile, or by the engine itself.

Each place, such as a site, has one thread, which makes one call at a time: the receivers of a place share a client. A place that
does not answer delays no other place. Only the call of a receiver runs in a thread; event log, outboxes and health are the engine's.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Protocol, TypeAlias

from tconnectsync.clock import Clock, SystemClock
from tconnectsync.plugin.receiver import Outcome

Call: TypeAlias = Callable[[], Sequence[Outcome]]


class Sent(Protocol):
    """A batch on its way to a receiver."""

    def done(self) -> bool:
        """Whether :meth:`result` may be asked for now."""
        ...

    def silent_s(self) -> float:
        """Seconds since the call began, if it is not over."""
        ...

    def result(self) -> Sequence[Outcome]:
        """Return what the receiver returned, or raise its error. Call it once."""
        ...


class Sending(Protocol):
    """Calls receivers."""

    def start(self, place: str, call: Call) -> Sent:
        """Make ``call`` once the earlier ones of this place are over."""
        ...

    def wait(self, longest_s: float) -> bool:
        """Wait until a call is over, at most ``longest_s``. Return False if no result is to come."""
        ...

    def is_busy(self, place: str) -> bool:
        """Whether calls of a place are not over."""
        ...

    def wait_for(self, place: str) -> None:
        """Wait until all calls of a place are over."""
        ...

    def close(self) -> None:
        """End without waiting. Calls that did not begin are not made, and the result of one that is not over is lost."""
        ...


def sending_for(clock: Clock) -> Sending:
    """Return threads, or the caller's own for a simulated clock."""
    return SendingThreads() if isinstance(clock, SystemClock) else SendingHere()


class SendingHere:
    """Calls a receiver when the result is asked for: everything happens in one order, as a simulated clock needs it."""

    def start(self, place: str, call: Call) -> Sent:  # noqa: ARG002 - the protocol's
        return _CallLater(call)

    def wait(self, longest_s: float) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def is_busy(self, place: str) -> bool:  # noqa: ARG002 - the protocol's
        return False

    def wait_for(self, place: str) -> None:
        pass

    def close(self) -> None:
        pass


class _CallLater:
    def __init__(self, call: Call) -> None:
        self.result = call

    def done(self) -> bool:
        return True

    def silent_s(self) -> float:
        return 0.0


class SendingThreads:
    """Calls receivers in threads, which begin with the first call of a place. They do not keep the process from ending."""

    def __init__(self) -> None:
        self._places: dict[str, queue.SimpleQueue[_Called | None]] = {}
        self._calls: list[_Called] = []

    def start(self, place: str, call: Call) -> Sent:
        if place not in self._places:
            calls: queue.SimpleQueue[_Called | None] = queue.SimpleQueue()
            threading.Thread(target=_make_calls, args=(calls,), name="sending", daemon=True).start()
            self._places[place] = calls  # afterwards: without memory for a thread, the next attempt tries again
        called = _Called(place, call, self._calls.remove)
        self._calls.append(called)
        self._places[place].put(called)
        return called

    def wait(self, longest_s: float) -> bool:
        wait([called.future for called in self._calls], longest_s, FIRST_COMPLETED)
        return bool(self._calls)

    def is_busy(self, place: str) -> bool:
        return any(called.place == place and not called.done() for called in self._calls)

    def wait_for(self, place: str) -> None:
        wait([called.future for called in self._calls if called.place == place])

    def close(self) -> None:
        for called in self._calls:
            called.future.cancel()
        for calls in self._places.values():
            calls.put(None)


class _Called:
    """A call in a thread. ``forget`` is called when its result was asked for."""

    def __init__(self, place: str, call: Call, forget: Callable[[_Called], None]) -> None:
        self.place = place
        self.future: Future[Sequence[Outcome]] = Future()
        self._call, self._forget = call, forget
        self._began_s: float | None = None

    def run(self) -> None:
        if not self.future.set_running_or_notify_cancel():
            return
        self._began_s = time.monotonic()
        try:
            self.future.set_result(self._call())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            self.future.set_exception(error)

    def done(self) -> bool:
        return self.future.done()

    def silent_s(self) -> float:
        return 0.0 if self._began_s is None or self.done() else time.monotonic() - self._began_s

    def result(self) -> Sequence[Outcome]:
        try:
            return self.future.result()
        finally:
            self._forget(self)


def _make_calls(calls: queue.SimpleQueue[_Called | None]) -> None:
    while (called := calls.get()) is not None:
        called.run()
        del called  # else the last batch would stay in memory until the next one
