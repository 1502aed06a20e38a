"""Delivers the documents of one outbox, a batch at a time. Every outcome ends in the sink's health.

While a batch is on its way, nothing else touches its outbox.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import CredentialsRefused, Rejected, Retryable
from tconnectsync.health.states import HealthState
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.preflight import DeliveryBlock, Preflight
from tconnectsync.outbox.sender import UNCONFIRMED_WORDS, Sender, unconfirmed_remedy
from tconnectsync.outbox.stored_values import LOOKED_AT, REWRITES_ALLOWED
from tconnectsync.plugin.receiver import Delivery, Outcome, ReadableReceiver
from tconnectsync.runtime.delivery_report import DeliveryReport
from tconnectsync.runtime.sending import Sending, SendingHere, Sent
from tconnectsync.runtime.sink_health import SinkHealth, outbox_failure
from tconnectsync.storage_errors import NO_THREAD, TOO_MANY_THREADS, is_without_threads
from tconnectsync.text.plural import counted

log = logging.getLogger("tconnectsync.sinks")
UNANSWERED_S = 900.0
"""Longer than any receiver of this project takes for a batch: they have limits for each request."""
UNANSWERED_WORDS = "the receiver has not returned for a quarter of an hour: nothing is sent until it does"
UNANSWERED_REMEDY = (
    "Does it write to a disk or a network drive that hangs? Then mend that, and run `systemctl restart tconnectsync`."
)
LOOK_BACK = timedelta(hours=1)


class _Batch(NamedTuple):
    """A batch on its way; an empty one only reads. ``began``: the time of the attempt; ``looked``: whether the receiver is or was
    looked at.
    """

    deliveries: Sequence[Delivery]
    began: datetime
    looked: bool
    sent: Sent


@attrs.define
class SinkDelivery:
    """The delivery side of one sink. ``is_behind``: whether events wait to be folded."""

    name: str
    sender: Sender
    preflight: Preflight
    clock: Clock
    health: SinkHealth
    is_behind: Callable[[], bool]
    sending: Sending = attrs.field(factory=SendingHere)
    report: DeliveryReport = attrs.field(init=False)
    _batch: _Batch | None = None

    def __attrs_post_init__(self) -> None:
        self.report = DeliveryReport(self.name)

    @property
    def outbox(self) -> Outbox:
        return self.sender.outbox

    def due(self, now: datetime) -> datetime | None:
        """Return when the next delivery may start; None: nothing waits, or the user must act first."""
        if self.health.state in (HealthState.HALTED, HealthState.BRAKED):
            return None
        due = self.outbox.queue.next_due(now) or (None if self._receiver_to_read(now) is None else now)
        if due is None:
            return None
        not_before = self.health.current.not_before
        return due if not_before is None else max(due, not_before.time(now, self.clock))

    def _receiver_to_read(self, now: datetime) -> ReadableReceiver | None:
        """Return the receiver if only reading can show that it works again: it failed, and what waited for it has expired."""
        receiver = self.sender.receiver
        if self.health.state is not HealthState.BACKING_OFF or not isinstance(receiver, ReadableReceiver):
            return None
        return receiver if self.outbox.queue.next_due(now) is None else None

    def has_due_document(self, now: datetime) -> bool:
        """Whether a document waits to be delivered now."""
        due = self.outbox.queue.next_due(now)
        return due is not None and due <= now

    @property
    def is_sending(self) -> bool:
        """Whether a batch is on its way whose outcome is not recorded yet."""
        return self._batch is not None

    def deliver(self) -> bool:
        """Begin to send a batch, and record its outcome if it is there at once. Return True if something was done.

        A receiver that must be asked first, and to whose place something is on its way, waits for a later pass.
        """
        if self.sending.is_busy(self.sender.receiver.address) and self.preflight.must_ask():
            return False
        done, now = False, self.clock.now()
        with self._failures_recorded():
            done = self._begin(now)
        if self.is_sending:
            return self.collect() or self.is_sending
        self._write_report(done, now)
        return done

    def silent_s(self) -> float:
        """Return for how many seconds the receiver has been at the batch on its way."""
        return 0.0 if self._batch is None else self._batch.sent.silent_s()

    def collect(self) -> bool:
        """Record the outcome of the batch on its way if it is there. Return True if the receiver processed something.

        The last batch of a delivery writes a line to the log.
        """
        batch = self._batch
        if batch is None:
            return False
        if not batch.sent.done():
            if batch.sent.silent_s() > UNANSWERED_S and self.health.state is not HealthState.WAITING:
                self.health.set(HealthState.WAITING, UNANSWERED_WORDS, remedy=UNANSWERED_REMEDY)
            return False
        self._batch, done = None, False
        with self._failures_recorded():
            try:
                if batch.deliveries:
                    done = self.sender.finish(batch.deliveries, batch.began, batch.sent.result) > 0
                else:
                    batch.sent.result()
            finally:
                self.report.add(self.sender.accepted_count, self.sender.accepted_newest)
            self._record_success(batch.began, done=done or batch.looked)
        self._write_report(done, batch.began)
        return done

    def _begin(self, now: datetime) -> bool:
        """Take one step of the checks before a delivery, or begin to send a batch. Return True if something was done."""
        self.sender.batch_shrunk = False
        looked_at = self.outbox.values.get(LOOKED_AT)
        self.outbox.queue.expire(now)
        admitted = self.preflight.step()
        if isinstance(admitted, DeliveryBlock):
            self.health.halt(admitted)
            return False
        if not admitted:
            return True
        # a complete look at the receiver proves that it works, also if it has everything already
        looked = self.outbox.values.get(LOOKED_AT) != looked_at
        if not self.sender.has_recalled:
            self.preflight.before_asking()
        deliveries, address = self.sender.begin(now), self.sender.receiver.address
        if deliveries:
            sent = self.sending.start(address, partial(self.sender.call_receiver, deliveries))
            self._batch = _Batch(deliveries, now, looked, sent)
        elif not looked and (receiver := self._receiver_to_read(now)) is not None:
            self._batch = _Batch((), now, True, self.sending.start(address, partial(_look, receiver, now)))
        else:
            self._record_success(now, done=looked)
        return self.is_sending

    @contextlib.contextmanager
    def _failures_recorded(self) -> Iterator[None]:
        """Record every error of the block in the sink's health. Only a corrupt outbox is raised: the engine rebuilds it."""
        try:
            yield
        except CredentialsRefused as error:
            self.preflight.start_over()
            self.health.refuse(error)
        except (Retryable, Rejected) as error:
            self.preflight.start_over()
            self._record_failure(error)
        except sqlite3.OperationalError as error:
            self.health.back_off(*outbox_failure(self.outbox.path, error))
        except sqlite3.DatabaseError:
            raise
        except Exception as error:
            # the border to a plugin: its error must not stop the other sinks
            log.exception("sink_failed sink=%s", self.name)
            if is_without_threads(error):
                self.health.back_off(NO_THREAD, TOO_MANY_THREADS)
                return
            self.health.back_off(
                f"the sink failed unexpectedly: {type(error).__name__}",
                "This is a bug in the sink's plugin; the log has the details. The daemon retries.",
            )

    def _write_report(self, done: bool, now: datetime) -> None:
        if not done or not self.has_due_document(now):
            self.report.write(now)

    def _record_failure(self, error: Retryable | Rejected) -> None:
        if self.sender.is_unconfirmed():
            remedy = unconfirmed_remedy(self.name)
            self.health.set(HealthState.HALTED, f"{error.message}; {UNCONFIRMED_WORDS}", remedy=remedy)
            return
        after_s = error.after_s if isinstance(error, Retryable) else None
        self.health.back_off(error.message, error.remedy, after_s=after_s, soon=self.sender.batch_shrunk)

    def _record_success(self, now: datetime, *, done: bool) -> None:
        if self.sender.is_halted():
            refused, remedy = len(self.sender.refused), self.sender.refusal_remedy
            if remedy in (None, Rejected.usual_remedy):
                remedy = f"See why with `tconnectsync dead-letters list`, then run `tconnectsync resume {self.name}`."
            self.health.set(
                HealthState.HALTED,
                f"{counted(refused, 'document')} in a row {'was' if refused == 1 else 'were'} refused: nothing more is sent",
                remedy=remedy,
            )
        elif done and (not self.sender.inconclusive or self.health.state is HealthState.OK):
            self.health.recover()
        if (
            self.outbox.values.get(REWRITES_ALLOWED)
            and self.outbox.queue.next_due(now) is None
            and not self.is_behind()
        ):
            self.outbox.values.forget(REWRITES_ALLOWED)

    def preview_preflight(self) -> None:
        """For a dry run: record what would stop the next delivery, if the receiver can be asked."""
        with contextlib.suppress(Retryable, Rejected, CredentialsRefused):
            block = self.preflight.blocker(self.preflight.unchecked_days())
            if block is not None:
                self.health.halt(block)


def _look(receiver: ReadableReceiver, now: datetime) -> Sequence[Outcome]:
    """Read something of the last hour. Raises the receiver's errors."""
    next(iter(receiver.survey(now - LOOK_BACK, now)), None)
    return ()
