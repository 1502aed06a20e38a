"""Asks one source for news, request by request, and makes every answer durable before it asks on."""

from __future__ import annotations

import contextlib
import errno
import logging
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import CredentialsRefused, IndexCorrupt, LogCorrupt, Retryable, SourceChanged
from tconnectsync.eventlog import EventLog
from tconnectsync.ingest.event_count import EventCount
from tconnectsync.ingest.fetch import Fetch, FetchState, SourceHistory
from tconnectsync.ingest.gaps import next_refetch
from tconnectsync.ingest.moved_times import check_times
from tconnectsync.ingest.schedule import PollSchedule
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.plugin.source import Batch, Source
from tconnectsync.retry.backoff import backoff_s
from tconnectsync.retry.deadline import RememberedDeadline
from tconnectsync.retry.health import Health, HealthState, with_resume_hint

log = logging.getLogger("tconnectsync.polling")
CLOCK_TOLERANCE = timedelta(minutes=5)
CHANGED_WAIT_S = 3600.0
DISK_ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
CURRENT_FOR = timedelta(days=1)
DAYS_AT_ONCE = 28
"""Days of one backfill request: other fetches get their turn in between."""


@attrs.define
class Poller:
    """One source at work: at most one network request a step."""

    name: str
    source: Source
    events: EventLog
    clock: Clock
    state: SourceState
    schedule: PollSchedule
    credentials_fingerprint: str
    rng: random.Random
    free_space: Callable[[], str | None]
    """None while there is room on the disk, else what is wrong in words."""
    progress: Batch = attrs.field(factory=Batch)
    _fetch: Fetch | None = None
    _batches: Iterator[Batch] | None = None
    _queue: deque[Fetch] = attrs.field(factory=deque)
    _gaps_checked: bool = False

    @property
    def running(self) -> bool:
        """Whether something is being read."""
        return self._fetch is not None

    @property
    def busy(self) -> bool:
        """Whether something is being read or was asked for."""
        return self._fetch is not None or bool(self._queue)

    @property
    def health(self) -> Health:
        """How it is doing."""
        return self.state.health

    def next_step(self, now: datetime) -> datetime | None:
        """When the next step may be; None: not by itself (refused credentials)."""
        if self.busy:
            return now
        condition = self.state.health
        if condition.state == HealthState.REFUSED and condition.fingerprint == self.credentials_fingerprint:
            return None
        self._check_gaps_once()
        deadlines = (self.state.next_poll, condition.not_before)
        return max([now, *(each.time(now, self.clock) for each in deadlines if each is not None)])

    def can_poll(self) -> bool:
        """Whether a poll that the user asks for may go out: a back-off or a refusal forbids it, the rhythm does not."""
        condition = self.state.health
        if condition.state == HealthState.DAMAGED:  # a repair may have mended it; reading tells
            return True
        if condition.state == HealthState.REFUSED and condition.fingerprint == self.credentials_fingerprint:
            return False
        return condition.not_before is None or condition.not_before.is_over(self.clock)

    def is_current(self, now: datetime, since: datetime | None = None) -> bool:
        """Whether the source was read to its end within the last day, and what repairs took from the log was read again.

        ``since``: that read also began no earlier than this, for what it asked for first may be older than its end.
        """
        last, began = self.state.last_fetch, self.state.last_began
        if self.busy or last is None or not timedelta(0) <= now - last < CURRENT_FOR:
            return False
        if since is not None and (began is None or began < since):
            return False
        with contextlib.suppress(LogCorrupt):
            return next_refetch(self.events, self.name, self.state.refetched_until) is None
        return False

    def request_poll(self) -> list[Fetch]:
        """Ask for a poll; one that is waiting or under way will do."""
        for run in (self._fetch, *self._queue):
            if run is not None and run.is_poll:
                return [run]
        poll = Fetch(lambda: self.source.poll(SourceHistory(self.events, self.name)), is_poll=True)
        self._queue.appendleft(poll)
        return [poll]

    def start_backfill(self, first: date, last: date, brought: EventCount | None = None) -> list[Fetch]:
        """Ask for these pump-local days again, both inclusive: the newest part first, and others get their turn between.

        ``brought`` counts what comes of it.
        """
        brought = brought or EventCount(self.events.end)
        parts = []
        while last >= first:
            begin = max(first, last - timedelta(days=DAYS_AT_ONCE - 1))
            parts.append(Fetch(self._backfill_fetch(begin, last), event_count=brought))
            last = begin - timedelta(days=1)
        self._queue.extend(parts)
        return parts

    def _backfill_fetch(self, first: date, last: date) -> Callable[[], Iterator[Batch]]:
        return lambda: self.source.backfill(SourceHistory(self.events, self.name), first, last)

    def stop(self) -> None:
        """Give up what is under way and what was asked for; what came of it is in the log."""
        for run in (self._fetch, *self._queue):
            if run is not None:
                run.state = FetchState.FAILED
        self._queue.clear()
        batches, self._fetch, self._batches = self._batches, None, None
        close = getattr(batches, "close", None)
        if close is not None:
            close()

    def _next_batch(self, now: datetime) -> Batch | None:
        """The next answer; None when the run is through."""
        if self._fetch is None:
            planned = self.state.next_poll is None or self.state.next_poll.is_over(self.clock)
            if not self._queue or (planned and not any(run.is_poll for run in self._queue)):
                self.request_poll()
            self._fetch = self._queue.popleft()
            self._fetch.state, self._fetch.began = FetchState.RUNNING, now
            self._batches = self._fetch.start()
        assert self._batches is not None  # noqa: S101 - it belongs to the run
        return next(self._batches, None)

    def step(self) -> None:
        """One request. Every outcome ends in the condition; only a damaged log is raised."""
        now = self.clock.now()
        try:
            trouble = self._host_problem(now)
            if trouble is not None:
                self._fail(now, HealthState.WAITING, trouble[0], trouble[1], after_s=60.0)
                return
            batch = self._next_batch(now)
            if batch is None:
                self._finish(now)
                return
            check_times(self.events, batch.events)
            appended = self.events.append(batch.events)
        except CredentialsRefused as error:
            self._fail(now, HealthState.REFUSED, error.message, with_resume_hint(error.remedy, self.name))
        except SourceChanged as error:
            after_s = CHANGED_WAIT_S if error.after_s is None else error.after_s
            self._fail(now, HealthState.CHANGED, error.message, error.remedy, after_s=after_s)
        except Retryable as error:
            self._fail(now, HealthState.BACKING_OFF, error.message, error.remedy, after_s=error.after_s)
        except LogCorrupt as error:
            self._fail(now, HealthState.DAMAGED, error.message, error.remedy, after_s=600.0)
            raise
        except IndexCorrupt:
            raise
        except Exception as error:
            if isinstance(error, sqlite3.DatabaseError):
                self.events.discard_corrupt_index()
            # the border to a plugin: its fault must not stop the others
            if isinstance(error, OSError) and error.errno in DISK_ERRORS:
                remedy = "Make room on the disk (or look at its health); nothing is lost, polling goes on by itself."
                self._fail(now, HealthState.WAITING, f"the event log cannot be written: {error.strerror}", remedy)
                return
            log.exception("source_failed source=%s", self.name)
            remedy = "This is a bug of the source plugin; the log has the details. It is tried again."
            self._fail(now, HealthState.BACKING_OFF, f"the source failed unexpectedly: {type(error).__name__}", remedy)
        else:
            self.state.count_unknown(appended.events)
            if self._fetch is not None:
                self._fetch.event_count.count(appended)
            self.progress = attrs.evolve(batch, events=())  # they are in the log; not kept until the next poll

    def resume(self) -> None:
        """Forget a refusal or a back-off: the user says it may be tried again, and that this computer's clock is right."""
        newest = self.events.facts("window.fetched", limit=1)
        self.state.clock_override = newest[0].received_at.isoformat() if newest else ""
        self.state.health = Health()
        self.state.next_poll = None
        self.state.save()

    def _host_problem(self, now: datetime) -> tuple[str, str] | None:
        newest = self.events.facts("window.fetched", limit=1)
        if (
            newest
            and now < newest[0].received_at - CLOCK_TOLERANCE
            and newest[0].received_at.isoformat() != self.state.clock_override
        ):
            since = f"{newest[0].received_at:%Y-%m-%d %H:%M} UTC"
            words = f"this computer's clock is behind the newest record of the log, which was written at {since}"
            remedy = "Wait for the time to be set, or look at `timedatectl`. If it is right and the record is not:"
            return words, f"{remedy} `tconnectsync resume {self.name}`."
        room = self.free_space()
        if room is not None:
            return room, "Make room on the disk; what is known is still delivered, and polling goes on by itself."
        return None

    def _check_gaps_once(self) -> None:
        """Once: what a repair took out of the log is not left until the next poll would have come by itself."""
        if not self._gaps_checked:
            self._gaps_checked = True
            with contextlib.suppress(LogCorrupt):  # the poll says so
                if next_refetch(self.events, self.name, self.state.refetched_until) is not None:
                    self.state.next_poll = None

    def _finish(self, now: datetime) -> None:
        """A run is through: go on with what a repair took out of the log, or wait for the next poll."""
        run, memory = self._fetch, self.state
        assert run is not None  # noqa: S101 - it has just ended
        self._fetch = self._batches = None
        run.state = FetchState.DONE
        if not memory.health.is_ok:
            log.info("source_ok source=%s", self.name)
        memory.health = Health().with_since(memory.health, now)
        if run.gap is not None:
            memory.refetched_until[run.gap.name] = run.gap.last.isoformat()
        if run.is_poll:
            memory.last_fetch = now
            memory.last_began = now if run.began is None else min(run.began, now)
            uploads = [fact.body.uploaded_at for fact in self.events.facts("upload.seen", source=self.name, limit=24)]
            wait = self.schedule.next_poll(now, uploads) - now
            memory.next_poll = RememberedDeadline.after(wait.total_seconds(), self.clock)
        self._save()
        missing = next_refetch(self.events, self.name, memory.refetched_until)
        if missing is not None:
            log.info("gap_fetched_again source=%s first=%s last=%s", self.name, missing.first, missing.last)
            self._queue.appendleft(Fetch(self._backfill_fetch(missing.first, missing.last), gap=missing))

    def _fail(
        self, now: datetime, state: HealthState, message: str, remedy: str | None, *, after_s: float | None = None
    ) -> None:
        self.stop()
        memory = self.state
        failures = memory.health.failures + 1
        not_before = None
        if state != HealthState.REFUSED:
            wait_s = backoff_s(failures, after_s=after_s, rng=self.rng, grows=state != HealthState.CHANGED)
            not_before = RememberedDeadline.after(wait_s, self.clock)
        if memory.health.state != state or memory.health.message != message:
            log.warning('source_trouble source=%s state=%s message="%s"', self.name, state, message)
        health = Health(
            state=state, message=message, remedy=remedy, failures=failures, not_before=not_before,
            fingerprint=self.credentials_fingerprint,
        )  # fmt: skip
        memory.health = health.with_since(memory.health, now)
        self._save()

    def _save(self) -> None:
        try:
            self.state.save()
        except OSError as error:
            log.warning("state_not_saved source=%s reason=%s", self.name, error.strerror)
