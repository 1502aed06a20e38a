"""Before anything is sent to a place for the first time: is it the same place, is it inhabited, is some of it ours?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import attrs

from tconnectsync.clock import Clock
from tconnectsync.outbox.facts import (
    ADDRESS,
    ADMITTED_FOLDS,
    ADMITTED_FROM,
    LAST_DELIVERED,
    LOOKED_AT,
    OTHERS_ALLOWED,
    READ_BACK,
    OthersAllowed,
    ReadBack,
)
from tconnectsync.outbox.sender import Sender
from tconnectsync.plugin.receiver import SiteConflict, StoredDocument

READ_BACK_AT_ONCE = 500
AHEAD = timedelta(days=1)
"""So far before the first document a place is looked at, so that one that comes a little earlier needs no other look."""
FUTURE = timedelta(days=2)
SILENCE = timedelta(days=1)
"""After so long without a delivery somebody else may have filled in for this one."""


@attrs.frozen(kw_only=True)
class DeliveryBlock:
    """Nothing is sent until the user says so. ``mark`` is the new address, where that is the reason."""

    hold: SiteConflict
    mark: str = ""


@attrs.define
class Preflight:
    """Looks a place over, once for the first delivery and again for days that are delivered for the first time later."""

    sender: Sender
    clock: Clock
    name: str
    folds: tuple[str, ...]
    """Names of what makes the sink's documents."""
    _reading: Iterator[StoredDocument] | None = None

    def step(self) -> DeliveryBlock | bool:
        """True: send. False: some of what is there was read, and there is more; others get their turn first."""
        days = self.unseen()
        stay = None if self._reading is not None else self.hindrance(days)  # looked over when the reading began
        if stay is not None or days is None:
            return stay or True
        return self._read_back(*days)

    def hindrance(self, days: tuple[datetime, datetime] | None) -> DeliveryBlock | None:
        """Why what waits stays here, if it does; ``days`` are the :meth:`unseen` ones. Raises what the receiver raises."""
        moved = self.moved()
        if moved is not None or days is None or self.sender.outbox.facts.get(OTHERS_ALLOWED):
            return moved
        hold = self.sender.receiver.inspect(*days)
        return None if hold is None else DeliveryBlock(hold=hold)

    def unseen(self) -> tuple[datetime, datetime] | None:
        """The days (UTC) that are to be looked over before what waits may go; None: nothing waits, or all of it was.

        A fold that was switched on since may tell what an older bridge told there: all days count as unseen for it. So do the
        days of a long silence.
        """
        outbox = self.sender.outbox
        first = outbox.queue.first_to_put()
        if first is None:
            return None
        begin, everything = outbox.facts.get(ADMITTED_FROM), self.clock.now() + FUTURE
        if not outbox.facts.get(ADDRESS) or begin is None or self._new_folds():
            return first - AHEAD, everything
        if first < begin:
            return first - AHEAD, begin
        return (first, everything) if self._was_silent() else None

    def _was_silent(self) -> bool:
        facts = self.sender.outbox.facts
        times = [at for at in (facts.get(LAST_DELIVERED), facts.get(LOOKED_AT)) if at is not None]
        return bool(times) and self.clock.now() - max(times) > SILENCE

    def _new_folds(self) -> bool:
        admitted = self.sender.outbox.facts.get(ADMITTED_FOLDS)
        return bool(admitted) and not set(self.folds) <= set(admitted)

    def _read_back(self, first: datetime, last: datetime) -> bool:
        """What is there of ours is known from now on; whether something makes it shows when all is folded."""
        receiver, outbox = self.sender.receiver, self.sender.outbox
        if self._reading is None:
            self._reading = receiver.read_back(first, last)
        with outbox.transaction():
            try:
                found = list(islice(self._reading, READ_BACK_AT_ONCE))
            except BaseException:
                self.start_over()  # a generator that failed is at its end, and would pass for one that was read
                raise
            for document in found:
                outbox.found.record(document)
            if found and outbox.facts.get(READ_BACK) is None:  # else it may say since when a whole read is waited for
                outbox.facts.put(READ_BACK, ReadBack())
            if len(found) == READ_BACK_AT_ONCE:
                return False
            self._reading = None
            facts = outbox.facts
            facts.put(ADDRESS, receiver.address)
            facts.put(LOOKED_AT, self.clock.now())
            facts.put(ADMITTED_FROM, min(first, facts.get(ADMITTED_FROM) or first))
            facts.put(ADMITTED_FOLDS, sorted({*self.folds, *facts.get(ADMITTED_FOLDS)}))
            if facts.get(OTHERS_ALLOWED) is OthersAllowed.ONCE:
                facts.forget(OTHERS_ALLOWED)
        return True

    def start_over(self) -> None:
        """What was being read ended with a failure."""
        self._reading = None

    def moved(self) -> DeliveryBlock | None:
        """Why nothing is sent where the address is another one than that of the deliveries so far."""
        known, address = self.sender.outbox.facts.get(ADDRESS), self.sender.receiver.address
        if known in ("", address):
            return None
        hold = SiteConflict(
            reason=f"the address changed from {known} to {address}: nothing is sent to the new one until you say so",
            remedy=f"Run `tconnectsync replay {self.name}` to fill the new site, or put the old address back.",
        )
        return DeliveryBlock(hold=hold, mark=address)
