"""Polls one source, one request at a time, and stores each answer durably before the next request."""

from __future__ import annotations

import contextlib
import logging
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import CredentialsRefused, IndexCorrupt, LogCorrupt, ReplicaFailed, Retryable, SourceChanged
from tconnectsync.eventlog import EventLog
from tconnectsync.health.states import Health, HealthState, with_resume_hint
from tconnectsync.ingest.event_count import EventCount
from tconnectsync.ingest.fetch import Fetch, FetchState, SourceHistory
from tconnectsync.ingest.gaps import RefetchRange, next_refetch
from tconnectsync.ingest.moved_times import check_times
from tconnectsync.ingest.schedule import PollSchedule
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.plugin.source import Batch, Source
from tconnectsync.retry.backoff import backoff_s
from tconnectsync.retry.deadline import RememberedDeadline
from tconnectsync.storage_errors import NO_THREAD, TOO_MANY_THREADS, is_without_threads, storage_error, storage_remedy

log = logging.getLogger("tconnectsync.polling")
CLOCK_TOLERANCE = timedelta(minutes=5)
CHANGED_WAIT_S = 3600.0
CURRENT_FOR = timedelta(days=1)
DAYS_AT_ONCE = 28
"""Days of one backfill fetch. Other fetches may run between two of them."""
PARTIAL_GROWTH = 6
"""If the rest could be read, the back-off stops growing after this many failures, at a quarter of an hour."""
GAP_WAIT_S = 3600.0
"""How long a gap waits if some of its days could not be read."""


@attrs.define
class Poller:
    """Runs the fetches of one source. Each step makes at most one network request."""

    name: str
    source: Source
    events: EventLog
    clock: Clock
    state: SourceState
    schedule: PollSchedule
    credentials_fingerprint: str
    rng: random.Random
    free_space: Callable[[], str | None]
    """Returns None if the disk has enough space, else a message."""
    progress: Batch = attrs.field(factory=Batch)
    _fetch: Fetch | None = None
    _batches: Iterator[Batch] | None = None
    _queue: deque[Fetch] = attrs.field(factory=deque)
    _gaps_checked: bool = False
    _poll_was_partial: bool = False
    _partial_began: datetime | None = None
    """When the last poll began that could not read everything."""

    @property
    def running(self) -> bool:
        """Whether a fetch is running."""
        return self._fetch is not None

    @property
    def busy(self) -> bool:
        """Whether a fetch is running or queued."""
        return self._fetch is not None or bool(self._queue)

    @property
    def health(self) -> Health:
        """The source's health."""
        return self.state.health

    @property
    def _is_refused(self) -> bool:
        """Whether these credentials were refused."""
        health = self.state.health
        return health.state == HealthState.REFUSED and health.fingerprint == self.credentials_fingerprint

    def next_step(self, now: datetime) -> datetime | None:
        """Return when the next step is due; None if only the user can start it (refused credentials)."""
        if self.busy:
            return now
        if self._is_refused:
            return None
        self._check_gaps_once()
        deadlines = (self.state.next_poll, self.state.health.not_before)
        return max([now, *(each.time(now, self.clock) for each in deadlines if each is not None)])

    def can_poll(self) -> bool:
        """Whether the user may request a poll now: not during a back-off or after a refusal. The schedule does not matter."""
        health = self.state.health
        if health.state == HealthState.DAMAGED:  # perhaps it was repaired: try
            return True
        return not self._is_refused and (health.not_before is None or health.not_before.is_over(self.clock))

    def is_current(self, now: datetime, since: datetime | None = None, *, partly: bool = False) -> bool:
        """Whether the source was read to its end within the last day, and all gaps were fetched again.

        ``since``: that read must also have begun at this time or later. ``partly``: it may have left out days or records that
        cannot be read.
        """
        last, began = self.state.last_fetch, self.state.last_began
        if partly and self._partial_began is not None and (began is None or began < self._partial_began):
            last = began = self._partial_began
        if self.busy or last is None or not timedelta(0) <= now - last < CURRENT_FOR:
            return False
        if since is not None and (began is None or began < since):
            return False
        with contextlib.suppress(LogCorrupt):
            return next_refetch(self.events, self.name, self.state.refetched_until) is None
        return False

    def request_poll(self) -> list[Fetch]:
        """Queue a poll and return it; if one is queued or running, return that."""
        for fetch in (self._fetch, *self._queue):
            if fetch is not None and fetch.is_poll:
                return [fetch]
        poll = Fetch(lambda: self.source.poll(SourceHistory(self.events, self.name)), is_poll=True)
        self._queue.appendleft(poll)
        return [poll]

    def start_backfill(self, first: date, last: date, count: EventCount | None = None) -> list[Fetch]:
        """Queue fetches for these pump-local days, both inclusive, the newest days first. ``count`` counts their events."""
        count = count or EventCount(self.events.end)
        parts = []
        while last >= first:
            begin = max(first, last - timedelta(days=DAYS_AT_ONCE - 1))
            parts.append(Fetch(self._backfill_fetch(begin, last), days=(begin, last), event_count=count))
            last = begin - timedelta(days=1)
        self._queue.extend(parts)
        return parts

    def _backfill_fetch(self, first: date, last: date) -> Callable[[], Iterator[Batch]]:
        return lambda: self.source.backfill(SourceHistory(self.events, self.name), first, last)

    def stop(self) -> None:
        """Give up the running and the queued fetches. Events that were read stay in the log."""
        self._stop_running()
        for fetch in self._queue:
            fetch.state = FetchState.FAILED
        self._queue.clear()

    def _stop_running(self) -> None:
        if self._fetch is not None:
            self._fetch.state = FetchState.FAILED
        batches, self._fetch, self._batches = self._batches, None, None
        close = getattr(batches, "close", None)
        if close is not None:
            close()

    def _next_batch(self, now: datetime) -> Batch | None:
        """Return the next answer, and start the next fetch if none is running; None if the fetch is complete."""
        if self._fetch is None:
            deadlines = (self.state.next_poll, self.state.health.not_before)
            planned = all(each is None or each.is_over(self.clock) for each in deadlines)
            if not self._queue or (planned and not any(fetch.is_poll for fetch in self._queue)):
                self.request_poll()
            self._fetch = self._queue.popleft()
            self._fetch.state, self._fetch.began = FetchState.RUNNING, now
            self._batches = self._fetch.start()
        assert self._batches is not None  # noqa: S101 - set together with the fetch
        return next(self._batches, None)

    def step(self) -> None:
        """Make one request and store its result in the state. Errors: LogCorrupt, IndexCorrupt, ReplicaFailed."""
        now = self.clock.now()
        is_appending = False
        try:
            problem = self._host_problem(now)
            if problem is not None:
                self._fail(now, HealthState.WAITING, problem[0], problem[1], after_s=60.0)
                return
            batch = self._next_batch(now)
            if batch is None:
                self._finish(now)
                return
            check_times(self.events, batch.events)
            is_appending = True
            appended = self.events.append(batch.events)
        except CredentialsRefused as error:
            self._fail(now, HealthState.REFUSED, error.message, with_resume_hint(error.remedy, self.name))
        except SourceChanged as error:
            after_s = CHANGED_WAIT_S if error.after_s is None else error.after_s
            self._fail_in_part(now, HealthState.CHANGED, error, after_s)
        except Retryable as error:
            self._fail_in_part(now, HealthState.BACKING_OFF, error, error.after_s)
        except LogCorrupt as error:
            self._fail(now, HealthState.DAMAGED, error.message, error.remedy, after_s=600.0)
            raise
        except (IndexCorrupt, ReplicaFailed):
            raise
        except Exception as error:  # noqa: BLE001 - the border to a plugin: its fault must not stop other plugins
            if isinstance(error, sqlite3.DatabaseError):
                self.events.discard_corrupt_index()
            self._fail_unexpectedly(now, error, is_appending=is_appending)
        else:
            self.state.count_unknown(appended.events)
            if self._fetch is not None:
                self._fetch.event_count.count(appended)
            self.progress = attrs.evolve(batch, events=())  # the events are in the log; free their memory

    def resume(self) -> None:
        """Clear a refusal or a back-off. The user also confirms that this computer's clock is right."""
        newest = self.events.facts("window.fetched", limit=1)
        self.state.clock_override = newest[0].received_at.isoformat() if newest else ""
        self.state.health = Health()
        self.state.next_poll = self.state.gap_wait = None
        self.state.save()

    def _host_problem(self, now: datetime) -> tuple[str, str] | None:
        newest = self.events.facts("window.fetched", limit=1)
        if (
            newest
            and now < newest[0].received_at - CLOCK_TOLERANCE
            and newest[0].received_at.isoformat() != self.state.clock_override
        ):
            since = f"{newest[0].received_at:%Y-%m-%d %H:%M} UTC"
            message = f"this computer's clock is behind the newest record of the log, which was written at {since}"
            remedy = "Wait until the clock is set, or check it with `timedatectl`. If the clock is right and the record is wrong:"
            return message, f"{remedy} `tconnectsync resume {self.name}`."
        full = self.free_space()
        if full is not None:
            return full, "Free space on the disk. Known data is still delivered, and polling resumes automatically."
        return None

    def _check_gaps_once(self) -> None:
        """After a start: if a gap has to be fetched again, make the next poll due now."""
        if not self._gaps_checked:
            self._gaps_checked = True
            with contextlib.suppress(LogCorrupt):  # the next poll reports it
                if self._next_gap() is not None:
                    self.state.next_poll = None

    def _next_gap(self) -> RefetchRange | None:
        """Return the days of a gap to fetch again now; None if there are none, or if they wait. Errors: LogCorrupt."""
        waits = self.state.gap_wait is not None and not self.state.gap_wait.is_over(self.clock)
        return None if waits else next_refetch(self.events, self.name, self.state.refetched_until)

    def _finish(self, now: datetime) -> None:
        """Store that the fetch is complete, and queue the next days of a gap, if there are any."""
        fetch, state = self._fetch, self.state
        assert fetch is not None  # noqa: S101 - it has just ended
        self._fetch = self._batches = None
        fetch.state = FetchState.DONE
        self._poll_was_partial = self._poll_was_partial and not fetch.is_poll
        if not self._poll_was_partial:
            if not state.health.is_ok:
                log.info("source_ok source=%s", self.name)
            state.health = Health().with_since(state.health, now)
        if fetch.gap is not None:
            state.refetched_until[fetch.gap.name] = fetch.gap.last.isoformat()
        if fetch.is_poll:
            state.last_fetch = now
            state.last_began = now if fetch.began is None else min(fetch.began, now)
            uploads = [fact.body.uploaded_at for fact in self.events.facts("upload.seen", source=self.name, limit=24)]
            wait = self.schedule.next_poll(now, uploads) - now
            state.next_poll = RememberedDeadline.after(wait.total_seconds(), self.clock)
        self._save()
        missing = self._next_gap()
        if missing is not None:
            log.info("gap_fetched_again source=%s first=%s last=%s", self.name, missing.first, missing.last)
            self._queue.appendleft(Fetch(self._backfill_fetch(missing.first, missing.last), gap=missing))

    def _fail_in_part(self, now: datetime, state: HealthState, error: Retryable, after_s: float | None) -> None:
        """Give up all fetches; only the running one if the source could read the rest. Then a backfill leaves the health as it is."""
        fetch = self._fetch
        if not error.partial or fetch is None:
            self._fail(now, state, error.message, error.remedy, after_s=after_s)
            return
        fetch.unread = error.message
        if fetch.is_poll:
            self._poll_was_partial, self._partial_began = True, fetch.began
        if fetch.gap is not None:
            self.state.gap_wait = RememberedDeadline.after(GAP_WAIT_S, self.clock)
        if fetch.days is not None:
            self._stop_running()
            log.warning('days_not_read source=%s first=%s last=%s reason="%s"', self.name, *fetch.days, error.message)
        else:
            self._fail(now, state, error.message, error.remedy, after_s=after_s, others=True)

    def _fail(
        self,
        now: datetime,
        state: HealthState,
        message: str,
        remedy: str | None,
        *,
        after_s: float | None = None,
        others: bool = False,
    ) -> None:
        """Give up all fetches, or with ``others`` only the running one.

        Then the wait stays short: the other data should not be late.
        """
        self._stop_running()
        if not others:
            self.stop()
            self._poll_was_partial = False
        before = self.state.health
        failures = before.failures + 1
        not_before = None
        if state != HealthState.REFUSED:
            if others:
                failures = 1 if state == HealthState.CHANGED else min(failures, PARTIAL_GROWTH)
            wait_s = backoff_s(failures, after_s=after_s, rng=self.rng, grows=state != HealthState.CHANGED)
            not_before = RememberedDeadline.after(wait_s, self.clock)
        if before.state != state or before.message != message:
            log.warning('source_trouble source=%s state=%s message="%s"', self.name, state, message)
        health = Health(
            state=state, message=message, remedy=remedy, failures=before.failures + 1, not_before=not_before,
            fingerprint=self.credentials_fingerprint,
        )  # fmt: skip
        self.state.health = health.with_since(before, now)
        self._save()

    def _fail_unexpectedly(self, now: datetime, error: Exception, *, is_appending: bool) -> None:
        """``is_appending``: the log failed, and not the source or its files."""
        storage = storage_error(error, self.events.data_dir)
        remedy = None if storage is None else storage_remedy(storage, self.events.data_dir)
        if remedy is None or not is_appending:
            log.error("source_failed source=%s", self.name, exc_info=error)
        if is_without_threads(error):
            self._fail(now, HealthState.WAITING, NO_THREAD, TOO_MANY_THREADS)
        elif storage is None or remedy is None:
            remedy = "This is a bug in the source's plugin. The program's log has the details. The daemon retries."
            self._fail(now, HealthState.BACKING_OFF, f"the source failed unexpectedly: {type(error).__name__}", remedy)
        elif is_appending:
            self._fail(now, HealthState.WAITING, f"the event log cannot be written: {storage.strerror}", remedy)
        elif storage.filename:
            self._fail(now, HealthState.WAITING, f"{storage.filename} cannot be used: {storage.strerror}", remedy)
        else:
            self._fail(now, HealthState.WAITING, f"the disk cannot be used: {storage.strerror}", remedy)

    def _save(self) -> None:
        try:
            self.state.save()
        except OSError as error:
            log.warning("state_not_saved source=%s reason=%s", self.name, error.strerror)
