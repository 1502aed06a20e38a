"""What a worker says of itself: how many people by state, the oldest data, and how fast it works. No names, no secrets."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any

import attrs

from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.states import state_of

RATE_OVER_S = 60.0


@attrs.define
class Rates:
    """Counters as rates a minute, over the last minute. Thread-safe."""

    monotonic: Callable[[], float] = time.monotonic
    _samples: deque[tuple[float, int, int]] = attrs.field(factory=deque)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def per_minute(self, turns: int, requests: int) -> tuple[float, float]:
        """Note how many turns and requests there were until now; return how many a minute there were lately."""
        with self._lock:
            now = self.monotonic()
            samples = self._samples
            samples.append((now, turns, requests))
            while len(samples) > 2 and samples[1][0] <= now - RATE_OVER_S:
                samples.popleft()
            began, first_turns, first_requests = samples[0]
        minutes = (now - began) / 60.0
        if not minutes:
            return 0.0, 0.0
        return (turns - first_turns) / minutes, (requests - first_requests) / minutes

    def report(self, turns: int, requests: int) -> dict[str, Any]:
        """Return the rates of :meth:`per_minute` as JSON values."""
        turns_a_minute, requests_a_minute = self.per_minute(turns, requests)
        return {"turns_a_minute": round(turns_a_minute, 1), "requests_a_minute": round(requests_a_minute, 1)}


def people_report(people: Collection[ScheduledPerson]) -> dict[str, Any]:
    """Return, as JSON values: how many people the worker has, how many by state, and when the oldest data was read.

    ``people_in_fleet`` counts all who should have a worker, this one or another.
    ``failing`` counts those whom it has or should have: a person may fail to come over. Whoever has left counts nowhere.
    """
    own = [scheduled for scheduled in people if scheduled.runner.is_owned]
    states = Counter("new" if scheduled.status is None else state_of(scheduled.status) for scheduled in own)
    fetches: list[datetime] = [scheduled.last_fetch for scheduled in own if scheduled.last_fetch is not None]
    return {
        "people": len(own),
        "people_in_fleet": sum(not (each.removed or each.runner.person.paused) for each in people),
        "running": sum(scheduled.running for scheduled in people),
        "failing": sum(each.failures > 0 and (each.is_wanted or each.runner.is_owned) for each in people),
        "people_never_read": len(own) - len(fetches),
        "states": dict(states),
        "oldest_read": min(fetches).isoformat(timespec="seconds") if fetches else None,
    }
