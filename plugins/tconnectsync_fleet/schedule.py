"""Which of a worker's people are due: a queue by time, so that many idle people cost nothing."""

from __future__ import annotations

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime

import attrs

from tconnectsync_fleet.person_runner import PersonRunner
from tconnectsync_fleet.servers import Entry


@attrs.define(eq=False)
class ScheduledPerson:
    """A person's runner, and when it is their turn. ``due``: on the monotonic clock."""

    runner: PersonRunner
    due: float = 0.0
    due_back: float = 0.0
    """When giving the person back is tried again."""
    running: bool = False
    was_taken: bool = False
    """Whether the present turn has taken the person, so that it counts."""
    slow_until: float = 0.0
    """Until then, this person's turns are expected to last long."""
    failures: int = 0
    removed: bool = False
    removal: Entry | None = None
    """How the person was removed, until this disk's copies are deleted. None: they stay."""
    is_wanted: bool = False
    """Whether this worker should have the person."""
    status: int | None = None
    """The exit status of the last turn; None: there was none."""
    last_fetch: datetime | None = None
    """When the source that was read longest ago was read to its end."""
    published: object = None
    """The state for ``fleet status`` that the servers have confirmed."""
    lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)
    """Held during a turn."""


@attrs.define
class DueQueue:
    """People by the time at which they are due. Thread-safe.

    A person may be in it several times, or with a time that no longer counts: whoever takes people out looks at the person.
    """

    _heap: list[tuple[float, int, ScheduledPerson]] = attrs.field(factory=list)
    _numbers: Iterator[int] = attrs.field(factory=itertools.count)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def add(self, due: float, scheduled: ScheduledPerson) -> None:
        """Add a person who is due at this time."""
        with self._lock:
            heapq.heappush(self._heap, (due, next(self._numbers), scheduled))

    def take(self, now: float, may_take: Callable[[], bool] = lambda: True) -> Iterator[ScheduledPerson]:
        """Yield the people who are due, while ``may_take``. Who was yielded is no longer in the queue."""
        while may_take():
            with self._lock:
                if not self._heap or self._heap[0][0] > now:
                    return
                scheduled = heapq.heappop(self._heap)[2]
            yield scheduled


@attrs.define
class TurnRate:
    """So many turns a minute; 0: no limit. A turn counts from its start, and no longer if its person was not taken."""

    per_minute: float
    monotonic: Callable[[], float] = time.monotonic
    _next: float = 0.0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def allows(self) -> bool:
        """Whether another turn may begin now."""
        return self._next <= self.monotonic()

    def count(self) -> None:
        """Count a turn: later ones wait longer."""
        if self.per_minute:
            with self._lock:
                self._next = max(self._next, self.monotonic() - 1.0) + 60.0 / self.per_minute

    def uncount(self) -> None:
        """Count a turn no longer: another worker has the person, or it could not begin."""
        if self.per_minute:
            with self._lock:
                self._next -= 60.0 / self.per_minute


def with_jitter(pause_s: float) -> float:
    """Return about this pause, so that not everybody comes at once."""
    return pause_s * random.uniform(0.7, 1.3)  # noqa: S311
