"""The threads for turns. A turn that lasts long, because a site hangs, does not keep other people waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import attrs

from tconnectsync_fleet.schedule import ScheduledPerson

SLOW_S = 5.0
"""A turn that has lasted longer has left its place to another one."""
SLOW_FOR_S = 3600.0
"""So long after a slow turn, a person's turns use places of their own."""
SLOW_PLACES, MOST_PLACES = 4, 12
"""For each place of a quick turn: how many for people known as slow, and how many threads there are at most."""


@attrs.define
class TurnPool:
    """``places`` turns at once, and many more that wait for something slow. Its user asks for room before each turn."""

    places: int
    monotonic: Callable[[], float] = time.monotonic
    _began: dict[ScheduledPerson, float] = attrs.field(factory=dict)
    """When the turns began that run now."""
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _threads: Executor = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._threads = ThreadPoolExecutor(self.places * MOST_PLACES, thread_name_prefix="turn")

    def has_room(self) -> bool:
        """Whether one more person, who is not known as slow, may have a turn now."""
        now = self.monotonic()
        with self._lock:
            quick = sum(not _is_slow(each, now) and now - began < SLOW_S for each, began in self._began.items())
            return quick < self.places and len(self._began) < self.places * MOST_PLACES

    def has_room_for(self, scheduled: ScheduledPerson) -> bool:
        """Whether this person may have a turn now, if there is room at all."""
        now = self.monotonic()
        with self._lock:
            slow = sum(_is_slow(each, now) for each in self._began)
        return not _is_slow(scheduled, now) or slow < self.places * SLOW_PLACES

    def start(self, turn: Callable[[ScheduledPerson], None], scheduled: ScheduledPerson) -> Future[None]:
        """Let a person have a turn in a thread of its own."""
        with self._lock:
            self._began[scheduled] = self.monotonic()
        return self._threads.submit(self._run, turn, scheduled)

    def finish(self, turn: Callable[[ScheduledPerson], None], people: Iterable[ScheduledPerson]) -> None:
        """Let each of these people have a last turn, ``places`` at once, and wait for the end of all turns."""
        with ThreadPoolExecutor(self.places, thread_name_prefix="last") as threads:
            for scheduled in people:
                threads.submit(turn, scheduled)
        self._threads.shutdown()

    def _run(self, turn: Callable[[ScheduledPerson], None], scheduled: ScheduledPerson) -> None:
        try:
            turn(scheduled)
        finally:
            now = self.monotonic()
            with self._lock:
                if now - self._began.pop(scheduled, now) >= SLOW_S:
                    scheduled.slow_until = now + SLOW_FOR_S


def _is_slow(scheduled: ScheduledPerson, now: float) -> bool:
    return scheduled.slow_until > now
