"""The engine's loop: it polls, folds and delivers in small slices, so that every source and sink gets its turn."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

import attrs

from tconnectsync.clock import Clock
from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import EventLog
from tconnectsync.health.states import Health
from tconnectsync.ingest.gaps import open_gaps_by_source
from tconnectsync.ingest.poller import Poller
from tconnectsync.plugin.spec import Importer
from tconnectsync.reconcile.daily import MAX_SOURCE_AGE
from tconnectsync.retry.deadline import RememberedDeadline
from tconnectsync.runtime.memory_limit import return_free_memory
from tconnectsync.runtime.sending import Sending, SendingHere
from tconnectsync.runtime.sink_runner import SinkRunner
from tconnectsync.timeline.event_stream import EventStream, event_streams
from tconnectsync.timeline.resolver import TimelineResolver

log = logging.getLogger("tconnectsync.engine")
MAINTAIN_EVERY_S = 600.0
LONGEST_SLEEP_S = 60.0
STUCK_S = 1200.0
"""After so many seconds in one call of a receiver, nothing but the end of the process helps: systemd's watchdog may end it."""
LONGEST_WAIT_S = 1.0
"""At most so many seconds until a request, or a source that is due, gets its turn while batches are on their way."""


@attrs.define
class Engine:
    """Runs the sources and sinks of one data folder. The caller owns the folder's lock."""

    events: EventLog
    timelines: TimelineResolver
    clock: Clock
    pollers: Mapping[str, Poller]
    runners: Mapping[str, SinkRunner]
    sending: Sending = attrs.field(factory=SendingHere)
    unusable: Mapping[str, Health] = attrs.field(factory=dict)
    """The sinks that are on and could not be opened, with the reason."""
    importers: Sequence[Importer] = ()
    free_space: Callable[[], str | None] = lambda: None
    """Returns a sentence if the disk is almost full, else None."""
    append_depth: int = 0
    """Above 0 while events that belong together are appended: until then nothing is folded or delivered."""
    streams: dict[str, EventStream] = attrs.field(factory=dict)
    log_problem: LogCorrupt | None = None
    version: int = 0
    """Changes when the UTC times of a stream change."""
    _timeline_end: int = -1
    _refetched_until: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    _append_problem: str = ""
    _slow: str = ""
    """The sink after which the next pass begins."""
    _next_maintenance: RememberedDeadline | None = None

    def run_once(self, *, polling: bool = True, only: Sequence[str] | None = None) -> bool:
        """Run one slice of everything that is due. Return True if something was done.

        ``polling`` False starts no poll, but continues a running one. ``only`` names the sinks to run. When it returns True,
        batches may be on their way: see :meth:`finish_sending`. Errors: IndexCorrupt, ReplicaFailed; then everything must be
        opened again.
        """
        try:
            return self._run_due(polling=polling, only=only)
        except sqlite3.DatabaseError:
            self.events.discard_corrupt_index()
            raise

    def _run_due(self, *, polling: bool, only: Sequence[str] | None) -> bool:
        now = self.clock.now()
        worked = self._record_outcomes()
        for poller in self.pollers.values():
            due = poller.next_step(now)
            if poller.busy or (polling and due is not None and due <= now):
                worked = True
                try:
                    poller.step()
                except LogCorrupt as error:
                    self._note_corruption(error)
        if any(poller.running for poller in self.pollers.values()):
            return worked  # the events of a poll belong together: two pumps, a window and its clock changes
        if self.append_depth:
            return True
        placed = self._refresh_timeline()
        worked = self._run_sinks(now, only, placed=placed) or worked or self.sending.wait(LONGEST_WAIT_S)
        if not worked:
            self._maintain()
        return worked

    def _run_sinks(self, now: datetime, only: Sequence[str] | None, *, placed: bool) -> bool:
        """Give each sink its turn. After a slow one, such as a look at a site that hangs, the next pass begins with the others."""
        worked, names = False, list(self.runners)
        begin = names.index(self._slow) + 1 if self._slow in names else 0
        for name in (*names[begin:], *names[:begin]):
            runner = self.runners[name]
            if runner.delivery.is_sending or (only is not None and name not in only):
                continue
            health, began_s = runner.health, self.clock.monotonic()
            done = self._run_sink(runner, now, placed=placed)
            worked |= done
            if (done or runner.health != health) and self.clock.monotonic() - began_s > LONGEST_WAIT_S:
                self._slow = name
                return True
        return worked

    def _run_sink(self, runner: SinkRunner, now: datetime, *, placed: bool) -> bool:
        """Fold a slice, else deliver a batch. Without a timeline, only documents that were folded before are delivered."""
        with self._outbox_errors(runner):
            if placed and (
                runner.folding.fold(self.streams, version=self.version)
                or runner.folding.resolve_unclaimed(
                    self.streams, is_current=lambda since: self._all_sources_current(now, since)
                )
            ):
                return True
            due = runner.delivery.due(now)
            if due is not None and due <= now:
                self.events.fence(runner.delivery.outbox.queue.oldest() or now)
                return runner.delivery.deliver()
            begun = now - MAX_SOURCE_AGE
            return placed and runner.compare(
                self.streams, is_fresh=lambda partly: self._all_sources_current(now, begun, partly=partly)
            )
        return False

    def _record_outcomes(self) -> bool:
        """Record the outcomes of all batches that are back. Return True if a receiver processed something."""
        worked = False
        for runner in self.runners.values():
            with self._outbox_errors(runner):
                worked |= runner.delivery.collect()
        return worked

    def finish_sending(self, alive: Callable[[], None] = lambda: None) -> None:
        """Wait for the batches on their way, and record their outcomes. ``alive`` is called about once a second.

        Needed before anything else uses the receivers or the outboxes.
        """
        while self.sending.wait(LONGEST_WAIT_S):
            self._record_outcomes()
            alive()

    @property
    def is_stuck(self) -> bool:
        """Whether a receiver has not returned for so long that only the end of the process helps."""
        return any(runner.delivery.silent_s() > STUCK_S for runner in self.runners.values())

    @contextlib.contextmanager
    def _outbox_errors(self, runner: SinkRunner) -> Iterator[None]:
        """End the block at an error of the outbox. A corrupt one is rebuilt."""
        try:
            yield
        except sqlite3.OperationalError as error:
            log.warning('outbox_not_read sink=%s reason="%s"', runner.name, error)
        except sqlite3.DatabaseError as error:
            if type(error) is not sqlite3.DatabaseError:  # a programming error, not a corrupt file
                raise
            self.events.discard_corrupt_index()
            runner.rebuild_outbox(error)

    def next_due(self, longest_s: float | None = None) -> float:
        """Return the seconds until something is due, at most ``longest_s``; usually at most a minute."""
        now = self.clock.now()
        dues = [poller.next_step(now) for poller in self.pollers.values()] + [
            runner.delivery.due(now) for runner in self.runners.values()
        ]
        waits = [(due - now).total_seconds() for due in dues if due is not None]
        return max(0.0, min([LONGEST_SLEEP_S if longest_s is None else longest_s, *waits]))

    def _refresh_timeline(self) -> bool:
        """Resolve the UTC times of all streams again if the log has grown. New choices are facts, which are appended first."""
        refetched = {name: dict(poller.state.refetched_until) for name, poller in self.pollers.items()}
        if self._timeline_end == self.events.end and refetched == self._refetched_until:
            return True
        try:
            gaps_of_source = open_gaps_by_source(self.events, refetched)
            facts = self.timelines.pending_facts(self.clock.now()) if self.events.writable else []
            if facts:
                self.events.append(facts)
            streams = event_streams(self.events, self.timelines.resolve(), gaps_of_source)
        except LogCorrupt as error:
            self._note_corruption(error)
            return False
        except OSError as error:
            if self._append_problem != str(error):
                log.warning('facts_not_written reason="%s"', error)
            self._append_problem = str(error)
            return False
        self._append_problem = ""
        if any(stream.differs(self.streams.get(name)) for name, stream in streams.items()):
            self.version += 1
        self.streams = streams
        self._timeline_end, self._refetched_until = self.events.end, refetched
        return True

    def _all_sources_current(self, now: datetime, since: datetime | None = None, *, partly: bool = False) -> bool:
        """Whether the log has all data of the sources: each was read to its end recently (after ``since``), and has no open gap.

        ``partly``: what a source cannot read may be missing.
        """
        return bool(self.pollers) and all(
            poller.is_current(now, since, partly=partly) for poller in self.pollers.values()
        )

    @property
    def timeline_is_current(self) -> bool:
        """Whether the timeline includes all events of the log."""
        return self._timeline_end == self.events.end

    def _note_corruption(self, error: LogCorrupt) -> None:
        if self.log_problem is None:
            log.error('log_damaged message="%s" remedy="%s"', error.message, error.remedy)
        self.log_problem = error

    def _maintain(self) -> None:
        return_free_memory()
        if self._next_maintenance is not None and not self._next_maintenance.is_over(self.clock):
            return
        self._next_maintenance = RememberedDeadline.after(MAINTAIN_EVERY_S, self.clock)
        if not self.events.writable:
            return
        try:
            self.events.maintain()
        except LogCorrupt as error:
            self._note_corruption(error)
        except OSError as error:
            log.warning('maintenance_failed reason="%s"', error.strerror)

    def close(self) -> None:
        """Stop running polls and close all files. A batch that is not back stays in doubt."""
        self._record_outcomes()
        self.sending.close()
        for poller in self.pollers.values():
            poller.stop()
        for runner in self.runners.values():
            runner.outbox.close()
        self.events.close()
