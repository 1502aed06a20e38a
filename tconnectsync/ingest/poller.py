"""Asks one source for news, request by request, and makes every answer durable before it asks on."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import random
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import CredentialsRefused, IndexCorrupt, LogCorrupt, Retryable, SourceChanged
from tconnectsync.eventlog import EventLog, Files, OsFiles, replace_file
from tconnectsync.events import Event
from tconnectsync.ingest.event_count import Brought
from tconnectsync.ingest.gaps import RefetchRange, next_missing
from tconnectsync.ingest.schedule import PollSchedule
from tconnectsync.plugin.source import Batch, Source
from tconnectsync.retry.backoff import backoff_s
from tconnectsync.retry.deadline import RememberedDeadline, remembering_converter
from tconnectsync.retry.state import HealthState, from_json, to_json, with_resume_hint

log = logging.getLogger("tconnectsync.polling")
CLOCK_TOLERANCE = timedelta(minutes=5)
CHANGED_WAIT_S = 3600.0
DISK_TROUBLE = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
LATELY = timedelta(days=1)


@attrs.frozen
class SourceHistory:
    """The part of the log that one source may know."""

    events: EventLog
    source: str

    def facts(self, kind: str, *, pump: str | None = None, limit: int = 100) -> Sequence[Event]:
        """See :class:`tconnectsync.plugin.source.History`."""
        return self.events.facts(kind, source=self.source, pump=pump, limit=limit)


@attrs.define
class UnknownRecordStats:
    """What a source brought that nobody knows: record codes with their counts, and events set aside as odd."""

    unknown_codes: dict[str, int] = attrs.field(factory=dict)
    set_aside: int = 0

    def count(self, events: Sequence[Event]) -> None:
        """Add the unknown ones of these."""
        for event in events:
            if event.kind == "unknown":
                if event.body.reason == "no such code":
                    self.unknown_codes[event.body.code] = self.unknown_codes.get(event.body.code, 0) + 1
                else:
                    self.set_aside += 1


@attrs.define
class SourceState:
    """What is remembered of a source between runs, in a small file; it can be deleted."""

    path: Path
    files: Files = attrs.field(factory=OsFiles)
    condition: HealthState = attrs.field(factory=HealthState)
    last_fetch: datetime | None = None
    last_began: datetime | None = None
    """When the read that ended at ``last_fetch`` began; None where an older release wrote the file."""
    next_poll: RememberedDeadline | None = None
    tally: UnknownRecordStats = attrs.field(factory=UnknownRecordStats)
    mended: dict[str, str] = attrs.field(factory=dict)
    """How far the days of each gap in the log were fetched again: see :func:`tconnectsync.ingest.gaps.next_missing`."""
    overruled: str = ""
    """The time of a record that was written by a clock that was ahead: the user said so."""

    @classmethod
    def load(cls, path: Path, files: Files | None = None) -> SourceState:
        """Read the file; an unreadable one is a fresh start."""
        files = files or OsFiles()
        memory = cls(path, files)
        try:
            found = json.loads(files.read(path))
            memory.condition = from_json(json.dumps(found["condition"]))
            memory.last_fetch = _time(found["last_fetch"])
            memory.last_began = _time(found.get("last_began"))
            memory.next_poll = _CONVERTER.structure(found["next_poll"], RememberedDeadline | None)  # type: ignore[arg-type]  # a union
            memory.tally = UnknownRecordStats(
                {str(k): int(v) for k, v in found["unknown_codes"].items()}, int(found["set_aside"])
            )
            memory.overruled = str(found.get("overruled", ""))
            memory.mended = {str(name): str(day) for name, day in found.get("mended", {}).items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls(path, files)
        return memory

    def save(self) -> None:
        """Write the file, all or nothing, durably."""
        found = {
            "condition": json.loads(to_json(self.condition)),
            "last_fetch": self.last_fetch and self.last_fetch.isoformat(),
            "last_began": self.last_began and self.last_began.isoformat(),
            "next_poll": _CONVERTER.unstructure(self.next_poll),
            "unknown_codes": self.tally.unknown_codes,
            "set_aside": self.tally.set_aside,
            "mended": self.mended,
            "overruled": self.overruled,
        }
        self.files.make_folder(self.path.parent)
        replace_file(self.files, self.path, json.dumps(found, indent=1).encode())


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


_CONVERTER = remembering_converter()
DAYS_AT_ONCE = 28


@attrs.define(eq=False)
class Fetch:
    """One thing asked of a source; ``state`` is waiting, running, done or failed. ``whole``: a poll of everything."""

    begin: Callable[[], Iterator[Batch]]
    whole: bool = False
    gap: RefetchRange | None = None
    state: str = "waiting"
    began: datetime | None = None
    brought: Brought = attrs.field(factory=Brought)

    @property
    def over(self) -> bool:
        """Whether nothing more comes of it."""
        return self.state in ("done", "failed")


@attrs.define
class Poller:
    """One source at work: at most one network request a step."""

    name: str
    source: Source
    events: EventLog
    clock: Clock
    memory: SourceState
    rhythm: PollSchedule
    mark: str
    rng: random.Random
    free_space: Callable[[], str | None]
    """None while there is room on the disk, else what is wrong in words."""
    progress: Batch = attrs.field(factory=Batch)
    _run: Fetch | None = None
    _batches: Iterator[Batch] | None = None
    _queue: deque[Fetch] = attrs.field(factory=deque)
    _looked: bool = False

    @property
    def running(self) -> bool:
        """Whether something is being read."""
        return self._run is not None

    @property
    def busy(self) -> bool:
        """Whether something is being read or was asked for."""
        return self._run is not None or bool(self._queue)

    @property
    def health(self) -> HealthState:
        """How it is doing."""
        return self.memory.condition

    def due(self, now: datetime) -> datetime | None:
        """When the next step may be; None: not by itself (refused credentials)."""
        if self.busy:
            return now
        condition = self.memory.condition
        if condition.state == "refused" and condition.mark == self.mark:
            return None
        self._look_for_gaps()
        deadlines = [
            each.time(self.clock) for each in (self.memory.next_poll, condition.not_before) if each is not None
        ]
        return max([now, *deadlines])

    def can_poll(self) -> bool:
        """Whether a poll that the user asks for may go out: a back-off or a refusal forbids it, the rhythm does not."""
        condition = self.memory.condition
        if condition.state == "damaged":  # a repair may have mended it; reading tells
            return True
        if condition.state == "refused" and condition.mark == self.mark:
            return False
        return condition.not_before is None or condition.not_before.is_over(self.clock)

    def is_current(self, now: datetime, since: datetime | None = None) -> bool:
        """Whether the source was read to its end within the last day, and what repairs took from the log was read again.

        ``since``: that read also began no earlier than this, for what it asked for first may be older than its end.
        """
        last, began = self.memory.last_fetch, self.memory.last_began
        if self.busy or last is None or not timedelta(0) <= now - last < LATELY:
            return False
        if since is not None and (began is None or began < since):
            return False
        with contextlib.suppress(LogCorrupt):
            return next_missing(self.events, self.name, self.memory.mended) is None
        return False

    def start(self) -> list[Fetch]:
        """Ask for a poll; one that is waiting or under way will do."""
        for run in (self._run, *self._queue):
            if run is not None and run.whole:
                return [run]
        poll = Fetch(lambda: self.source.poll(SourceHistory(self.events, self.name)), whole=True)
        self._queue.appendleft(poll)
        return [poll]

    def start_backfill(self, first: date, last: date, brought: Brought | None = None) -> list[Fetch]:
        """Ask for these pump-local days again, both inclusive: the newest part first, and others get their turn between.

        ``brought`` counts what comes of it.
        """
        brought = brought or Brought(self.events.end)
        parts = []
        while last >= first:
            begin = max(first, last - timedelta(days=DAYS_AT_ONCE - 1))
            parts.append(Fetch(self._backfill_of(begin, last), brought=brought))
            last = begin - timedelta(days=1)
        self._queue.extend(parts)
        return parts

    def _backfill_of(self, first: date, last: date) -> Callable[[], Iterator[Batch]]:
        return lambda: self.source.backfill(SourceHistory(self.events, self.name), first, last)

    def stop(self) -> None:
        """Give up what is under way and what was asked for; what came of it is in the log."""
        for run in (self._run, *self._queue):
            if run is not None:
                run.state = "failed"
        self._queue.clear()
        batches, self._run, self._batches = self._batches, None, None
        close = getattr(batches, "close", None)
        if close is not None:
            close()

    def _next_batch(self, now: datetime) -> Batch | None:
        """The next answer; None when the run is through."""
        if self._run is None:
            planned = self.memory.next_poll is None or self.memory.next_poll.is_over(self.clock)
            if not self._queue or (planned and not any(run.whole for run in self._queue)):
                self.start()
            self._run = self._queue.popleft()
            self._run.state, self._run.began = "running", now
            self._batches = self._run.begin()
        assert self._batches is not None  # noqa: S101 - it belongs to the run
        return next(self._batches, None)

    def step(self) -> None:
        """One request. Every outcome ends in the condition; only a damaged log is raised."""
        now = self.clock.now()
        try:
            trouble = self._host_problem(now)
            if trouble is not None:
                self._fail(now, "waiting", trouble[0], trouble[1], after_s=60.0)
                return
            batch = self._next_batch(now)
            if batch is None:
                self._ended(now)
                return
            appended = self.events.append(batch.events)
        except CredentialsRefused as error:
            self._fail(now, "refused", error.message, with_resume_hint(error.remedy, self.name))
        except SourceChanged as error:
            after_s = CHANGED_WAIT_S if error.after_s is None else error.after_s
            self._fail(now, "changed", error.message, error.remedy, after_s=after_s)
        except Retryable as error:
            self._fail(now, "backing_off", error.message, error.remedy, after_s=error.after_s)
        except LogCorrupt as error:
            self._fail(now, "damaged", error.message, error.remedy, after_s=600.0)
            raise
        except IndexCorrupt:
            raise
        except Exception as error:
            if isinstance(error, sqlite3.DatabaseError):
                self.events.refuse_harmed_index()
            # the border to a plugin: its fault must not stop the others
            if isinstance(error, OSError) and error.errno in DISK_TROUBLE:
                remedy = "Make room on the disk (or look at its health); nothing is lost, polling goes on by itself."
                self._fail(now, "waiting", f"the event log cannot be written: {error.strerror}", remedy)
                return
            log.exception("source_failed source=%s", self.name)
            remedy = "This is a bug of the source plugin; the log has the details. It is tried again."
            self._fail(now, "backing_off", f"the source failed unexpectedly: {type(error).__name__}", remedy)
        else:
            self.memory.tally.count(appended.events)
            if self._run is not None:
                self._run.brought.count(appended)
            self.progress = attrs.evolve(batch, events=())  # they are in the log; not kept until the next poll

    def resume(self) -> None:
        """Forget a refusal or a back-off: the user says it may be tried again, and that this computer's clock is right."""
        newest = self.events.facts("window.fetched", limit=1)
        self.memory.overruled = newest[0].received_at.isoformat() if newest else ""
        self.memory.condition = HealthState()
        self.memory.next_poll = None
        self.memory.save()

    def _host_problem(self, now: datetime) -> tuple[str, str] | None:
        newest = self.events.facts("window.fetched", limit=1)
        if (
            newest
            and now < newest[0].received_at - CLOCK_TOLERANCE
            and newest[0].received_at.isoformat() != self.memory.overruled
        ):
            since = f"{newest[0].received_at:%Y-%m-%d %H:%M} UTC"
            words = f"this computer's clock is behind the newest record of the log, which was written at {since}"
            remedy = "Wait for the time to be set, or look at `timedatectl`. If it is right and the record is not:"
            return words, f"{remedy} `tconnectsync resume {self.name}`."
        room = self.free_space()
        if room is not None:
            return room, "Make room on the disk; what is known is still delivered, and polling goes on by itself."
        return None

    def _look_for_gaps(self) -> None:
        """Once: what a repair took out of the log is not left until the next poll would have come by itself."""
        if not self._looked:
            self._looked = True
            with contextlib.suppress(LogCorrupt):  # the poll says so
                if next_missing(self.events, self.name, self.memory.mended) is not None:
                    self.memory.next_poll = None

    def _ended(self, now: datetime) -> None:
        """A run is through: go on with what a repair took out of the log, or wait for the next poll."""
        run, memory = self._run, self.memory
        assert run is not None  # noqa: S101 - it has just ended
        self._run = self._batches = None
        run.state = "done"
        if memory.condition.state != "ok":
            log.info("source_ok source=%s", self.name)
        memory.condition = memory.condition.turned(now, "ok")
        if run.gap is not None:
            memory.mended[run.gap.name] = run.gap.last.isoformat()
        if run.whole:
            memory.last_fetch = now
            memory.last_began = now if run.began is None else min(run.began, now)
            uploads = [fact.body.uploaded_at for fact in self.events.facts("upload.seen", source=self.name, limit=24)]
            wait = self.rhythm.next_poll(now, uploads) - now
            memory.next_poll = RememberedDeadline.after(wait.total_seconds(), self.clock)
        self._save()
        missing = next_missing(self.events, self.name, memory.mended)
        if missing is not None:
            log.info("gap_fetched_again source=%s first=%s last=%s", self.name, missing.first, missing.last)
            self._queue.appendleft(Fetch(self._backfill_of(missing.first, missing.last), gap=missing))

    def _fail(
        self, now: datetime, state: str, message: str, remedy: str | None, *, after_s: float | None = None
    ) -> None:
        self.stop()
        memory = self.memory
        failures = memory.condition.failures + 1
        not_before = None
        if state != "refused":
            wait_s = backoff_s(failures, after_s=after_s, rng=self.rng, grows=state != "changed")
            not_before = RememberedDeadline.after(wait_s, self.clock)
        if memory.condition.state != state or memory.condition.message != message:
            log.warning('source_trouble source=%s state=%s message="%s"', self.name, state, message)
        memory.condition = memory.condition.turned(
            now, state, message, remedy=remedy, failures=failures, not_before=not_before, mark=self.mark
        )
        self._save()

    def _save(self) -> None:
        try:
            self.memory.save()
        except OSError as error:
            log.warning("state_not_saved source=%s reason=%s", self.name, error.strerror)
