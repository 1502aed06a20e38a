"""How long to wait after a failure."""

from __future__ import annotations

import random

FIRST_WAIT_S = 30.0


LONGEST_WAIT_S = 1800.0


LONGEST_ASKED_WAIT_S = 4 * 3600.0


def backoff_s(failures: int, *, after_s: float | None, rng: random.Random, grows: bool = True) -> float:
    """Seconds to wait after the ``failures``-th failure in a row: doubling from 30 s to 30 min with jitter.

    What the other side asked for (``after_s``) is the least; asked for again and again, half an hour or more grows,
    unless ``grows`` is False. Never more than four hours, whatever was asked for.
    """
    again = max(failures - 1, 0)
    wait = min(FIRST_WAIT_S * 2.0 ** min(again, 20), LONGEST_WAIT_S) * rng.uniform(0.75, 1.25)
    if after_s is None:
        return wait
    if grows and after_s >= LONGEST_WAIT_S:  # a block: asked for again and again, wait longer
        after_s = max(after_s, min(after_s * 2.0 ** min(again, 10), LONGEST_ASKED_WAIT_S))
    return min(max(wait, after_s * rng.uniform(1.0, 1.1)), LONGEST_ASKED_WAIT_S)
