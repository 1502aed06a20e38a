"""When to try again, and when to look for news."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

import attrs

FIRST_WAIT_S = 30.0
LONGEST_WAIT_S = 1800.0
LONGEST_ASKED_WAIT_S = 4 * 3600.0
UPLOAD_MARGIN_S = 60.0
"""An upload shows in the cloud a little after its own time."""


def backoff_s(failures: int, *, after_s: float | None, dice: random.Random, grows: bool = True) -> float:
    """Seconds to wait after the ``failures``-th failure in a row: doubling from 30 s to 30 min with jitter.

    What the other side asked for (``after_s``) is the least; asked for again and again, half an hour or more grows,
    unless ``grows`` is False. Never more than four hours, whatever was asked for.
    """
    again = max(failures - 1, 0)
    wait = min(FIRST_WAIT_S * 2.0 ** min(again, 20), LONGEST_WAIT_S) * dice.uniform(0.75, 1.25)
    if after_s is None:
        return wait
    if grows and after_s >= LONGEST_WAIT_S:  # a block: asked for again and again, wait longer
        after_s = max(after_s, min(after_s * 2.0 ** min(again, 10), LONGEST_ASKED_WAIT_S))
    return min(max(wait, after_s * dice.uniform(1.0, 1.1)), LONGEST_ASKED_WAIT_S)


@attrs.frozen(kw_only=True)
class Rhythm:
    """How often the phone uploads, learned from past uploads."""

    poll_min_s: float
    poll_max_s: float

    def next_poll(self, now: datetime, uploads: Sequence[datetime]) -> datetime:
        """Shortly after the next upload is expected; never sooner than ``poll_min_s`` nor later than ``poll_max_s``.

        ``uploads``: true UTC times of past uploads, in any order. Times in the future are not believed.
        """
        soonest, latest = now + timedelta(seconds=self.poll_min_s), now + timedelta(seconds=self.poll_max_s)
        known = sorted({at for at in uploads if at <= now + timedelta(minutes=5)})[-12:]
        if len(known) < 3:
            return soonest
        usual = median((b - a).total_seconds() for a, b in pairwise(known))
        expected = known[-1] + timedelta(seconds=usual + UPLOAD_MARGIN_S)
        if expected < now - timedelta(seconds=usual):  # missed more than once: nothing to expect
            return latest
        return min(max(expected, soonest), latest)
