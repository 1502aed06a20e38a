"""The threads for turns. A turn that waits long, because a site hangs, does not keep other people waiting.

A turn has one of the ``places`` until it has waited for :data:`SLOW_S`. Then it goes on without a place, and another turn may begin. A
turn that computes keeps its place, also when it shares the processor with all others, or with other programs: otherwise many rebuilds
would run at once. So does one that waits for the NATS servers: the others would wait for them, too, each with its memory.

And a turn begins only while few others compute. Many threads that compute would spend a part of the processor time on handing
Python's lock to each other, and none of them would be done earlier.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from tconnectsync import around_waits
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.server_waits import waits_of_this_thread

log = logging.getLogger("tconnectsync.fleet")
SLOW_S = 5.0
"""A turn that has waited longer gives up its place."""
COMPUTING = 2
"""While so many turns compute, no other begins. More than one, because SQLite and the system do their part without Python's lock."""
SHORT_S = 0.005
"""A wait counts as computing until it has lasted so long, as it seldom does for the NATS servers."""
LONG_S = 1.0
"""A turn that has computed for so long, with short waits only, keeps no other from beginning: it may hang, or take long."""
LOOK_S = 1.0
"""Over spans of this length it is found out whether a turn computes: in shorter ones, threads that compute may not come round."""
SLOW_FOR_S = 3600.0
"""After a turn that waited longer, the person counts as slow for this long. Turns of slow people take no place."""
SLOW_PLACES = 4
"""For each place: how many turns of slow people may run at once."""
MOST_PLACES = 12
"""For each place: how many turns may run at once, of whatever kind."""


def thread_clock() -> Callable[[], float]:
    """Return a clock of how long the calling thread has computed, or waited for a processor that other programs used.

    Any thread may read it while this one lives.
    """
    clock_of = getattr(time, "pthread_getcpuclockid", None)
    if clock_of is None:  # macOS
        return lambda: 0.0
    clock, queue = clock_of(threading.get_ident()), Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
    return lambda: time.clock_gettime(clock) + _queued_s(queue)


def _queued_s(schedstat: Path) -> float:
    """Return how long a thread has waited for a processor, as Linux counts it: the second number, in nanoseconds."""
    try:
        return int(schedstat.read_bytes().split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


@attrs.define(eq=False)
class _Turn:
    """A turn that runs."""

    looked: float
    """Until when it is known how long the turn has waited."""
    clock: Callable[[], float] = lambda: 0.0
    """How long its thread has computed."""
    used: float = 0.0
    """What this clock showed then."""
    server_waits: Callable[[], float] = lambda: 0.0
    """How long its thread has waited for the NATS servers."""
    excused: float = 0.0
    """What that was then."""
    waited_s: float = 0.0
    _since: tuple[float, float | None] = attrs.Factory(lambda self: (self.looked, None), takes_self=True)
    """Since when its thread computes, with short waits only, and waits: one value, because another thread reads it."""

    def computes(self, now: float) -> bool:
        """Whether it computes, or has begun to wait a moment ago."""
        computes_since, waits_since = self._since
        return now - computes_since < LONG_S if waits_since is None else now - waits_since < SHORT_S

    @contextlib.contextmanager
    def waiting(self, monotonic: Callable[[], float]) -> Iterator[None]:
        """Note that its thread waits during the block, which may be part of another wait."""
        computes_since, waits_since = self._since
        if waits_since is not None:
            yield
            return
        begin = monotonic()
        self._since = computes_since, begin
        try:
            yield
        finally:
            end = monotonic()
            self._since = computes_since if end - begin < SHORT_S else end, None

    def waited(self, now: float, running: int) -> float:
        """Return for how many seconds it has waited for others than the NATS servers, to a second.

        A turn that used half of its fair share of one processor, or more, has computed all the time.
        """
        passed = now - self.looked
        if passed >= LOOK_S:
            used, excused = self.clock(), self.server_waits()
            self.waited_s += max(0.0, passed - 2 * running * (used - self.used) - (excused - self.excused))
            self.looked, self.used, self.excused = now, used, excused
        return self.waited_s


@attrs.define
class TurnPool:
    """``places`` turns at once, of which few compute, and many more that wait. Its user asks for room before each turn. A thread ends with its turn."""

    places: int
    most_computing: int = COMPUTING
    """A turn begins only while fewer compute."""
    monotonic: Callable[[], float] = time.monotonic
    clock: Callable[[], Callable[[], float]] = thread_clock
    server_waits: Callable[[], Callable[[], float]] = lambda: waits_of_this_thread().seconds
    _turns: dict[ScheduledPerson, _Turn] = attrs.field(factory=dict)
    """The turns that run now."""
    _changed: threading.Condition = attrs.field(factory=threading.Condition)
    _full_until: float = 0.0
    """Until then no thread is begun: the system gave none."""

    def has_room(self) -> bool:
        """Whether one more person, who is not known as slow, may have a turn now."""
        now = self.monotonic()
        if now < self._full_until:
            return False
        with self._changed:
            running, computing = len(self._turns), sum(turn.computes(now) for turn in self._turns.values())
            quick = sum(
                not _is_slow(each, now) and turn.waited(now, running) < SLOW_S for each, turn in self._turns.items()
            )
            return quick < self.places and computing < self.most_computing and running < self.places * MOST_PLACES

    def has_room_for(self, scheduled: ScheduledPerson) -> bool:
        """Whether this person may have a turn now, if there is room at all."""
        now = self.monotonic()
        with self._changed:
            slow = sum(_is_slow(each, now) for each in self._turns)
        return not _is_slow(scheduled, now) or slow < self.places * SLOW_PLACES

    def start(self, turn: Callable[[ScheduledPerson], None], scheduled: ScheduledPerson) -> bool:
        """Let a person have a turn in a thread of its own. False: the system gives no more threads."""
        running = _Turn(self.monotonic())
        scheduled.running = True
        with self._changed:  # until the thread has begun, no other turn of this person ends
            before = self._turns.get(scheduled)
            self._turns[scheduled] = running
            try:
                threading.Thread(target=self._run, args=(turn, scheduled, running), name="turn").start()
            except RuntimeError as error:
                del self._turns[scheduled]
                if before is not None:
                    self._turns[scheduled] = before
                self._full_until = self.monotonic() + LOOK_S
                scheduled.running = False
                log.warning('no_thread message="%s" running=%d', error, len(self._turns))
                return False
        return True

    def wait(self, timeout_s: float) -> None:
        """Wait until a turn ends: then another may begin. Return after ``timeout_s`` at the latest."""
        with self._changed:
            self._changed.wait(timeout_s)

    def finish(self, turn: Callable[[ScheduledPerson], None], people: Iterable[ScheduledPerson]) -> None:
        """Let each of these people have a last turn, ``places`` at once, and wait for the end of all turns.

        Those come last for whom a turn or an operator's request runs: it may wait for a site that hangs, and the process may be
        killed before it ends.
        """
        with self._changed:
            waiting = deque(sorted(people, key=lambda each: each in self._turns or each.lock.locked()))

        def work() -> None:
            with contextlib.suppress(IndexError):  # nobody is left
                while True:
                    _logged(turn, waiting.popleft())

        threads: list[threading.Thread] = []
        for _ in range(min(self.places, len(waiting)) - 1):
            with contextlib.suppress(RuntimeError):  # no more threads: those that there are do it, or this one alone
                threads.append(threading.Thread(target=work, name="last"))
                threads[-1].start()
        work()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
        with self._changed:
            self._changed.wait_for(lambda: not self._turns)

    def _run(self, turn: Callable[[ScheduledPerson], None], scheduled: ScheduledPerson, running: _Turn) -> None:
        clock, server_waits = self.clock(), self.server_waits()
        with self._changed:
            running.clock, running.used = clock, clock()
            running.server_waits, running.excused = server_waits, server_waits()
        try:
            with around_waits(lambda: running.waiting(self.monotonic)):
                _logged(turn, scheduled)
        finally:
            now = self.monotonic()
            with self._changed:
                if running.waited(now, len(self._turns)) >= SLOW_S:
                    scheduled.slow_until = now + SLOW_FOR_S
                if self._turns.get(scheduled) is running:  # else the person's next turn has begun
                    del self._turns[scheduled]
                self._changed.notify_all()


def _logged(turn: Callable[[ScheduledPerson], None], scheduled: ScheduledPerson) -> None:
    try:
        turn(scheduled)
    except Exception:
        log.exception("turn_failed")  # the border between people


def _is_slow(scheduled: ScheduledPerson, now: float) -> bool:
    return scheduled.slow_until > now
