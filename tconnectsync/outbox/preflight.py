"""Before anything is sent to a place for the first time: is it the same place, is it inhabited, is some of it ours?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import attrs

from tconnectsync.clock import Clock
from tconnectsync.outbox.sender import Sender
from tconnectsync.plugin.receiver import SiteConflict, StoredDocument

READ_BACK_AT_ONCE = 500
AHEAD = timedelta(days=1)
"""So far before the first document a place is looked at, so that one that comes a little earlier needs no other look."""
FUTURE = timedelta(days=2)
SILENCE = timedelta(days=1)
"""After so long without a delivery somebody else may have filled in for this one."""
ONCE, ALWAYS = "once", "1"
"""What the user agreed to: the place as it is now, for the one look that is due; or whatever others have there, for good."""


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
        if moved is not None or days is None or self.sender.outbox.get("adopted"):
            return moved
        hold = self.sender.receiver.inspect(*days)
        return None if hold is None else DeliveryBlock(hold=hold)

    def unseen(self) -> tuple[datetime, datetime] | None:
        """The days (UTC) that are to be looked over before what waits may go; None: nothing waits, or all of it was.

        A fold that was switched on since may tell what an older bridge told there: all days count as unseen for it. So do the
        days of a long silence.
        """
        outbox = self.sender.outbox
        first = outbox.first_to_put()
        if first is None:
            return None
        admitted_from, everything = outbox.get("admitted_from"), self.clock.now() + FUTURE
        if not outbox.get("address") or not admitted_from or self._new_folds():
            return first - AHEAD, everything
        begin = datetime.fromisoformat(admitted_from)
        if first < begin:
            return first - AHEAD, begin
        return (first, everything) if self._was_silent() else None

    def _was_silent(self) -> bool:
        outbox = self.sender.outbox
        times = [
            datetime.fromisoformat(text[:19] + "+00:00")
            for text in (outbox.get("last_delivered"), outbox.get("looked_at"))
            if text
        ]
        return bool(times) and self.clock.now() - max(times) > SILENCE

    def _new_folds(self) -> bool:
        admitted = self.sender.outbox.get("admitted_folds")
        return bool(admitted) and not set(self.folds) <= set(admitted.split())

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
                outbox.record_existing(document)
            if found and not outbox.get("found"):  # else it may say since when a whole read is waited for
                outbox.put("found", "1")
            if len(found) == READ_BACK_AT_ONCE:
                return False
            self._reading = None
            outbox.put("address", receiver.address)
            outbox.put("looked_at", self.clock.now().isoformat(timespec="seconds"))
            known = outbox.get("admitted_from")
            outbox.put("admitted_from", min(first, datetime.fromisoformat(known or first.isoformat())).isoformat())
            outbox.put("admitted_folds", " ".join(sorted({*self.folds, *outbox.get("admitted_folds").split()})))
            if outbox.get("adopted") == ONCE:
                outbox.forget("adopted")
        return True

    def start_over(self) -> None:
        """What was being read ended with a failure."""
        self._reading = None

    def moved(self) -> DeliveryBlock | None:
        """Why nothing is sent where the address is another one than that of the deliveries so far."""
        known, address = self.sender.outbox.get("address"), self.sender.receiver.address
        if known in ("", address):
            return None
        hold = SiteConflict(
            reason=f"the address changed from {known} to {address}: nothing is sent to the new one until you say so",
            remedy=f"Run `tconnectsync replay {self.name}` to fill the new site, or put the old address back.",
        )
        return DeliveryBlock(hold=hold, mark=address)
