"""Sends what an outbox wants: batches, halving of refused ones, dead letters, a halt after too many in a row."""

from __future__ import annotations

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


@attrs.define
class Courier:
    """Delivers one sink's outbox to its receiver, one batch a call."""

    outbox: Outbox
    receiver: Receiver
    refused: list[str] = attrs.field(factory=list)
    """The documents that were refused in a row."""
    _halves: deque[tuple[str, ...]] = attrs.field(factory=deque)

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
            for delivery, outcome in zip(batch, outcomes, strict=True):
                self._note(delivery, outcome, now)
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
            self._note(batch[0], Refused(reason=error.message), now)
            return
        middle = len(batch) // 2
        for half in (batch[middle:], batch[:middle]):
            self._halves.appendleft(tuple(delivery.document_id for delivery in half))

    def _note(self, delivery: Delivery, outcome: Outcome, now: datetime) -> None:
        if isinstance(outcome, Taken):
            self.refused.clear()
            self.outbox.taken(delivery, outcome.stored)
        elif isinstance(outcome, Postponed):
            wait_s = POSTPONE_S if outcome.after_s is None else outcome.after_s
            self.outbox.postpone(delivery, now + timedelta(seconds=wait_s))
        else:
            self.refused.append(delivery.document_id)
            self.outbox.bury(delivery, outcome.reason)
