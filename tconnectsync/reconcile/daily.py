"""Compares the last three days with the receiver once a day, and sends lost or changed documents again."""

from __future__ import annotations

import logging
import random
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import CredentialsRefused, IndexCorrupt, LogCorrupt, Rejected, Retryable
from tconnectsync.eventlog import EventLog
from tconnectsync.outbox.sender import Sender
from tconnectsync.outbox.stored_values import COMPARED, FOREIGN_ALLOWED
from tconnectsync.plugin.receiver import ReadableReceiver
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.reconcile.comparison_state import ComparisonState
from tconnectsync.retry.backoff import backoff_s
from tconnectsync.retry.deadline import RememberedDeadline
from tconnectsync.retry.refusals import REFUSED_WAIT_S
from tconnectsync.timeline.event_stream import EventStream

if TYPE_CHECKING:  # most commands end without a comparison
    from tconnectsync.reconcile.running_comparison import RunningComparison

log = logging.getLogger("tconnectsync.sinks")
INTERVAL = timedelta(days=1)
DAYS_BACK = timedelta(days=3)
"""The days that are compared. Older ones are only compared by ``verify``."""
MAX_SOURCE_AGE = timedelta(minutes=45)
"""All sources must have been read this recently. Otherwise another machine may have delivered newer documents."""
FAILED_WAIT_S = 900.0


@attrs.define
class DailyComparison:
    """The daily comparison of one sink, in slices. The first one is due a day after the sink was set up."""

    name: str
    fold_runner: FoldRunner
    sender: Sender
    events: EventLog
    clock: Clock
    rng: random.Random
    _state: ComparisonState | None = None
    _running: RunningComparison | None = None

    def due(self, now: datetime) -> bool:
        """Whether a comparison is running or due."""
        if not isinstance(self.sender.receiver, ReadableReceiver):
            return False
        if self._running is not None:
            return True
        if self._state is None:
            self._state = ComparisonState.load(self.fold_runner.outbox)
        not_before = self._state.not_before
        if not_before is None or not not_before.is_plausible(now):  # the first one, or planned by a wrong clock
            self._save(attrs.evolve(self._state, not_before=self._after(INTERVAL)))
            return False
        return not_before.is_over(self.clock)

    def step(self, streams: Mapping[str, EventStream], *, may_withdraw: bool) -> None:
        """Run one slice: about one request, or one interval. ``may_withdraw``: what no record explains may be withdrawn.

        Errors: IndexCorrupt, sqlite3.Error. Other failures are retried later. Refused credentials are too: deliveries decide
        whether they stop the sink.
        """
        receiver = self.sender.receiver
        if not isinstance(receiver, ReadableReceiver):
            return
        if self._running is None:
            self._running = self._begin(receiver, streams)
        running = self._running
        try:
            goes_on = running.step()
        except (IndexCorrupt, sqlite3.Error):
            self.give_up()
            raise
        except CredentialsRefused as error:
            self._fail(error.message, REFUSED_WAIT_S)
        except (Retryable, Rejected, LogCorrupt) as error:
            self._fail(error.message, error.after_s if isinstance(error, Retryable) else None)
        except Exception as error:
            # the border to a plugin: its fault must not stop other plugins
            log.exception("comparison_failed sink=%s", self.name)
            self._fail(f"the sink failed unexpectedly: {type(error).__name__}", None)
        else:
            if not goes_on:
                self._finish(running, may_withdraw=may_withdraw)

    def _begin(self, receiver: ReadableReceiver, streams: Mapping[str, EventStream]) -> RunningComparison:
        from tconnectsync.reconcile.comparison import Verifier
        from tconnectsync.reconcile.running_comparison import RunningComparison

        now = self.clock.now()
        verifier = Verifier(self.fold_runner, receiver, self.events, streams, self.clock)
        return RunningComparison.of(verifier, now - DAYS_BACK, now)

    def give_up(self) -> None:
        """Stop the running comparison: something changed meanwhile. The next one starts from the beginning."""
        self._running = None

    def _finish(self, comparison: RunningComparison, *, may_withdraw: bool) -> None:
        outbox, now, report = self.fold_runner.outbox, self.clock.now(), comparison.report
        with outbox.transaction():
            comparison.repair(outbox, now, may_withdraw=may_withdraw)
            before = self._state or ComparisonState()
            self._save(before.after(dict(report.to_json()), at=now, not_before=self._after(INTERVAL)))
        if report.twice and not outbox.values.get(FOREIGN_ALLOWED):
            log.warning("older_bridge_writes sink=%s documents=%d", self.name, report.twice)
        if report.wrong:
            log.warning(
                'site_differed sink=%s %s action="our documents are sent again"', self.name, report.wrong_counts
            )
        self._running = None

    def _fail(self, message: str, after_s: float | None) -> None:
        self.give_up()
        state = self._state or ComparisonState()
        if state.problem != message:
            log.warning('comparison_failed sink=%s message="%s"', self.name, message)
        wait_s = backoff_s(state.failures + 1, after_s=max(FAILED_WAIT_S, after_s or 0.0), rng=self.rng)
        not_before = RememberedDeadline.after(wait_s, self.clock)
        self._save(attrs.evolve(state, not_before=not_before, failures=state.failures + 1, problem=message))

    def _after(self, wait: timedelta) -> RememberedDeadline:
        return RememberedDeadline.after(wait.total_seconds(), self.clock)

    def _save(self, state: ComparisonState) -> None:
        self._state = state
        self.fold_runner.outbox.values.put(COMPARED, state.to_json())
