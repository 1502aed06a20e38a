"""Runs one sink: folds new events, delivers documents, compares daily, and handles the user's requests."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

import attrs

from tconnectsync.clock import Clock
from tconnectsync.eventlog import EventLog
from tconnectsync.health.states import Health, HealthState
from tconnectsync.outbox import Counts, DocumentRow, Outbox, receiver_memory
from tconnectsync.outbox.preflight import AHEAD, Preflight
from tconnectsync.outbox.sender import Sender
from tconnectsync.outbox.stored_values import (
    ADDRESS,
    ADMITTED_FROM,
    DOUBTED_FROM,
    FOREIGN_ALLOWED,
    LOG_ID,
    READ_BACK,
    REWRITES_ALLOWED,
    ForeignAllowed,
)
from tconnectsync.plugin.receiver import ReadableReceiver
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.reconcile.daily import DailyComparison
from tconnectsync.runtime.sending import Sending, SendingHere
from tconnectsync.runtime.sink_delivery import SinkDelivery
from tconnectsync.runtime.sink_folding import SinkFolding
from tconnectsync.runtime.sink_health import SinkHealth
from tconnectsync.timeline.event_stream import EventStream

if TYPE_CHECKING:  # most commands end without a comparison
    from tconnectsync.reconcile.comparison import Verifier
    from tconnectsync.reconcile.report import Mismatch


@attrs.define
class SinkRunner:
    """The parts of one sink: folding, delivery, the daily comparison, and their common health."""

    name: str
    fold_runner: FoldRunner
    sender: Sender
    events: EventLog
    clock: Clock
    rng: random.Random
    sink_health: SinkHealth
    folding: SinkFolding
    delivery: SinkDelivery
    daily_comparison: DailyComparison = attrs.field(init=False)

    @classmethod
    def build(
        cls, *, name: str, fingerprint: str, fold_runner: FoldRunner, sender: Sender, events: EventLog, clock: Clock,
        rng: random.Random, rewrite_limit: int, credentials_fingerprint: str, sending: Sending | None = None,
    ) -> SinkRunner:  # fmt: skip
        """Build the parts of a sink. ``fingerprint`` identifies its folds and options."""
        sending = sending or SendingHere()
        health = SinkHealth(name, fold_runner, sender, clock, rng, credentials_fingerprint)
        folding = SinkFolding(name, fingerprint, fold_runner, events, clock, health, rewrite_limit)
        preflight = Preflight(sender, clock, name, tuple(fold_runner.folds), lambda: folding.delivery_begin)
        preflight.before_asking = partial(sending.wait_for, sender.receiver.address)
        delivery = SinkDelivery(name, sender, preflight, clock, health, folding.is_behind, sending)
        return cls(name, fold_runner, sender, events, clock, rng, health, folding, delivery)

    def __attrs_post_init__(self) -> None:
        self._begin_comparing()
        if self.delivery.preflight.accept_former_address() and self.sink_health.state is HealthState.HALTED:
            self.sink_health.set(HealthState.OK)
        moved = self.delivery.preflight.address_change()
        if moved is not None and self.sink_health.state is not HealthState.REFUSED:
            self.sink_health.halt(moved)
        if not self.folding.has_cursor_of_log():
            with self.outbox.transaction():
                self.outbox.checkpoints.start_over()

    def _begin_comparing(self) -> None:
        self.daily_comparison = DailyComparison(
            self.name, self.fold_runner, self.sender, self.events, self.clock, self.rng
        )

    @property
    def health(self) -> Health:
        return self.sink_health.current

    @property
    def outbox(self) -> Outbox:
        return self.fold_runner.outbox

    def counts(self) -> Counts:
        """Return the numbers of pending and dead documents. A corrupt outbox is rebuilt first, and is empty then."""
        try:
            return self.outbox.dead_letters.counts()
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:
                raise
            self.rebuild_outbox(error)
            return self.outbox.dead_letters.counts()

    def rebuild_outbox(self, error: sqlite3.DatabaseError) -> None:
        """The outbox is corrupt: move it aside and rebuild its contents from the log and the receiver."""
        path = self.outbox.path
        self.outbox.close()
        fresh = Outbox.rebuilt(path, error)
        fresh.values.put(LOG_ID, self.events.log_id)
        self.fold_runner.outbox = self.sender.outbox = fresh
        self.delivery.preflight.start_over()
        self._begin_comparing()
        self.folding.fold_all_streams_again()
        self.sink_health.forget()

    # --- requests of the user ----------------------------------------------------------------------------------------

    def replay(self, first: datetime | None, last: datetime | None) -> int:
        """Deliver this period again; it counts as consent to every rewrite in it. Return the number of documents."""
        with self.outbox.transaction():
            is_moved = self.outbox.values.get(ADDRESS) not in ("", self.sender.receiver.address)
            if is_moved:
                self.outbox.queue.forget_receiver()
                self.outbox.values.forget(ADDRESS, FOREIGN_ALLOWED, READ_BACK)
                self.sender.forget_receiver()
            if is_moved or (first is None and last is None):
                self.sender.recall()
                receiver_memory.begin_replay(self.outbox, self.sender.receiver)
            count = self.outbox.queue.replay(
                tuple(self.fold_runner.folds),
                first,
                last,
                current_value_folds=self.fold_runner.current_value_folds,
                now=self.clock.now(),
            )
            self.outbox.values.put(REWRITES_ALLOWED, True)
            # the site may be an older one now, with another program's documents
            if first is None:
                self.outbox.values.forget(ADMITTED_FROM)
            else:
                self.outbox.values.put_earliest(DOUBTED_FROM, first - AHEAD)
        self._clear_health()
        return count

    def resume(self) -> None:
        """End a halt, a pause, a refusal or a back-off. Documents that were refused before a halt are tried once more."""
        with self.outbox.transaction():
            if self.sink_health.state is HealthState.BRAKED:
                self.outbox.values.put(REWRITES_ALLOWED, True)
            if self.sink_health.state is HealthState.HALTED:
                self.outbox.dead_letters.retry(self.sender.refused)
        self._clear_health()

    def allow_foreign(self) -> None:
        """Deliver although other programs have documents there, from now on."""
        with self.outbox.transaction():
            self.outbox.values.put(FOREIGN_ALLOWED, ForeignAllowed.ALWAYS)
        self._clear_health()

    def allow_foreign_once(self) -> None:
        """Deliver although other programs have documents there now. Later ones are checked again."""
        with self.outbox.transaction():
            if self.delivery.preflight.unchecked_days() is not None and not self.outbox.values.get(FOREIGN_ALLOWED):
                self.outbox.values.put(FOREIGN_ALLOWED, ForeignAllowed.ONCE)
        self._clear_health()

    def _clear_health(self) -> None:
        """Clear it, but for a new address: only a replay or the old address ends that halt."""
        self.sender.forget_refusals()
        self.sink_health.set(HealthState.OK)
        moved = self.delivery.preflight.address_change()
        if moved is not None:
            self.sink_health.halt(moved)

    # --- comparison with the receiver -----------------------------------------------------------------------------------

    def compare(self, streams: Mapping[str, EventStream], *, is_fresh: Callable[[bool], bool]) -> bool:
        """Run one slice of the daily comparison. Return True if it did one.

        It runs only while everything is folded and delivered and the log is fresh: ``is_fresh(True)``. If the log also lacks
        nothing, ``is_fresh(False)``, documents that no record explains are withdrawn.
        """
        now = self.clock.now()
        if not self.health.is_ok or not self.daily_comparison.due(now):
            return False
        outbox = self.outbox
        idle = (
            not self.folding.is_behind()
            and not self.delivery.has_due_document(now)
            and outbox.values.get(READ_BACK) is None
        )
        if not idle or outbox.values.get(ADDRESS) != self.sender.receiver.address or not is_fresh(True):
            self.daily_comparison.give_up()
            return False
        if self.delivery.sending.is_busy(self.sender.receiver.address):
            return False
        self.daily_comparison.step(streams, may_withdraw=is_fresh(False))
        return True

    def verifier(self, streams: Mapping[str, EventStream]) -> Verifier:
        """Return a comparison with the receiver's documents. TypeError if the receiver cannot be read back."""
        from tconnectsync.reconcile.comparison import Verifier
        from tconnectsync.reconcile.report import cannot_verify_text

        receiver = self.sender.receiver
        if not isinstance(receiver, ReadableReceiver):
            raise TypeError(cannot_verify_text(self.name))
        return Verifier(self.fold_runner, receiver, self.events, streams, self.clock)

    def repair(self, mismatches: Sequence[Mismatch]) -> int:
        """Send wrong documents of this sink again. Return their number."""
        from tconnectsync.reconcile.comparison import repair

        with self.outbox.transaction():
            return repair(self.outbox, mismatches, now=self.clock.now())

    def send_again(self, lost: Sequence[DocumentRow]) -> None:
        """Deliver documents again that the receiver accepted and no longer has."""
        with self.outbox.transaction():
            self.outbox.rows.send_again(lost, lost=True)
