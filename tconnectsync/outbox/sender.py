"""Sends what an outbox wants: batches, halving of refused ones, dead letters, a halt after too many in a row.

A refused document is tried once more when the receiver has taken another one since: a site that refused everything for a while
leaves no dose behind. What is not surely a document's own fault backs the sink off and sets nothing aside.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime

import attrs

from tconnectsync.errors import Rejected, Retryable
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.batch_size import ONE_BY_ONE, BatchSize
from tconnectsync.outbox.facts import (
    BATCH_SIZE,
    CONFIRMED,
    RECEIVER_MEMORY,
    REFUSED_IN_A_ROW,
    SUSPECTS,
    TRIED_ONCE_MORE,
    UNCONFIRMED,
)
from tconnectsync.outbox.suspect_documents import Suspects
from tconnectsync.plugin.receiver import Accepted, Delivery, Outcome, Postponed, Receiver, Refused, Remembering
from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S
from tconnectsync.text.plural import counted

HALT_AFTER = 20
"""So many refusals in a row look like a receiver that refuses everything, not like odd documents."""
POSTPONE_S = 60.0
UNCONFIRMED_ROUNDS = 3
"""So often in a row a receiver may take everything and show nothing of it; each time it may be stored once more."""
REMEMBERED = 1000
"""So many dead letters that had their second attempt are known."""
UNRECOGNISED = f"after {UNCONFIRMED_ROUNDS} rounds nothing more is sent, because each may store everything once more"


def unrecognised_remedy(name: str) -> str:
    """What to do where a receiver shows nothing of what it took."""
    return (
        f"Look at the site for documents that are there twice. `tconnectsync check` shows what it answers; after a change"
        f" there run `tconnectsync resume {name}`."
    )


@attrs.define
class Sender:
    """Delivers one sink's outbox to its receiver, one batch a call."""

    outbox: Outbox
    receiver: Receiver
    taken: int = 0
    """How many documents of the last batch the receiver took."""
    undecided: bool = False
    """Whether the last batch says nothing about how the receiver is: it was halved, or it is a document that fails alone."""
    narrowed: bool = False
    """Whether the last failure made the next batch smaller, so that it is worth a try soon."""
    _halves: deque[tuple[str, ...]] = attrs.field(factory=deque)
    _recalled: bool = False

    @property
    def refused(self) -> Sequence[str]:
        """The documents that were refused in a row, also before a restart."""
        return self.outbox.facts.get(REFUSED_IN_A_ROW)

    def forget_refusals(self) -> None:
        """Begin a new row."""
        self.outbox.facts.forget(REFUSED_IN_A_ROW, UNCONFIRMED)

    def forget_place(self) -> None:
        """The receiver is another place: nothing that was learned of the old one holds there."""
        self.outbox.facts.forget(BATCH_SIZE, SUSPECTS, CONFIRMED, UNCONFIRMED, RECEIVER_MEMORY)

    def is_halted(self) -> bool:
        """Whether too many documents in a row were refused."""
        return len(self.refused) >= HALT_AFTER

    def unrecognised(self) -> bool:
        """Whether the receiver took everything and showed nothing of it, too often."""
        return self.outbox.facts.get(UNCONFIRMED) >= UNCONFIRMED_ROUNDS

    def waits_why(self) -> str:
        """Why documents wait that fail while others pass, in words; "" if there are none."""
        suspects = self._suspects()
        rows = self.outbox.rows.of(suspects.known) if suspects.known else {}
        return suspects.why(lambda id_: id_ in rows and not rows[id_].is_settled and rows[id_].dead_reason is None)

    def send_next(self, now: datetime) -> int:
        """Send one batch; answers how many documents the receiver dealt with. 0: nothing was due.

        Raises Retryable and CredentialsRefused from the receiver after noting in the outbox what is unsure.
        """
        self.taken, self.undecided, self.narrowed = 0, False, False
        self._recall()
        batch = self._next_batch(now)
        if not batch:
            return 0
        ids = [delivery.document_id for delivery in batch]
        in_doubt_before = {delivery.document_id for delivery in batch if delivery.in_doubt}
        with self.outbox.transaction():
            self.outbox.queue.set_in_doubt(ids, True)
        try:
            outcomes = self.receiver.deliver(batch)
        except Rejected as error:
            return self._rejected(batch, error, now)
        except Retryable as error:
            self._halves.clear()
            with self.outbox.transaction():
                if not error.in_doubt:
                    self.outbox.queue.set_in_doubt([id_ for id_ in ids if id_ not in in_doubt_before], False)
                passed_over = error.narrow and self._too_much(batch, error, now)
                self._remember()
            if passed_over:
                return len(batch)
            raise
        if len(outcomes) != len(batch):
            raise RuntimeError(f"a receiver answered {len(outcomes)} of {counted(len(batch), 'delivery')}")
        with self.outbox.transaction():
            trouble = self._record_outcomes(batch, outcomes, now)
            self._remember_size(self._size().after_success(len(batch), self.receiver.batch_size))
            self._remember()
        if trouble is not None:
            raise trouble
        return len(batch)

    # --- which batch --------------------------------------------------------------------------------------------------

    def _next_batch(self, now: datetime) -> Sequence[Delivery]:
        """A half of a refused batch, else what is pending: withdrawals never share a batch with what may take their place.

        A document that failed alone follows after all others, by itself.
        """
        most = self._size().most(self.receiver.batch_size)
        while self._halves:
            half = self.outbox.queue.pending(now, self.receiver.batch_size, ids=self._halves.popleft())
            if half:
                return half
        alone = self._suspects().alone()
        pending = self.outbox.queue.pending(now, most + len(alone))
        others = [delivery for delivery in pending if delivery.document_id not in alone][:most]
        if not others:
            return pending[:1]
        withdrawals = [delivery for delivery in others if delivery.document is None]
        return withdrawals or others

    def _size(self) -> BatchSize:
        return self.outbox.facts.get(BATCH_SIZE)

    def _remember_size(self, size: BatchSize) -> None:
        if size != self._size():
            self.outbox.facts.put(BATCH_SIZE, size)

    def _suspects(self) -> Suspects:
        return self.outbox.facts.get(SUSPECTS) or Suspects()

    def _recall(self) -> None:
        if not self._recalled and isinstance(self.receiver, Remembering):
            self.receiver.recall(self.outbox.facts.get(RECEIVER_MEMORY))
        self._recalled = True

    def _remember(self) -> None:
        if isinstance(self.receiver, Remembering):
            memory = self.receiver.memory()
            if memory != self.outbox.facts.get(RECEIVER_MEMORY):
                self.outbox.facts.put(RECEIVER_MEMORY, memory)

    # --- what was not taken -------------------------------------------------------------------------------------------

    def _rejected(self, batch: Sequence[Delivery], error: Rejected, now: datetime) -> int:
        """The whole batch was: halve it, or judge the one document that it holds."""
        trouble = None
        with self.outbox.transaction():
            if error.narrow and len(batch) > 1:
                self._remember_size(self._size().after_refusal(len(batch)))
            if len(batch) == 1:
                refused = Refused(reason=error.message, passing=error.passing, remedy=error.remedy)
                trouble = self._record_outcomes(batch, [refused], now)
            else:
                self.undecided = True
                middle = len(batch) // 2
                for half in (batch[middle:], batch[:middle]):
                    self._halves.appendleft(tuple(delivery.document_id for delivery in half))
        if trouble is not None:
            raise trouble
        return len(batch)

    def _too_much(self, batch: Sequence[Delivery], error: Retryable, now: datetime) -> bool:
        """A smaller batch may pass. Whether this one is a single document that fails while others pass: it waits by itself."""
        if len(batch) == 1:
            return self._failed_alone(batch[0], error.message, now)
        before = self._size()
        size = before.after_failure(len(batch))
        self.narrowed = size.limit != before.limit
        self._remember_size(size)
        return False

    def _failed_alone(self, delivery: Delivery, reason: str, now: datetime) -> bool:
        """Note it. Whether it seems to be the document's own fault, because others pass: then the sink goes on without it."""
        suspects = self._suspects()
        suspect = suspects.failed(delivery.document_id, reason)
        if suspect.strikes:
            self.undecided = True
            if suspect.guilty:
                suspects.forget([delivery.document_id])
                self.outbox.queue.dead_letter(delivery, reason)
                self.outbox.facts.put(REFUSED_IN_A_ROW, _with(self.refused, delivery.document_id))
            else:
                self.outbox.queue.postpone(delivery, now, suspect.wait_s)
        self.outbox.facts.put(SUSPECTS, suspects)
        return suspect.strikes > 0

    # --- what was answered --------------------------------------------------------------------------------------------

    def _record_outcomes(
        self, batch: Sequence[Delivery], outcomes: Sequence[Outcome], now: datetime
    ) -> Retryable | None:
        """Note the outcomes; answers what the sink has to back off for, if it has to."""
        row = before = list(self.refused)
        puts, unconfirmed, doubtful = [], [], []
        for delivery, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Accepted):
                self.outbox.queue.mark_delivered(delivery, outcome.receiver_key)
                self.taken += 1
                if delivery.document is not None:  # what is taken back proves nothing: a site may delete and not write
                    self._try_once_more(row)
                    row = []
                    puts.append(delivery.document_id)
            elif isinstance(outcome, Postponed):
                wait_s = POSTPONE_S if outcome.after_s is None else min(outcome.after_s, LONGEST_ASKED_WAIT_S)
                self.outbox.queue.postpone(delivery, now, wait_s)
                if outcome.unconfirmed:
                    unconfirmed.append((delivery, outcome))
            elif outcome.passing:
                doubtful.append((delivery, outcome))
            else:
                self.outbox.queue.dead_letter(delivery, outcome.reason)
                row = _with(row, delivery.document_id)
        if row != before:
            self.outbox.facts.put(REFUSED_IN_A_ROW, row)
        if puts:
            self._passed(puts)
        return self._judge(doubtful, now, passed=bool(puts)) or self._unconfirmed(unconfirmed, now, passed=bool(puts))

    def _passed(self, puts: Sequence[str]) -> None:
        """These were taken: whatever failed before them is under suspicion, and the receiver is not."""
        suspects = self._suspects()
        if suspects.known:
            suspects.forget(puts)
            suspects.others_passed()
            self.outbox.facts.put(SUSPECTS, suspects)
        self.outbox.facts.forget(UNCONFIRMED)
        if not self.outbox.facts.get(CONFIRMED):
            self.outbox.facts.put(CONFIRMED, True)

    def _judge(self, doubtful: Sequence[tuple[Delivery, Refused]], now: datetime, *, passed: bool) -> Retryable | None:
        """What may be the receiver's own trouble: back off, unless others pass beside it, or are about to be tried."""
        fresh = [
            (delivery, outcome) for delivery, outcome in doubtful
            if not self._failed_alone(delivery, outcome.reason, now)
        ]  # fmt: skip
        if not fresh:
            return None
        if passed:
            for delivery, _ in fresh:
                self.outbox.queue.postpone(delivery, now, POSTPONE_S)
            self._passed([])
            return None
        if self._halves and self._suspects().undecided() == 1:
            self.undecided = True
            return None
        self._halves.clear()
        self._remember_size(ONE_BY_ONE)
        _, refused = fresh[-1]
        return Retryable(refused.reason, unsure=True, remedy=refused.remedy)

    def _unconfirmed(
        self, unconfirmed: Sequence[tuple[Delivery, Postponed]], now: datetime, *, passed: bool
    ) -> Retryable | None:
        """The receiver names nothing of what it took: it may store it once more each time, so that this must end."""
        if not unconfirmed:
            return None
        if passed or (len(unconfirmed) == 1 and self.outbox.facts.get(CONFIRMED)):
            for delivery, outcome in unconfirmed:
                self._failed_alone(delivery, outcome.reason, now)
            return None
        self.outbox.facts.put(UNCONFIRMED, self.outbox.facts.get(UNCONFIRMED) + 1)
        _, first = unconfirmed[0]
        return Retryable(first.reason, unsure=True)

    def _try_once_more(self, refused: Sequence[str]) -> None:
        """Something was taken: what was refused just before may have met a fault of the receiver's, not one of its own."""
        known = self.outbox.facts.get(TRIED_ONCE_MORE) if refused else []
        fresh = [id_ for id_ in refused if id_ not in known]
        if fresh:
            self.outbox.dead_letters.retry(fresh)
            self.outbox.facts.put(TRIED_ONCE_MORE, [*known, *fresh][-REMEMBERED:])
            self._halves.extend((id_,) for id_ in fresh)


def _with(row: Sequence[str], id_: str) -> list[str]:
    """One that grows is refused again with each version, and is one document all the same."""
    return [*(known for known in row if known != id_), id_]
