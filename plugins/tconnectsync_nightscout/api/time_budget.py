"""Limit how long one call takes: work for a slow site is split into several calls, so that other sinks can work."""

from __future__ import annotations

from collections.abc import Iterable

from tconnectsync import Clock, Postponed
from tconnectsync_nightscout.api.client import NightscoutClient
from tconnectsync_nightscout.api.find_copies import Copy

CALL_S = 45.0


class TimeBudget:
    """A time limit that ends ``seconds`` after it was created."""

    def __init__(self, clock: Clock, seconds: float = CALL_S) -> None:
        self._clock = clock
        self._end_s = clock.monotonic() + seconds

    @property
    def ended(self) -> bool:
        """Whether the remaining work must wait for another call."""
        return self._clock.monotonic() >= self._end_s


def delete_all(client: NightscoutClient, collection: str, copies: Iterable[Copy], budget: TimeBudget) -> bool:
    """Delete these documents; False if the time ran out before all were deleted."""
    for copy in copies:
        if budget.ended:
            return False
        client.delete(collection, copy.mongo_id)
    return True


def out_of_time() -> Postponed:
    """The outcome of documents that were not reached."""
    return Postponed(reason="the site is slow; the rest follows at once", after_s=0.0)
