"""When to try again, and when to look for news."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

import attrs

UPLOAD_MARGIN_S = 60.0
"""An upload shows in the cloud a little after its own time."""


@attrs.frozen(kw_only=True)
class PollSchedule:
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
