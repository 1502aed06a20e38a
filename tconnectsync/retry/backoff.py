"""How long to wait after a failure."""

from __future__ import annotations

import random

FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 1800.0
LONGEST_ASKED_WAIT_S = 4 * 3600.0
"""The longest wait that the other side can ask for."""


def backoff_s(failures: int, *, after_s: float | None, rng: random.Random, grows: bool = True) -> float:
    """Return the seconds to wait after the ``failures``-th failure in a row: doubling from 30 s to 30 min, with jitter.

    ``after_s`` is the minimum that the other side asked for. If it is half an hour or more, it doubles with each failure, unless
    ``grows`` is False. The wait is never longer than four hours.
    """
    again = max(failures - 1, 0)
    wait = min(FIRST_WAIT_S * 2.0 ** min(again, 20), LONGEST_WAIT_S) * rng.uniform(0.75, 1.25)
    if after_s is None:
        return wait
    if grows and after_s >= LONGEST_WAIT_S:  # the other side blocks us: wait longer each time
        after_s = max(after_s, min(after_s * 2.0 ** min(again, 10), LONGEST_ASKED_WAIT_S))
    return min(max(wait, after_s * rng.uniform(1.0, 1.1)), LONGEST_ASKED_WAIT_S)
