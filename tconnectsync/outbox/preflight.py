"""Checks before the first delivery to a receiver: a changed address, another program's documents, our own documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

import attrs
import msgspec

from tconnectsync.clock import Clock, milliseconds
from tconnectsync.outbox.sender import Sender
from tconnectsync.outbox.stored_values import (
    ADDRESS,
    ADMITTED_FOLDS,
    ADMITTED_FROM,
    CONFIRMED,
    DOUBTED_FROM,
    FOREIGN_ALLOWED,
    LAST_DELIVERED,
    LOOKED_AT,
    READ_BACK,
    ForeignAllowed,
    ReadBack,
)
from tconnectsync.plugin.receiver import (
    Delivery,
    ReadableReceiver,
    ReceiverConflict,
    StoredDocument,
    SupportsFormerAddress,
)

log = logging.getLogger("tconnectsync.sinks")
READ_BACK_AT_ONCE = 500
AHEAD = timedelta(days=1)
"""The check begins this long before the first document, so that a slightly older one needs no second check."""
FUTURE = timedelta(days=2)
SILENCE = timedelta(days=1)
"""After this time without a delivery, another program may have delivered these days."""


class DeliveryBlock(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing is sent until the user confirms. ``new_address`` is set if the address changed."""

    conflict: ReceiverConflict
    new_address: str = ""


@attrs.define
class Preflight:
    """Checks the receiver before the first delivery, and again before days that were not delivered before."""

    sender: Sender
    clock: Clock
    name: str
    folds: tuple[str, ...]
    """The names of the sink's folds."""
    delivery_begin: Callable[[], datetime | None] = lambda: None
    """Returns the earliest time whose documents are delivered, if it is known and limited."""
    before_asking: Callable[[], None] = lambda: None
    """Called before the receiver is asked: returns when no batch is on its way there."""
    _reading: Iterator[StoredDocument] | None = None
    _kept: int = 0
    """How many documents the present read-back found as they would be sent."""

    def step(self) -> DeliveryBlock | bool:
        """Return True if delivery may start, False if the read-back needs more steps, or why delivery is blocked."""
        days = self.unchecked_days()
        block = None if self._reading is not None else self.blocker(days)  # it was checked when the read-back began
        if block is not None or days is None:
            return block or True
        return self._read_back(*days)

    def must_ask(self) -> bool:
        """Whether the receiver must be asked something before the next delivery."""
        return not self.sender.has_recalled or self.unchecked_days() is not None

    def blocker(self, days: tuple[datetime, datetime] | None) -> DeliveryBlock | None:
        """Return why delivery is blocked, else None. ``days`` come from :meth:`unchecked_days`. Raises the receiver's errors."""
        block = self.address_change()
        if block is not None or days is None or self.sender.outbox.values.get(FOREIGN_ALLOWED):
            return block
        self.before_asking()
        conflict = self.sender.receiver.inspect(*days)
        return None if conflict is None else DeliveryBlock(conflict=conflict)

    def unchecked_days(self) -> tuple[datetime, datetime] | None:
        """Return the range (UTC) to check before the pending documents may be sent. None: nothing is pending, or all was checked.

        All days are checked again for a fold that was turned on later, because an older bridge may have written its documents.
        The days of a long silence are checked again too, and those that an older copy of the outbox does not know.
        """
        days, doubted = self._new_days(), self.sender.outbox.values.get(DOUBTED_FROM)
        if doubted is None:
            return days
        return (doubted if days is None else min(doubted, days[0])), self.clock.now() + FUTURE

    def _new_days(self) -> tuple[datetime, datetime] | None:
        outbox = self.sender.outbox
        first = outbox.queue.first_to_put()
        if first is None:
            return None
        begin, everything = outbox.values.get(ADMITTED_FROM), self.clock.now() + FUTURE
        if not outbox.values.get(ADDRESS) or begin is None or self._new_folds():
            return first - AHEAD, everything
        if first < begin:
            return first - AHEAD, begin
        return (first, everything) if self._was_silent() else None

    def _was_silent(self) -> bool:
        values = self.sender.outbox.values
        times = [at for at in (values.get(LAST_DELIVERED), values.get(LOOKED_AT)) if at is not None]
        return bool(times) and self.clock.now() - max(times) > SILENCE

    def _new_folds(self) -> bool:
        admitted = self.sender.outbox.values.get(ADMITTED_FOLDS)
        return bool(admitted) and not set(self.folds) <= set(admitted)

    def _read_back(self, first: datetime, last: datetime) -> bool:
        """Record our own documents at the receiver. Once everything is folded, those that no fold makes are withdrawn.

        Return False if it needs more steps. While nothing is left to send, nobody asks for the next step: then it goes on here.
        """
        self.before_asking()
        if self._reading is None:
            self._reading, self._kept = self.sender.receiver.read_back(self._read_from(first), last), 0
        while not self._read_page(self._reading, first):
            if self.sender.outbox.queue.first_to_put() is not None:
                return False
        if self._kept:
            log.info("equal_documents_kept sink=%s count=%d", self.name, self._kept)
        return True

    def _read_page(self, reading: Iterator[StoredDocument], first: datetime) -> bool:
        """Record one page of our documents; return True if it was the last."""
        try:
            with self.sender.outbox.transaction():
                return self._record_page(list(islice(reading, READ_BACK_AT_ONCE)), first)
        except BaseException:
            self.start_over()  # a generator does not give a page again that could not be read or stored, and ends after an error
            raise

    def _record_page(self, found: Sequence[StoredDocument], first: datetime) -> bool:
        receiver, outbox = self.sender.receiver, self.sender.outbox
        for document in found:
            outbox.found.record(document)
        values = outbox.values
        if kept := self._keep_equal(found):
            self._kept += kept
            values.put(CONFIRMED, True)
        if found:
            values.put(ADDRESS, receiver.address)  # another address must not get their keys, nor only the others
        if found and values.get(READ_BACK) is None:  # else keep its ``since``
            is_doubted = values.get(DOUBTED_FROM) is not None  # then the sources' states may be older, too
            values.put(READ_BACK, ReadBack(since=self.clock.now() if is_doubted else None))
        if len(found) == READ_BACK_AT_ONCE:
            return False
        self._reading = None
        values.put(ADDRESS, receiver.address)
        values.put(LOOKED_AT, self.clock.now())
        values.put(ADMITTED_FROM, min(first, values.get(ADMITTED_FROM) or first))
        values.put(ADMITTED_FOLDS, sorted({*self.folds, *values.get(ADMITTED_FOLDS)}))
        values.forget(DOUBTED_FROM)
        if values.get(FOREIGN_ALLOWED) is ForeignAllowed.ONCE:
            values.forget(FOREIGN_ALLOWED)
        return True

    def _keep_equal(self, found: Sequence[StoredDocument]) -> int:
        """Record as delivered what the receiver has as it would be sent now; return the number. Only the others are sent again."""
        receiver, queue = self.sender.receiver, self.sender.outbox.queue
        if not isinstance(receiver, ReadableReceiver):
            return 0
        copies = {copy.document_id: copy for copy in found if receiver.shows(copy.collection)}
        equal = [
            (delivery, copies[delivery.document_id].receiver_key)
            for delivery in queue.pending(self.clock.now(), len(copies), ids=list(copies))
            if _is_equal(receiver, delivery, copies[delivery.document_id])
        ]
        queue.mark_delivered(equal)
        return len(equal)

    def _read_from(self, first: datetime) -> datetime:
        """Return where the read-back of days begins that were not checked before.

        Not at the first document that is made now: before the outbox was lost, earlier ones may have been delivered.
        """
        known, begin = self.sender.outbox.values.get(ADMITTED_FROM), self.delivery_begin()
        return first if begin is None or (known is not None and known <= first) else min(first, begin)

    def start_over(self) -> None:
        """Forget an unfinished read-back."""
        self._reading = None

    def accept_former_address(self) -> bool:
        """Store the address of this release if an earlier one named the same place in another way; return whether it did."""
        receiver, values = self.sender.receiver, self.sender.outbox.values
        known = values.get(ADDRESS)
        if not known or not isinstance(receiver, SupportsFormerAddress) or known != receiver.former_address:
            return False
        values.put(ADDRESS, receiver.address)
        return True

    def address_change(self) -> DeliveryBlock | None:
        """Return a block if the address is not the one of earlier deliveries, else None."""
        known, address = self.sender.outbox.values.get(ADDRESS), self.sender.receiver.address
        if known in ("", address):
            return None
        conflict = ReceiverConflict(
            reason=f"the address changed from {known} to {address}: nothing is sent to the new one until you confirm",
            remedy=f"Run `tconnectsync replay {self.name}` to fill the new site, or restore the old address.",
        )
        return DeliveryBlock(conflict=conflict, new_address=address)


def _is_equal(receiver: ReadableReceiver, delivery: Delivery, copy: StoredDocument) -> bool:
    """Whether a copy is what would be sent now, and no other copy is known."""
    document = delivery.document
    if document is None or copy.ephemeral or delivery.in_doubt or delivery.receiver_key != copy.receiver_key:
        return False
    return milliseconds(copy.at) == milliseconds(document.at) and not receiver.compare(document, copy)
