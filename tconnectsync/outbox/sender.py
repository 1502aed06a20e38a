"""Sends an outbox's pending documents in batches. Halves refused batches, makes dead letters, halts after too many in a row.

A refused document is tried once more after the receiver accepted another one, so a site that refuses everything for a while
loses no dose. If the receiver may be the cause of a failure, the sink backs off and no document is set aside.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime

import attrs

from tconnectsync.errors import Rejected, Retryable
from tconnectsync.outbox import Outbox, receiver_memory
from tconnectsync.outbox.batch_size import ONE_BY_ONE, BatchSize
from tconnectsync.outbox.stored_values import (
    BATCH_SIZE,
    CONFIRMED,
    LAST_ATTEMPT,
    LAST_DELIVERED,
    RECEIVER_MEMORY,
    REFUSED_IN_A_ROW,
    SUSPECTS,
    TRIED_ONCE_MORE,
    UNCONFIRMED,
)
from tconnectsync.outbox.suspect_documents import Suspects
from tconnectsync.plugin.receiver import Accepted, Delivery, Outcome, Postponed, Receiver, Refused
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S
from tconnectsync.text.plural import counted

HALT_AFTER = 20
"""After this number of refusals in a row the receiver probably refuses everything."""
POSTPONE_S = 60.0
UNCONFIRMED_ROUNDS = 3
"""How often in a row a receiver may report success and then not show the documents. Each round may store them again."""
REMEMBERED = 1000
"""How many dead letters with a second attempt are remembered."""
UNCONFIRMED_WORDS = f"nothing more is sent after {UNCONFIRMED_ROUNDS} attempts, because each may store everything again"


def unconfirmed_remedy(name: str) -> str:
    """Return what to do if a receiver does not show the documents that it accepted."""
    return (
        "Look for duplicates at the site. `tconnectsync check` shows how the site answers. After a change there, run"
        f" `tconnectsync resume {name}`."
    )


@attrs.define
class Sender:
    """Delivers one sink's outbox to its receiver, one batch for each call."""

    outbox: Outbox
    receiver: Receiver
    accepted_count: int = 0
    """How many documents of the last batch the receiver accepted."""
    accepted_newest: datetime | None = None
    """The time of the newest document among them; None if only deletions were accepted."""
    inconclusive: bool = False
    """Whether the last batch says nothing about the receiver: it was halved, or one document failed alone."""
    batch_shrunk: bool = False
    """Whether the last failure made the next batch smaller, so that an early retry makes sense."""
    refusal_remedy: str | None = None
    """What the receiver says against its newest refusal."""
    has_recalled: bool = False
    """Whether the receiver knows what it learned before."""
    _halves: deque[tuple[str, ...]] = attrs.field(factory=deque)
    _memory: str | None = None
    """What the receiver had learned when its last call ended."""

    @property
    def refused(self) -> Sequence[str]:
        """The ids of documents that were refused in a row, also before a restart."""
        return self.outbox.values.get(REFUSED_IN_A_ROW)

    def forget_refusals(self) -> None:
        """Start counting again."""
        self.outbox.values.forget(REFUSED_IN_A_ROW, UNCONFIRMED)

    def forget_receiver(self) -> None:
        """Forget everything that was learned about the receiver, because its address is new."""
        self.outbox.values.forget(BATCH_SIZE, SUSPECTS, CONFIRMED, UNCONFIRMED, RECEIVER_MEMORY)

    def is_halted(self) -> bool:
        """Whether too many documents in a row were refused."""
        return len(self.refused) >= HALT_AFTER

    def is_unconfirmed(self) -> bool:
        """Whether the receiver accepted documents and did not show them, too often."""
        return self.outbox.values.get(UNCONFIRMED) >= UNCONFIRMED_ROUNDS

    def waiting_reason(self) -> str:
        """Return why documents wait that fail while others are accepted; "" if there are none."""
        suspects = self._suspects()
        rows = self.outbox.rows.of(suspects.known) if suspects.known else {}
        return suspects.reason_words(
            lambda id_: id_ in rows and not rows[id_].is_settled and rows[id_].dead_reason is None
        )

    def send_next(self, now: datetime) -> int:
        """Send one batch; return how many documents the receiver processed (0: nothing was due).

        Raises the receiver's Retryable and CredentialsRefused, after the outbox recorded which documents are in doubt.
        """
        batch = self.begin(now)
        return self.finish(batch, now, lambda: self.call_receiver(batch)) if batch else 0

    def begin(self, now: datetime) -> Sequence[Delivery]:
        """Return the next batch, after the outbox recorded that an attempt begins. Empty: nothing is due."""
        self.accepted_count, self.inconclusive, self.batch_shrunk = 0, False, False
        self.accepted_newest = None
        self.recall()
        batch = self._next_batch(now)
        if batch:
            with self.outbox.transaction():
                self.outbox.queue.set_in_doubt(batch, True)
                # a commit that changes nothing does not sync what was folded before it
                if all(delivery.in_doubt for delivery in batch):
                    self.outbox.values.put(LAST_ATTEMPT, now)
        return batch

    def call_receiver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """Give the batch to the receiver. It does not touch the outbox, so it may run in another thread."""
        try:
            return self.receiver.deliver(batch)
        except sqlite3.Error as error:
            raise RuntimeError(f"the receiver's own database: {error}") from error  # not an error of the outbox
        finally:
            self._memory = receiver_memory.memory_of(self.receiver)

    def finish(self, batch: Sequence[Delivery], now: datetime, outcomes_of: Callable[[], Sequence[Outcome]]) -> int:
        """Record the outcomes of a batch that began at ``now``. ``outcomes_of`` returns what the receiver returned, or raises
        its error. Returns and raises as :meth:`send_next` does.
        """
        try:
            outcomes = outcomes_of()
        except Rejected as error:
            return self._rejected(batch, error, now)
        except Retryable as error:
            self._halves.clear()
            with self.outbox.transaction():
                if not error.in_doubt:
                    self.outbox.queue.set_in_doubt([each for each in batch if not each.in_doubt], False)
                passed_over = error.narrow and self._shrink_batch(batch, error, now)
                self._remember()
            if passed_over:
                return len(batch)
            raise
        if len(outcomes) != len(batch):
            raise RuntimeError(f"the receiver returned {len(outcomes)} outcomes for {counted(len(batch), 'delivery')}")
        with self.outbox.transaction():
            trouble = self._record_outcomes(batch, outcomes, now)
            if self.accepted_count and trouble is None:
                self.outbox.values.put(LAST_DELIVERED, now)
            self._remember_size(self._size().after_success(len(batch), self.receiver.batch_size))
            self._remember()
        if trouble is not None:
            raise trouble
        return len(batch)

    # --- which batch --------------------------------------------------------------------------------------------------

    def _next_batch(self, now: datetime) -> Sequence[Delivery]:
        """Return half of a refused batch, else pending deliveries. Withdrawals never share a batch with new documents.

        A document that failed alone is sent last, in a separate batch.
        """
        most = self._size().current_limit(self.receiver.batch_size)
        while self._halves:
            half = self.outbox.queue.pending(now, self.receiver.batch_size, ids=self._halves.popleft())
            if half:
                return half
        alone = self._suspects().isolated()
        pending = self.outbox.queue.pending(now, most + len(alone))
        others = [delivery for delivery in pending if delivery.document_id not in alone][:most]
        if not others:
            return pending[:1]
        withdrawals = [delivery for delivery in others if delivery.document is None]
        return withdrawals or others

    def _size(self) -> BatchSize:
        return self.outbox.values.get(BATCH_SIZE)

    def _remember_size(self, size: BatchSize) -> None:
        if size != self._size():
            self.outbox.values.put(BATCH_SIZE, size)

    def _suspects(self) -> Suspects:
        return self.outbox.values.get(SUSPECTS) or Suspects()

    def recall(self) -> None:
        """Give the receiver what it learned before, once."""
        if not self.has_recalled:
            receiver_memory.recall(self.outbox, self.receiver)
        self.has_recalled = True

    def _remember(self) -> None:
        receiver_memory.remember(self.outbox, self._memory)

    # --- failed batches -----------------------------------------------------------------------------------------------

    def _rejected(self, batch: Sequence[Delivery], error: Rejected, now: datetime) -> int:
        """Handle a refused batch: halve it, or record the refusal of its only document."""
        trouble = None
        with self.outbox.transaction():
            if error.narrow and len(batch) > 1:
                self._remember_size(self._size().after_refusal(len(batch)))
            if len(batch) == 1:
                refused = Refused(reason=error.message, receiver_fault=error.receiver_fault, remedy=error.remedy)
                trouble = self._record_outcomes(batch, [refused], now)
            else:
                self.inconclusive = True
                middle = len(batch) // 2
                for half in (batch[middle:], batch[:middle]):
                    self._halves.appendleft(tuple(delivery.document_id for delivery in half))
        if trouble is not None:
            raise trouble
        return len(batch)

    def _shrink_batch(self, batch: Sequence[Delivery], error: Retryable, now: datetime) -> bool:
        """Make the next batch smaller. Return True if this was a single document that fails while others are accepted."""
        if len(batch) == 1:
            return self._failed_alone(batch[0], error.message, now)
        before = self._size()
        size = before.after_failure(len(batch))
        self.batch_shrunk = size.limit != before.limit
        self._remember_size(size)
        return False

    def _failed_alone(self, delivery: Delivery, reason: str, now: datetime) -> bool:
        """Record the failure. Return True if others are accepted, so the document is the cause and the sink continues without it."""
        suspects = self._suspects()
        suspect = suspects.failed(delivery.document_id, reason)
        if suspect.strikes:
            self.inconclusive = True
            if suspect.is_rejected:
                suspects.forget([delivery.document_id])
                self.outbox.queue.dead_letter(delivery, reason)
                self.outbox.values.put(REFUSED_IN_A_ROW, _with(self.refused, delivery.document_id))
            else:
                self.outbox.queue.postpone(delivery, now, suspect.wait_s)
        self.outbox.values.put(SUSPECTS, suspects)
        return suspect.strikes > 0

    # --- outcomes -----------------------------------------------------------------------------------------------------

    def _record_outcomes(
        self, batch: Sequence[Delivery], outcomes: Sequence[Outcome], now: datetime
    ) -> Retryable | None:
        """Record the outcomes. Return the error for which the sink must back off, if any."""
        row = before = list(self.refused)
        accepted, puts, unconfirmed, receiver_faults = [], [], [], []
        newest: datetime | None = None
        for delivery, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Accepted):
                accepted.append((delivery, outcome.receiver_key))
                if delivery.document is not None:  # a deletion proves nothing: a site may delete and not write
                    if row:
                        self._retry_refused(row)
                        row = []
                    puts.append(delivery.document_id)
                    if newest is None or delivery.document.at > newest:
                        newest = delivery.document.at
            elif isinstance(outcome, Postponed):
                wait_s = POSTPONE_S if outcome.after_s is None else min(outcome.after_s, LONGEST_ASKED_WAIT_S)
                self.outbox.queue.postpone(delivery, now, wait_s)
                if outcome.unconfirmed:
                    unconfirmed.append((delivery, outcome))
            elif outcome.receiver_fault:
                receiver_faults.append((delivery, outcome))
            else:
                self.outbox.queue.dead_letter(delivery, outcome.reason)
                self.refusal_remedy = outcome.remedy
                row = _with(row, delivery.document_id)
        self.outbox.queue.mark_delivered(accepted)
        self.accepted_count, self.accepted_newest = self.accepted_count + len(accepted), newest
        if row != before:
            self.outbox.values.put(REFUSED_IN_A_ROW, row)
        if puts:
            self._record_acceptance(puts)
        return self._resolve_receiver_faults(receiver_faults, now, others_accepted=bool(puts)) or self._unconfirmed(
            unconfirmed, now, others_accepted=bool(puts)
        )

    def _record_acceptance(self, puts: Sequence[str]) -> None:
        """The receiver accepted these, so it works. Documents that failed before are now the suspects."""
        suspects = self._suspects()
        if suspects.known:
            suspects.forget(puts)
            suspects.others_passed()
            self.outbox.values.put(SUSPECTS, suspects)
        self.outbox.values.forget(UNCONFIRMED)
        if not self.outbox.values.get(CONFIRMED):
            self.outbox.values.put(CONFIRMED, True)

    def _resolve_receiver_faults(
        self, receiver_faults: Sequence[tuple[Delivery, Refused]], now: datetime, *, others_accepted: bool
    ) -> Retryable | None:
        """Handle refusals that may be the receiver's fault: back off, unless others were accepted or the other half is next."""
        fresh = [
            (delivery, outcome) for delivery, outcome in receiver_faults
            if not self._failed_alone(delivery, outcome.reason, now)
        ]  # fmt: skip
        if not fresh:
            return None
        if others_accepted:
            for delivery, _ in fresh:
                self.outbox.queue.postpone(delivery, now, POSTPONE_S)
            self._record_acceptance([])
            return None
        if self._halves and self._suspects().undecided() == 1:
            self.inconclusive = True
            return None
        self._halves.clear()
        self._remember_size(ONE_BY_ONE)
        _, refused = fresh[-1]
        return Retryable(refused.reason, in_doubt=True, remedy=refused.remedy)

    def _unconfirmed(
        self, unconfirmed: Sequence[tuple[Delivery, Postponed]], now: datetime, *, others_accepted: bool
    ) -> Retryable | None:
        """Handle documents that the receiver accepted but does not show. Each attempt may store them again, so attempts are limited."""
        if not unconfirmed:
            return None
        if others_accepted or (len(unconfirmed) == 1 and self.outbox.values.get(CONFIRMED)):
            for delivery, outcome in unconfirmed:
                self._failed_alone(delivery, outcome.reason, now)
            return None
        self.outbox.values.put(UNCONFIRMED, self.outbox.values.get(UNCONFIRMED) + 1)
        _, first = unconfirmed[0]
        return Retryable(first.reason, in_doubt=True)

    def _retry_refused(self, refused: Sequence[str]) -> None:
        """Retry the documents that were refused just before an accepted one: the receiver may have had a temporary fault."""
        known = self.outbox.values.get(TRIED_ONCE_MORE)
        fresh = [id_ for id_ in refused if id_ not in known]
        if fresh:
            self.outbox.dead_letters.retry(fresh)
            self.outbox.values.put(TRIED_ONCE_MORE, [*known, *fresh][-REMEMBERED:])
            self._halves.extend((id_,) for id_ in fresh)


def _with(row: Sequence[str], id_: str) -> list[str]:
    """Return the row with ``id_`` at its end. A document that changes is refused again, and still counts once."""
    return [*(known for known in row if known != id_), id_]
