"""Decides when a source is polled next, from the times of past uploads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

UPLOAD_MARGIN_S = 60.0
"""An upload appears in the cloud a little after its own time."""


class PollSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """The shortest and the longest time between two polls, in seconds."""

    poll_min_s: float
    poll_max_s: float

    def next_poll(self, now: datetime, uploads: Sequence[datetime]) -> datetime:
        """Return a time shortly after the next expected upload, between ``poll_min_s`` and ``poll_max_s`` from ``now``.

        ``uploads``: true UTC times of past uploads, in any order. Times in the future are ignored.
        """
        soonest, latest = now + timedelta(seconds=self.poll_min_s), now + timedelta(seconds=self.poll_max_s)
        known = sorted({at for at in uploads if at <= now + timedelta(minutes=5)})[-12:]
        if len(known) < 3:
            return soonest
        gaps = sorted((b - a).total_seconds() for a, b in pairwise(known))
        usual = _median(gaps)
        expected = known[-1] + timedelta(seconds=usual + UPLOAD_MARGIN_S)
        if expected < now - timedelta(seconds=usual):  # more than one upload is missing: do not expect the next one
            return latest
        return min(max(expected, soonest), latest)


def _median(ordered: Sequence[float]) -> float:
    """Return the median, without the module ``statistics``: it would add a quarter of a megabyte to every sync."""
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
