"""The health of one sink. Failures and successes change it, and the outbox stores it."""

from __future__ import annotations

import logging
import random
import sqlite3
from pathlib import Path

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import CredentialsRefused, LogCorrupt
from tconnectsync.health.states import Health, HealthState
from tconnectsync.outbox.preflight import DeliveryBlock
from tconnectsync.outbox.sender import Sender
from tconnectsync.outbox.stored_values import HEALTH
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.retry import refusals
from tconnectsync.retry.backoff import backoff_s
from tconnectsync.retry.deadline import RememberedDeadline
from tconnectsync.storage_errors import storage_error, storage_remedy

log = logging.getLogger("tconnectsync.sinks")


def outbox_failure(path: Path, error: sqlite3.OperationalError) -> tuple[str, str]:
    """Return the message and the remedy if the outbox at ``path``, in its folder of the data folder, cannot be written."""
    message = (
        f"the list of what was delivered (the outbox) cannot be written ({error}): nothing is sent until it can be"
    )
    found = storage_error(error, path)
    remedy = None if found is None else storage_remedy(found, path.parents[1])
    if remedy is None:
        log.error("outbox_failed path=%s", path, exc_info=error)
    return message, remedy or "The program's log has the details. The daemon retries."


@attrs.define
class SinkHealth:
    """The health of one sink, and the rules by which it changes."""

    name: str
    fold_runner: FoldRunner
    sender: Sender
    clock: Clock
    rng: random.Random
    credentials_fingerprint: str
    current: Health = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.current = self.sender.outbox.values.get(HEALTH)
        if self.current.refusals and self.current.fingerprint != self.credentials_fingerprint:
            self.current = Health()  # other credentials
        if self.state is HealthState.HALTED and self.current.fingerprint not in ("", self.sender.receiver.address):
            self.current = Health()  # the old address is back
        if self.current.since is None:
            self.set(HealthState.OK)

    @property
    def state(self) -> HealthState:
        return self.current.state

    def is_postponed(self) -> bool:
        """Whether the next attempt has to wait."""
        return self.current.not_before is not None and not self.current.not_before.is_over(self.clock)

    def recover(self) -> None:
        """Set OK, unless a fold is blocked because the log is corrupt or because it fails."""
        for blocked in self.fold_runner.blocked.values():
            state = HealthState.DAMAGED if isinstance(blocked, LogCorrupt) else HealthState.WAITING
            self.set(state, blocked.message, remedy=blocked.remedy)
            return
        self.set(HealthState.OK, self.sender.waiting_reason())

    def halt(self, block: DeliveryBlock) -> None:
        """Stop deliveries until the user acts."""
        remedy = block.conflict.remedy.replace("SINK", self.name)
        self.set(HealthState.HALTED, block.conflict.reason, remedy=remedy, fingerprint=block.new_address)

    def back_off(self, message: str, remedy: str | None, *, after_s: float | None = None, soon: bool = False) -> None:
        """Wait longer after each failure in a row. ``soon``: the next attempt is a smaller batch, so the wait is short."""
        failures = 1 if soon else self.current.failures + 1
        wait_s = backoff_s(failures, after_s=after_s, rng=self.rng)
        self.set(HealthState.BACKING_OFF, message, remedy=remedy, wait_s=wait_s, failures=failures)

    def refuse(self, error: CredentialsRefused) -> None:
        """Record that the receiver refused the credentials. One that was not asked just now refused no second time."""
        count = max(self.current.refusals + error.asked, 1)
        wait_s = refusals.wait_s(count, self.rng)
        log.warning("credentials_refused sink=%s in_a_row=%d next_try_s=%.0f", self.name, count, wait_s)
        self.set(
            HealthState.BACKING_OFF if count < refusals.COUNTS_FROM else HealthState.REFUSED,
            error.message,
            remedy=refusals.remedy(error, self.name),
            wait_s=wait_s,
            fingerprint=self.credentials_fingerprint,
            refusals=count,
        )

    def set(
        self, state: HealthState, message: str = "", *, remedy: str | None = None, wait_s: float | None = None,
        failures: int = 0, fingerprint: str = "", refusals: int = 0,
    ) -> None:  # fmt: skip
        """Change the health, log it if state or message changed, and store it in the outbox."""
        before = self.current
        if (state, message) != (before.state, before.message):
            level = logging.INFO if state is HealthState.OK else logging.WARNING
            log.log(level, 'sink_state sink=%s state=%s message="%s"', self.name, state, message)
        health = Health(
            state=state, message=message, remedy=remedy, failures=failures, fingerprint=fingerprint, refusals=refusals,
            not_before=None if wait_s is None else RememberedDeadline.after(wait_s, self.clock),
        )  # fmt: skip
        self.current = health.with_since(before, self.clock.now())
        if self.current != before:
            try:
                self.sender.outbox.values.put(HEALTH, self.current)
            except sqlite3.Error as error:
                log.warning('state_not_saved sink=%s reason="%s"', self.name, error)

    def forget(self) -> None:
        """Start again, because the outbox is new."""
        self.current = Health()
