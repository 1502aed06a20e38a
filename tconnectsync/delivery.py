"""Sends what an outbox wants: batches, halving of refused ones, dead letters, a halt after too many in a row.

A refused document is tried once more when the receiver has taken another one since: a site that refused everything for a while
leaves no dose behind.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from tconnectsync.errors import Rejected, Retryable
from tconnectsync.outbox import Outbox
from tconnectsync.receiver import Delivery, Outcome, Postponed, Receiver, Refused, Taken

HALT_AFTER = 20
"""So many refusals in a row look like a receiver that refuses everything, not like odd documents."""
POSTPONE_S = 60.0
REMEMBERED = 1000
"""So many dead letters that had their second attempt are known."""


@attrs.define
class Courier:
    """Delivers one sink's outbox to its receiver, one batch a call."""

    outbox: Outbox
    receiver: Receiver
    taken: int = 0
    """How many documents of the last batch the receiver took."""
    _halves: deque[tuple[str, ...]] = attrs.field(factory=deque)

    @property
    def refused(self) -> Sequence[str]:
        """The documents that were refused in a row, also before a restart."""
        found: list[str] = json.loads(self.outbox.get("refused_in_a_row", "[]"))
        return found

    def forget_refusals(self) -> None:
        """Begin a new row."""
        self.outbox.forget("refused_in_a_row")

    def halted(self) -> bool:
        """Whether too many documents in a row were refused."""
        return len(self.refused) >= HALT_AFTER

    def send_next(self, now: datetime) -> int:
        """Send one batch; answers how many documents the receiver dealt with. 0: nothing was due.

        Raises Retryable and CredentialsRefused from the receiver after noting in the outbox what is unsure.
        """
        batch = self._next_batch(now)
        if not batch:
            return 0
        ids = [delivery.document_id for delivery in batch]
        unsure_before = {delivery.document_id for delivery in batch if delivery.unsure}
        with self.outbox.transaction():
            self.outbox.set_unsure(ids, True)
        self.taken = 0
        try:
            outcomes = self.receiver.deliver(batch)
        except Rejected as error:
            with self.outbox.transaction():
                self._split(batch, error, now)
            return len(batch)
        except Retryable as error:
            self._halves.clear()
            if not error.unsure:
                with self.outbox.transaction():
                    self.outbox.set_unsure([id_ for id_ in ids if id_ not in unsure_before], False)
            raise
        if len(outcomes) != len(batch):
            raise RuntimeError(f"a receiver answered {len(outcomes)} of {len(batch)} deliveries")
        with self.outbox.transaction():
            self._note(batch, outcomes, now)
        return len(batch)

    def _next_batch(self, now: datetime) -> Sequence[Delivery]:
        """A half of a refused batch, else what is pending: withdrawals never share a batch with what may take their place."""
        while self._halves:
            half = self.outbox.pending(now, self.receiver.batch_size, ids=self._halves.popleft())
            if half:
                return half
        pending = self.outbox.pending(now, self.receiver.batch_size)
        withdrawals = [delivery for delivery in pending if delivery.document is None]
        return withdrawals or pending

    def _split(self, batch: Sequence[Delivery], error: Rejected, now: datetime) -> None:
        if len(batch) == 1:
            self._note(batch, [Refused(reason=error.message)], now)
            return
        middle = len(batch) // 2
        for half in (batch[middle:], batch[:middle]):
            self._halves.appendleft(tuple(delivery.document_id for delivery in half))

    def _note(self, batch: Sequence[Delivery], outcomes: Sequence[Outcome], now: datetime) -> None:
        row = before = list(self.refused)
        for delivery, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Taken):
                self.outbox.taken(delivery, outcome.stored)
                self.taken += 1
                if delivery.document is not None:  # what is taken back proves nothing: a site may delete and not write
                    self._try_once_more(row)
                    row = []
            elif isinstance(outcome, Postponed):
                wait_s = POSTPONE_S if outcome.after_s is None else outcome.after_s
                self.outbox.postpone(delivery, now + timedelta(seconds=wait_s))
            else:
                self.outbox.bury(delivery, outcome.reason)
                row = [*row, delivery.document_id]
        if row != before:
            self.outbox.put("refused_in_a_row", json.dumps(row))

    def _try_once_more(self, refused: Sequence[str]) -> None:
        """Something was taken: what was refused just before may have met a fault of the receiver's, not one of its own."""
        known = json.loads(self.outbox.get("tried_once_more", "[]")) if refused else []
        fresh = [id_ for id_ in refused if id_ not in known]
        if fresh:
            self.outbox.revive(fresh)
            self.outbox.put("tried_once_more", json.dumps([*known, *fresh][-REMEMBERED:]))
            self._halves.extend((id_,) for id_ in fresh)
