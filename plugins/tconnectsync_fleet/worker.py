"""One worker: it renews its lease, finds the people that it should have, and gives each a turn when something is due."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
from nacl.public import PrivateKey, SealedBox
from nats.errors import Error as NatsError

from tconnectsync import ReplicaFailed, Retryable, TconnectsyncError
from tconnectsync_fleet.folder_check import FolderCheck
from tconnectsync_fleet.formats import NewerRelease
from tconnectsync_fleet.lease import STOPPING, LeaseBucketWatch, WorkerLease, live_workers, serving, worker_for
from tconnectsync_fleet.lease_keeper import LeaseKeeper
from tconnectsync_fleet.log_person import log_person
from tconnectsync_fleet.outage import ServersOutage, connection_ended
from tconnectsync_fleet.people import Member, person_of
from tconnectsync_fleet.people_watch import PeopleWatch
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.schedule import DueQueue, ScheduledPerson, TurnRate, with_jitter
from tconnectsync_fleet.sealing import KeyProblem
from tconnectsync_fleet.servers import Entry, Servers
from tconnectsync_fleet.snapshot_plan import SnapshotLane, SnapshotPlan
from tconnectsync_fleet.state_publisher import StatePublisher
from tconnectsync_fleet.stream_replica import TakenOver
from tconnectsync_fleet.turn_pool import TurnPool
from tconnectsync_fleet.vendor_limit import VendorLimit
from tconnectsync_fleet.worker_report import Rates, people_report

log = logging.getLogger("tconnectsync.fleet")
LOOP_S = 0.02
"""How often the main loop looks for turns that are due, and whether the worker ends."""
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
    check_key: Callable[[Iterable[Member]], None] = lambda _: None
    """Called with everybody after each look. Errors: KeyProblem, with which the worker ends."""
    threads: int = 8
    turns_per_minute: float = 0.0
    snapshots_s: float = 0.0
    """How often everybody's outboxes are stored at the servers; 0: when a person is given back only."""
    disk: str = ""
    limit: VendorLimit = attrs.Factory(lambda self: VendorLimit(self.servers, stops=self._stops), takes_self=True)
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
    _snapshot_lane: SnapshotLane = attrs.field(factory=SnapshotLane)
    _leases: LeaseBucketWatch = attrs.Factory(
        lambda self: LeaseBucketWatch(self.servers, self._ended_leases), takes_self=True
    )
    _turns_due: DueQueue = attrs.field(factory=DueQueue)
    _returns_due: DueQueue = attrs.field(factory=DueQueue)
    """Who is to be given back, or forgotten."""
    _rate: TurnRate = attrs.Factory(lambda self: TurnRate(self.turns_per_minute), takes_self=True)
    _outage: ServersOutage = attrs.field(factory=ServersOutage)
    _keeper: LeaseKeeper = attrs.Factory(lambda self: LeaseKeeper(lambda: self._lease, self.report), takes_self=True)
    _states: StatePublisher = attrs.Factory(
        lambda self: StatePublisher(self.servers, self.engine, self.name), takes_self=True
    )
    _folder_check: FolderCheck = attrs.Factory(lambda self: FolderCheck(self.folder), takes_self=True)
    is_stopping: bool = False

    def stop(self) -> None:
        """End after the turns that run. It takes no lock, so a signal handler may call it."""
        self.is_stopping = True

    def _stops(self) -> bool:
        return self.is_stopping

    def run(self) -> None:
        """Work until :meth:`stop`. Without a lease it waits for one.

        Errors: Retryable if the servers have ended the connection for good: a new process may log in with a new password.
        NewerRelease if the fleet's data has a newer format. KeyProblem from ``check_key``.
        """
        ended: Exception | None = None
        self._keeper.start()
        pool = TurnPool(self.threads)
        while not self.is_stopping:
            try:
                self._folder_check.look()
                if not self.is_healthy():
                    self._begin_lease()
                self._look()
                self.check_key(each.runner.person for each in self.people.values() if not each.removed)
                self._outage.is_over()
            except (Retryable, NatsError) as error:
                self._outage.goes_on(error)
                if self.servers.is_closed:
                    ended = connection_ended(error)
                    self.stop()
            except (NewerRelease, KeyProblem) as error:
                ended = error
                self.stop()
            except Exception:
                log.exception("fleet_not_read")  # one wrong entry must not stop the work for everybody
            until = time.monotonic() + LOOK_S
            while time.monotonic() < until and not self.is_stopping:
                self._keeper.loop_goes_on()
                if self.is_healthy():
                    self._start_turns(pool)
                pool.wait(LOOP_S)
        self._keeper.loop_ended()
        pool.finish(self._give_back, self.people.values())
        self._keeper.finish()
        if self._lease is not None:
            self._lease.end()
        if ended is not None:
            raise ended

    def is_healthy(self) -> bool:
        """Whether it has a lease, so that it can work."""
        return self._lease is not None and self._lease.holds()

    def report(self) -> dict[str, Any]:
        """Return what others see of this worker, as JSON values."""
        return {
            "disk": self.disk,
            **people_report(list(self.people.values())),
            "turns": self.turns,
            "failed_turns": self.failed_turns,
            "requests": self.limit.requests,
            **self._rates.report(self.turns, self.limit.requests),
            **self._folder_check.report(),
            **({STOPPING: True} if self.is_stopping else {}),
        }

    @property
    def lease(self) -> WorkerLease:
        """The present lease, from :meth:`run` on."""
        if self._lease is None:
            raise RuntimeError("the worker does not run yet")
        return self._lease

    def _begin_lease(self) -> None:
        lease = WorkerLease(self.servers, self.name)
        lease.begin(self.report())
        (log.warning if self._lease else log.info)("lease_taken worker=%s owner=%s", self.name, lease.owner)
        self._lease = lease

    def _look(self) -> None:
        """Read which people and workers there are now. Errors: Retryable, NatsError."""
        self.limit.read()
        self._keeper.loop_goes_on()
        self._watch.look(self._read_person, self._forget_people)
        self._keeper.loop_goes_on()
        self._leases.look(self._lease.life_s if self._lease else 0.0)
        live = live_workers(self.servers)
        if serving(live) != serving(self._live):
            self._changed.update(self.people)
        self._live = live
        for name in self._changed & self.people.keys():
            self._keeper.loop_goes_on()  # a worker may have many people
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
        self._keeper.loop_goes_on()
        self._changed.add(name)
        person = person_of(name, entry)
        scheduled = self.people.get(name)
        if person is None:
            if entry.value is not None:
                log.warning("person_unreadable name=%s add this person again with --replace", name)
            elif scheduled is None and self._folder_of(name).exists():
                scheduled = self.people[name] = self._scheduled(Member(name=name, sealed=b""))
            if scheduled is not None:
                scheduled.removed, scheduled.removal = True, entry if entry.value is None else None
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
            SnapshotPlan(self.snapshots_s, self._snapshot_lane),
        )  # fmt: skip
        return ScheduledPerson(runner)

    def _wants(self, scheduled: ScheduledPerson) -> bool:
        person = scheduled.runner.person
        return not scheduled.removed and not person.paused and worker_for(person.name, serving(self._live)) == self.name

    def _plan(self, scheduled: ScheduledPerson) -> None:
        """Queue a person whose turn ended, or about whom something changed."""
        if scheduled.is_wanted:
            self._turns_due.add(scheduled.due, scheduled)
        else:
            self._returns_due.add(scheduled.due_back, scheduled)

    def plan_now(self, scheduled: ScheduledPerson) -> None:
        """Give a person a turn soon: an operator's request may have left something to do."""
        scheduled.due = 0.0
        self._plan(scheduled)

    def _start_turns(self, pool: TurnPool) -> None:
        """Start the turns that are due, at the configured rate, and give back what others should have."""
        now = time.monotonic()
        for scheduled in self._returns_due.take(now, pool.has_room):
            if scheduled.running or scheduled.is_wanted or scheduled.due_back > now:
                continue  # it is queued again when that ends
            if scheduled.runner.is_to_be_left or scheduled.removal is not None:
                if not pool.start(self._give_back, scheduled):
                    self._returns_due.add(now + LOOK_S, scheduled)
            elif scheduled.removed:
                self.people.pop(scheduled.runner.person.name, None)
        for scheduled in self._turns_due.take(now, lambda: self._rate.allows() and pool.has_room()):
            if scheduled.running or not scheduled.is_wanted or scheduled.due > now:
                continue
            if not pool.has_room_for(scheduled):
                self._turns_due.add(now + LOOK_S, scheduled)
                continue
            scheduled.was_taken = False
            self._rate.count()
            if not pool.start(self._turn, scheduled):
                self._rate.uncount()
                self._turns_due.add(now + LOOK_S, scheduled)

    # --- one turn ---------------------------------------------------------------------------------------------------

    def _turn(self, scheduled: ScheduledPerson) -> None:
        """Give one person a turn. Whatever goes wrong in it concerns nobody else, and the person gets another turn."""
        person = scheduled.runner.person
        if not scheduled.lock.acquire(blocking=False):  # an operator's request
            scheduled.due = time.monotonic() + BUSY_ELSEWHERE_S
            self._rate.uncount()
            self._ended(scheduled)
            return
        pause_s = RETRY_S[1]  # if even dealing with a failure fails
        try:
            with log_person(person.name):
                pause_s = self._attempt(scheduled)
        finally:
            if not scheduled.was_taken:
                self._rate.uncount()
            if scheduled.runner.person is not person:
                pause_s = 0.0  # it was changed meanwhile
            scheduled.due = time.monotonic() + pause_s
            scheduled.lock.release()
            self._ended(scheduled)

    def _attempt(self, scheduled: ScheduledPerson) -> float:
        """Do what is due, and deal with failures. Returns the seconds until the next turn."""
        person = scheduled.runner.person
        if self.is_stopping or not scheduled.is_wanted or not self.is_healthy():
            return 0.0  # that changed while the turn was in the queue
        try:
            pause_s = self._work(scheduled)
            scheduled.failures = 0
        except TakenOver as error:
            log.warning('log_not_owned message="%s"', error.message)
            scheduled.runner.doubt()
            self._after_failure(scheduled)
            pause_s = with_jitter(RETRY_S[0])
        except (TconnectsyncError, NatsError, OSError) as error:
            log.warning('turn_failed message="%s"', error)
            pause_s = self._after_failure(scheduled)
            if isinstance(error, ReplicaFailed):
                scheduled.runner.doubt()
                pause_s = min(pause_s, with_jitter(SERVERS_RETRY_S))
            scheduled.status = int(getattr(error, "person_status", getattr(error, "exit_status", 1)))
            self._states.publish_failure(person.name, scheduled.status, error)
        except Exception as error:
            log.exception("turn_failed")  # the border between people
            pause_s = self._after_failure(scheduled)
            lines = [f"failed unexpectedly ({type(error).__name__}); see the worker's log"]
            scheduled.status = 1
            self._states.publish(person.name, status=1, lines=lines)
        return pause_s

    def _ended(self, scheduled: ScheduledPerson) -> None:
        scheduled.running = False
        self._plan(scheduled)

    def _work(self, scheduled: ScheduledPerson) -> float:
        owners = {report.get("owner", "") for report in self._live.values()}
        if not scheduled.runner.take(self.lease, self._leases.alive(owners)):
            return BUSY_ELSEWHERE_S
        self.turns += 1
        scheduled.was_taken = True
        outcome = scheduled.runner.work(self._stops)
        self._states.publish_outcome(scheduled, outcome)
        return outcome.due_s

    def _after_failure(self, scheduled: ScheduledPerson) -> float:
        scheduled.failures += 1
        scheduled.published = None
        self.failed_turns += 1
        return with_jitter(min(RETRY_S[1], RETRY_S[0] * 2.0 ** min(scheduled.failures - 1, 10)))

    def _give_back(self, scheduled: ScheduledPerson) -> None:
        with log_person(scheduled.runner.person.name), scheduled.lock:
            try:
                removal = scheduled.removal
                if removal is None or not removal.purged:
                    scheduled.runner.release()
                if removal is not None and not scheduled.runner.forget(removal):
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
            finally:
                self._ended(scheduled)
