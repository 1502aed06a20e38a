"""One worker: it renews its lease, finds the people that it should have, and gives each a turn when something is due."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from nacl.public import PrivateKey, SealedBox
from nats.errors import Error as NatsError

from tconnectsync import ReplicaFailed, Retryable, TconnectsyncError
from tconnectsync_fleet.formats import NewerRelease
from tconnectsync_fleet.lease import RENEWALS, WorkerLease, live_workers, worker_for
from tconnectsync_fleet.log_person import log_person
from tconnectsync_fleet.outage import ServersOutage, connection_ended
from tconnectsync_fleet.people import Member, person_of
from tconnectsync_fleet.people_watch import PeopleWatch
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner, TurnOutcome
from tconnectsync_fleet.schedule import DueQueue, ScheduledPerson
from tconnectsync_fleet.servers import Entry, Servers
from tconnectsync_fleet.status import publish_status
from tconnectsync_fleet.stream_replica import TakenOver
from tconnectsync_fleet.turn_pool import TurnPool
from tconnectsync_fleet.vendor_limit import VendorLimit
from tconnectsync_fleet.worker_report import Rates, people_report

log = logging.getLogger("tconnectsync.fleet")
LOOK_S = 1.0
"""How often the worker looks for changed people and workers."""
BUSY_ELSEWHERE_S = 1.0
RETRY_S = (2.0, 300.0)
"""The shortest and the longest wait after a failure of one person's turn."""
SERVERS_RETRY_S = 10.0
"""The longest wait if the NATS servers failed: it was not this person's fault."""


@attrs.define(kw_only=True)
class Worker:
    """A worker. ``turns_per_minute``: how many turns, each of which may ask the vendor, may begin in a minute; 0: no limit."""

    name: str
    folder: Path
    servers: Servers
    box: SealedBox[PrivateKey] = attrs.field(repr=False)
    engine: FleetContext
    threads: int = 8
    turns_per_minute: float = 0.0
    disk: str = ""
    _stopping: threading.Event = attrs.field(factory=threading.Event)
    limit: VendorLimit = attrs.Factory(
        lambda self: VendorLimit(self.servers, stops=self._stopping.is_set), takes_self=True
    )
    people: dict[str, ScheduledPerson] = attrs.field(factory=dict)
    turns: int = 0
    failed_turns: int = 0
    _lease: WorkerLease | None = None
    _rates: Rates = attrs.field(factory=Rates)
    _live: Mapping[str, Any] = attrs.field(factory=dict)
    _watch: PeopleWatch = attrs.Factory(lambda self: PeopleWatch(self.servers), takes_self=True)
    _changed: set[str] = attrs.field(factory=set)
    """Whose entry changed since it was last found out who is wanted here."""
    _ended_leases: set[str] = attrs.field(factory=set)
    _turns_due: DueQueue = attrs.field(factory=DueQueue)
    _returns_due: DueQueue = attrs.field(factory=DueQueue)
    """Who is to be given back, or forgotten."""
    _next_turn: float = 0.0
    _outage: ServersOutage = attrs.field(factory=ServersOutage)
    _finished: threading.Event = attrs.field(factory=threading.Event)
    """Set when everything was given back: until then the lease is renewed."""

    def stop(self) -> None:
        """End after the turns that run. May be called from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Work until :meth:`stop`. Without a lease it waits for one.

        Errors: Retryable if the servers have ended the connection for good: a new process may log in with a new password.
        NewerRelease if the fleet's data have a newer format.
        """
        ended: Exception | None = None
        renewing = threading.Thread(target=self._keep_lease, name="lease", daemon=True)
        renewing.start()
        pool = TurnPool(self.threads)
        while not self._stopping.is_set():
            try:
                if not self.is_healthy():
                    self._begin_lease()
                self._look()
                self._outage.is_over()
            except (Retryable, NatsError) as error:
                self._outage.goes_on(error)
                if self.servers.is_closed:
                    ended = connection_ended(error)
                    self.stop()
            except NewerRelease as error:
                ended = error
                self.stop()
            except Exception:
                log.exception("fleet_not_read")  # one wrong entry must not stop the work for everybody
            until = time.monotonic() + LOOK_S
            while time.monotonic() < until and not self._stopping.is_set():
                if self.is_healthy():
                    self._start_turns(pool)
                self._stopping.wait(0.02)
        pool.finish(self._give_back, self.people.values())
        self._finished.set()
        renewing.join()
        if self._lease is not None:
            self._lease.end()
        if ended is not None:
            raise ended

    def is_healthy(self) -> bool:
        """Whether it has a lease, so that it can work."""
        return self._lease is not None and self._lease.holds()

    def report(self) -> dict[str, Any]:
        """Return what others see of this worker, as JSON values."""
        turns_a_minute, requests_a_minute = self._rates.per_minute(self.turns, self.limit.requests)
        return {
            "disk": self.disk,
            **people_report(list(self.people.values())),
            "turns": self.turns,
            "failed_turns": self.failed_turns,
            "requests": self.limit.requests,
            "turns_a_minute": round(turns_a_minute, 1),
            "requests_a_minute": round(requests_a_minute, 1),
        }

    @property
    def lease(self) -> WorkerLease:
        """The present lease, from :meth:`run` on."""
        if self._lease is None:
            raise RuntimeError("the worker does not run yet")
        return self._lease

    # --- the lease --------------------------------------------------------------------------------------------------

    def _begin_lease(self) -> None:
        lease = WorkerLease(self.servers, self.name)
        lease.begin(self.report())
        self._lease = lease
        log.info("lease_taken worker=%s owner=%s", self.name, lease.owner)

    def _keep_lease(self) -> None:
        while not self._finished.wait(self._lease.life_s / RENEWALS if self._lease else LOOK_S):
            lease = self._lease
            try:
                if lease is not None and lease.holds() and not lease.renew(self.report()):
                    log.warning("lease_lost owner=%s its people are left to others", lease.owner)
            except Exception:
                log.exception("lease_not_renewed")  # without this thread the worker would lose every lease

    # --- who works for whom -----------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Read which people and workers there are now. Errors: Retryable, NatsError."""
        self.limit.read()
        self._watch.look(self._read_person, self._forget_people)
        live = live_workers(self.servers)
        if live.keys() != self._live.keys():
            self._changed.update(self.people)
        self._live = live
        for name in self._changed & self.people.keys():
            scheduled = self.people[name]
            was_wanted, scheduled.is_wanted = scheduled.is_wanted, self._wants(scheduled)
            if scheduled.is_wanted and not was_wanted:
                scheduled.due = 0.0  # another worker may have left something to do
            self._plan(scheduled)
        self._changed.clear()

    def _forget_people(self) -> None:
        for scheduled in self.people.values():
            scheduled.removed, scheduled.removal = True, None
        self._changed.update(self.people)

    def _read_person(self, name: str, entry: Entry) -> None:
        self._changed.add(name)
        person = person_of(name, entry)
        scheduled = self.people.get(name)
        if person is None:
            if entry.value is not None:
                log.warning("person_unreadable name=%s add this person again with --replace", name)
            elif scheduled is None and self._folder_of(name).exists():
                scheduled = self.people[name] = self._scheduled(Member(name=name, sealed=b""))
            if scheduled is not None:
                scheduled.removed = True
                scheduled.removal = entry if entry.value is None else None
        elif scheduled is None:
            self.people[name] = self._scheduled(person)
        else:
            scheduled.runner.configure(person)
            scheduled.due, scheduled.failures, scheduled.removed, scheduled.removal = 0.0, 0, False, None

    def _folder_of(self, name: str) -> Path:
        return self.folder / "people" / name

    def _scheduled(self, person: Member) -> ScheduledPerson:
        runner = PersonRunner(
            person, self._folder_of(person.name), self.servers, self.box, self.engine, self.limit.wait, self._ended_leases,
        )  # fmt: skip
        return ScheduledPerson(runner)

    def _wants(self, scheduled: ScheduledPerson) -> bool:
        person = scheduled.runner.person
        return not scheduled.removed and not person.paused and worker_for(person.name, self._live) == self.name

    def _plan(self, scheduled: ScheduledPerson) -> None:
        """Queue a person whose turn ended, or about whom something changed."""
        if scheduled.is_wanted:
            self._turns_due.add(scheduled.due, scheduled)
        else:
            self._returns_due.add(scheduled.due_back, scheduled)

    def _start_turns(self, pool: TurnPool) -> None:
        """Start the turns that are due, at the configured rate, and give back what others should have."""
        now = time.monotonic()
        for scheduled in self._returns_due.take(now, pool.has_room):
            if scheduled.running or scheduled.is_wanted or scheduled.due_back > now:
                continue  # it is queued again when that ends
            if scheduled.runner.is_owned or scheduled.removal is not None:
                scheduled.running = True
                pool.start(self._give_back, scheduled)
            elif scheduled.removed:
                self.people.pop(scheduled.runner.person.name, None)
        for scheduled in self._turns_due.take(now, lambda: self._next_turn <= now and pool.has_room()):
            if scheduled.running or not scheduled.is_wanted or scheduled.due > now:
                continue
            if not pool.has_room_for(scheduled):
                self._turns_due.add(now + LOOK_S, scheduled)
                continue
            if self.turns_per_minute:
                self._next_turn = max(self._next_turn, now - 1.0) + 60.0 / self.turns_per_minute
            scheduled.running = True
            pool.start(self._turn, scheduled)

    # --- one turn ---------------------------------------------------------------------------------------------------

    def _turn(self, scheduled: ScheduledPerson) -> None:
        """Give one person a turn. Whatever goes wrong in it concerns nobody else."""
        person = scheduled.runner.person
        with log_person(person.name), scheduled.lock:
            if self._stopping.is_set() or not scheduled.is_wanted or not self.is_healthy():
                self._ended(scheduled)  # that changed while the turn was in the queue
                return
            try:
                pause_s = self._work(scheduled)
                scheduled.failures = 0
            except TakenOver as error:
                log.warning('log_not_owned message="%s"', error.message)
                scheduled.runner.doubt()
                self.failed_turns += 1
                pause_s = _with_jitter(RETRY_S[0])
            except (TconnectsyncError, NatsError, OSError) as error:
                log.warning('turn_failed message="%s"', error)
                pause_s = self._after_failure(scheduled)
                if isinstance(error, ReplicaFailed):
                    scheduled.runner.doubt()
                    pause_s = min(pause_s, _with_jitter(SERVERS_RETRY_S))
                scheduled.status = int(getattr(error, "person_status", getattr(error, "exit_status", 1)))
                self._publish(person.name, status=scheduled.status, lines=[str(error)])
            except Exception as error:
                log.exception("turn_failed")  # the border between people
                pause_s = self._after_failure(scheduled)
                lines = [f"failed unexpectedly ({type(error).__name__}); see the worker's log"]
                scheduled.status = 1
                self._publish(person.name, status=1, lines=lines)
            if scheduled.runner.person is not person:
                pause_s = 0.0  # it was changed meanwhile
            scheduled.due = time.monotonic() + pause_s
            self._ended(scheduled)

    def _ended(self, scheduled: ScheduledPerson) -> None:
        scheduled.running = False
        self._plan(scheduled)

    def _work(self, scheduled: ScheduledPerson) -> float:
        owners = {report.get("owner", "") for report in self._live.values()}
        if not scheduled.runner.take(self.lease, owners):
            return BUSY_ELSEWHERE_S
        self.turns += 1
        outcome = scheduled.runner.work(self._stopping.is_set)
        self._publish_outcome(scheduled, outcome)
        return outcome.due_s

    def _after_failure(self, scheduled: ScheduledPerson) -> float:
        scheduled.failures += 1
        scheduled.published = None
        self.failed_turns += 1
        shortest, longest = RETRY_S
        return _with_jitter(min(longest, shortest * 2.0 ** min(scheduled.failures - 1, 10)))

    def _give_back(self, scheduled: ScheduledPerson) -> None:
        with log_person(scheduled.runner.person.name), scheduled.lock:
            try:
                removal = scheduled.removal
                if removal is None or not removal.purged:
                    scheduled.runner.release()
                if removal is not None and not scheduled.runner.forget(purged=removal.purged):
                    log.warning(
                        "folder_kept the stream does not have all of this person's log: see %s", scheduled.runner.folder
                    )
                scheduled.removal = None if scheduled.removal is removal else scheduled.removal
            except (TconnectsyncError, NatsError, OSError) as error:
                log.warning('not_given_back message="%s"', error)
                scheduled.due_back = time.monotonic() + RETRY_S[0]
            except Exception:
                log.exception("not_given_back")  # the border between people
                scheduled.due_back = time.monotonic() + RETRY_S[0]
            self._ended(scheduled)

    def _publish_outcome(self, scheduled: ScheduledPerson, outcome: TurnOutcome) -> None:
        scheduled.status, scheduled.last_fetch = int(outcome.status), outcome.last_fetch
        fetched = outcome.last_fetch and outcome.last_fetch.isoformat()
        state = (scheduled.status, outcome.lines)
        is_published = self._publish(
            scheduled.runner.person.name,
            status=scheduled.status,
            lines=outcome.lines,
            must_arrive=state != scheduled.published,
            records=outcome.records,
            last_fetch=fetched,
        )
        scheduled.published = state if is_published else None

    def _publish(self, name: str, *, lines: Iterable[str], must_arrive: bool = True, **found: Any) -> bool:
        """Publish a person's state for ``fleet status``, without secrets. False: it was not stored."""
        found |= {"lines": [self.engine.redact(line) for line in lines], "worker": self.name}
        try:
            publish_status(self.servers, name, found, must_arrive=must_arrive)
        except (Retryable, NatsError) as error:
            log.warning('status_not_published message="%s"', error)
            return False
        return True


def _with_jitter(pause_s: float) -> float:
    return pause_s * random.uniform(0.7, 1.3)  # noqa: S311 - so that not everybody comes at once
