"""When the phone uploads what the pump has logged."""

from __future__ import annotations

from bisect import bisect_left
from random import Random

import attrs

from tconnectsync_simulator.pump.plan import SimulationPlan

TAIL_S = 10 * 86_400  # the phone still uploads after the last simulated day, so that all late records arrive
LATE_RUN = 12  # records in a row that are late together, on average


def upload_times(plan: SimulationPlan, begin_s: int, end_s: int, rng: Random) -> tuple[int, ...]:
    """Return the Unix seconds of all uploads from ``begin_s`` to some days after ``end_s``."""
    outages = [(begin.timestamp(), end.timestamp()) for begin, end in plan.outages]
    times = []
    at_s = begin_s + rng.uniform(0, plan.upload_every_min * 60)
    while at_s < end_s + TAIL_S:
        if not any(begin <= at_s < end for begin, end in outages):
            times.append(int(at_s))
        at_s += max(30.0, plan.upload_every_min * 60 * rng.uniform(0.85, 1.15))
    return tuple(times)


@attrs.define
class Uploads:
    """Assigns an upload to each record, in the order of the log."""

    times: tuple[int, ...]
    late_share: float
    late_max_s: float
    rng: Random
    _late_left: int = 0
    _delay_s: float = 0.0

    def carrying(self, at_s: int) -> int:
        """Return the upload with a record of this time; sometimes a run of records is uploaded much later."""
        ready_s = at_s + self._next_delay_s() if self.late_share else at_s
        index = bisect_left(self.times, ready_s)
        return self.times[min(index, len(self.times) - 1)]

    def _next_delay_s(self) -> float:
        if self._late_left:
            self._late_left -= 1
            return self._delay_s
        share = min(self.late_share, 0.95)
        if self.rng.random() >= share / ((1 - share) * LATE_RUN):
            return 0.0
        self._late_left = max(0, min(int(self.rng.expovariate(1 / LATE_RUN)), 10 * LATE_RUN) - 1)
        self._delay_s = min(7200 + self.rng.expovariate(1 / 43_200), self.late_max_s)
        return self._delay_s
