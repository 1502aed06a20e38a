"""Leases, fencing, appends and snapshots on a real server behave as a small model of them, in any order (a Hypothesis state machine)."""

from __future__ import annotations

import contextlib
import itertools
import shutil
import zlib
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import cast

import attrs
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from nacl.public import PrivateKey, SealedBox
from nats.errors import Error as NatsError

from tconnectsync import LogEnd, ReplicaFailed, Retryable
from tconnectsync_fleet.lease import SAFE_SHARE, WorkerLease
from tconnectsync_fleet.people import Member
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.servers import WORKERS, NatsLogin, Servers, set_up
from tconnectsync_fleet.snapshot_plan import SnapshotLane
from tconnectsync_fleet.stream_replica import StreamReplica, TakenOver
from tests.e2e.installation import eventually
from tests.fleet.lost_answers import lost_answers
from tests.support.nats_servers import server_in
from tests.support.real_servers import Server

LIFE_S = 300.0
"""The servers end no lease by themselves during a test; the state machine does."""
OUTBOX = "outbox/light.sqlite"
LONG_AGO = datetime(2001, 1, 1, tzinfo=timezone.utc)
WORKER_NAMES, PEOPLE_NAMES = ("w1", "w2"), ("anna", "berta")
workers, people = st.sampled_from(WORKER_NAMES), st.sampled_from(PEOPLE_NAMES)
_numbers = itertools.count(1)


@attrs.frozen
class ModelSnapshot:
    """The outbox of a snapshot, and the number that it was stored as."""

    outbox: str | None
    number: int


class DoubtingEngine:
    """Marks outboxes that are older copies."""

    def mark_older(self, data_dir: Path, since: datetime) -> None:
        path = data_dir / OUTBOX
        if path.exists():
            path.write_text(doubted(path.read_text()))


def doubted(outbox: str) -> str:
    return f"{outbox}?"


@attrs.define
class ModelPerson:
    """The model of one person: the batches of the log, whose it is, and the outbox that the next worker may use."""

    batches: list[bytes] = attrs.field(factory=list)
    messages: int = 0
    owner: str = ""
    snapshot: ModelSnapshot | None = None
    """The last snapshot that counts. If the log was given back, it has everything."""
    stored: int = 0
    """How many snapshots were stored: only the last one is there."""
    is_released: bool = False
    old: list[str] = attrs.field(factory=list)
    """The deliveries of old documents since somebody looked at the whole receiver. No outbox lacks one."""
    seen: dict[int, int] = attrs.field(factory=dict)
    """By replica: how many messages there were when it stored its last one."""
    senders: list[StreamReplica] = attrs.field(factory=list)
    outboxes: dict[str, tuple[set[str], str | None]] = attrs.field(factory=dict)
    """By worker: the claims that its disk knows, and its outbox."""


@attrs.define
class Process:
    """A worker: its lease, its runners, its clock."""

    lease: WorkerLease
    runners: dict[str, PersonRunner]
    now: list[float]


class FleetMachine(RuleBasedStateMachine):
    """The rules. A lease ends at the servers only after it has ended by the worker's own clock: that is what the margin is for."""

    def __init__(self, servers: Servers, server: Server, folder: Path) -> None:
        super().__init__()
        self.servers, self.server = servers, server
        self.number = next(_numbers)
        self.folder = folder / str(self.number)
        self.box = SealedBox(PrivateKey.generate())
        self.people = {name: ModelPerson() for name in PEOPLE_NAMES}
        self.processes: dict[str, Process] = {}
        self.live: dict[str, str] = {}
        self.old: list[tuple[str, StreamReplica]] = []

    def name(self, of: str) -> str:
        return f"{of}-{self.number}"

    def disk(self, worker: str, person: str) -> Path:
        return self.folder / worker / person

    def outbox(self, worker: str, person: str) -> str | None:
        path = self.disk(worker, person) / OUTBOX
        return path.read_text() if path.exists() else None

    # --- workers ----------------------------------------------------------------------------------------------------

    @initialize(restarts=st.sampled_from([0] * 7 + [1]))
    def begin_all(self, restarts: int) -> None:
        self.restarts = restarts
        for worker in WORKER_NAMES:
            self.begin(worker, starts_process=True)

    @rule(worker=workers, starts_process=st.sampled_from([False, False, True]))
    def begin(self, worker: str, starts_process: bool) -> None:
        """A worker takes a lease: after a restart on its disk, or because the one before is lost."""
        process = self.processes.get(worker)
        if process is not None and not starts_process and process.lease.holds():
            return
        if process is None or starts_process:
            for person, runner in ({} if process is None else process.runners).items():
                self.remember(person, runner)
            runners = {person: self.runner(worker, person) for person in PEOPLE_NAMES}
            process = Process(cast(WorkerLease, None), runners, [100.0])
        now = process.now
        process.lease = WorkerLease(self.servers, self.name(worker), lambda: now[0])
        process.lease.begin({"disk": worker})
        self.live[worker] = process.lease.owner
        self.processes[worker] = process

    def runner(self, worker: str, person: str) -> PersonRunner:
        member = Member(name=self.name(person), sealed=b"")
        engine = cast(FleetContext, DoubtingEngine())
        return PersonRunner(member, self.disk(worker, person), self.servers, self.box, engine)

    def remember(self, person: str, runner: PersonRunner) -> None:
        """What a process that has ended had sent may still arrive."""
        if runner._replica is not None:
            self.old.append((person, runner._replica))

    @rule(worker=workers)
    def another_of_that_name(self, worker: str) -> None:
        """Another disk cannot take a lease that somebody has."""
        if worker in self.live:
            with pytest.raises(Retryable):
                WorkerLease(self.servers, self.name(worker)).begin({"disk": "another"})

    @rule(worker=workers, share=st.sampled_from([0.1, 0.3, 0.6]))
    def time_passes(self, worker: str, share: float) -> None:
        self.processes[worker].now[0] += LIFE_S * share

    @rule(worker=workers, answers=st.booleans())
    def renew(self, worker: str, answers: bool) -> None:
        """A lease that holds can be renewed, also after an answer was lost; one that does not hold never comes back."""
        lease = self.processes[worker].lease
        held = lease.holds()
        with lost_answers(self.servers, unless=answers):
            assert lease.renew({"disk": worker}) == held

    @rule(worker=workers, disk_is_lost=st.sampled_from([False, False, True]))
    def expire(self, worker: str, disk_is_lost: bool) -> None:
        """The servers end a lease, later than the worker; perhaps because the computer has burnt down."""
        process = self.processes[worker]
        process.now[0] += LIFE_S * SAFE_SHARE
        self.servers.call(self.servers.bucket(WORKERS).purge(self.name(worker)))
        self.live.pop(worker, None)
        if disk_is_lost:
            for name, person in self.people.items():
                shutil.rmtree(self.disk(worker, name), ignore_errors=True)
                person.outboxes.pop(worker, None)
                self.remember(name, process.runners[name])
                process.runners[name] = self.runner(worker, name)

    # --- people -----------------------------------------------------------------------------------------------------

    @rule(worker=workers, name=people, knows=st.booleans(), answers=st.sampled_from([True, True, False]))
    def take(self, worker: str, name: str, knows: bool, answers: bool) -> None:
        """A person is free if nobody with a lease has it, whatever the worker knows of the others. The outbox fits the log.

        If the answer to the claim is lost, the worker counts as the owner, so that it gives the person back.
        """
        process, person = self.processes[worker], self.people[name]
        lease, runner = process.lease, process.runners[name]
        if not lease.holds():
            return
        was_sure = self.may_deliver(lease, runner)
        try:
            with lost_answers(self.servers, unless=answers):
                taken = runner.take(lease, set(self.live.values()) if knows else ())
            answers = True
        except ReplicaFailed:
            assert not answers
            taken = True
        if was_sure:
            assert taken
            return
        is_anothers = person.owner in self.live.values() and not person.is_released and person.owner != lease.owner
        assert taken != is_anothers
        if taken:
            claims, outbox = person.outboxes.get(worker, (set(), None))
            if person.owner not in claims:
                outbox = self.restored(person)
            assert self.outbox(worker, name) == outbox
            assert runner.is_owned
            person.outboxes[worker] = ({lease.owner} if answers else {lease.owner, person.owner}, outbox)
            person.owner, person.is_released = lease.owner, False
            self.was_stored(person, runner._replica if answers else None)
            if outbox is None:
                person.old.clear()  # it is rebuilt: the whole receiver is read back
            assert all(delivery in (outbox or "") for delivery in person.old)

    def restored(self, person: ModelPerson) -> str | None:
        """The outbox that a worker without a disk of its own finds. One that is not there does not count any more."""
        if person.snapshot is None or person.snapshot.number != person.stored:
            person.snapshot = None
            return None
        outbox = person.snapshot.outbox
        return outbox if person.is_released or outbox is None else doubted(outbox)

    @rule(worker=workers, name=people, is_old=st.booleans())
    def deliver_after_a_look(self, worker: str, name: str, is_old: bool) -> None:
        """The owner delivers. Before old documents are sent, the snapshot is given up."""
        process, person = self.processes[worker], self.people[name]
        runner = process.runners[name]
        if not self.may_deliver(process.lease, runner) or runner._replica is None:
            return
        replica = runner._replica
        knew = replica.last.older is not None
        replica.fence(LONG_AGO if is_old else datetime.now(timezone.utc))
        if is_old and knew:
            person.snapshot = None
            self.was_stored(person, replica)
        delivery = f"<{next(_numbers)}>"
        self.write(worker, name, delivery)
        if is_old:
            person.old.append(delivery)

    @rule(worker=workers, name=people, answers=st.sampled_from([True, True, False]))
    def store_a_snapshot(self, worker: str, name: str, answers: bool) -> None:
        """A snapshot of a person who stays, also by a worker that has just lost the person: then none counts any more."""
        runner, person = self.processes[worker].runners[name], self.people[name]
        replica = runner._replica
        if replica is None or not replica.lease_holds():
            return
        is_owner = person.owner == replica.owner and person.seen.get(id(replica)) == person.messages
        number = person.stored = person.stored + 1
        runner.snapshot_plan.lane = SnapshotLane()  # no pause after the last failure
        assert runner.snapshot_plan.lane.enter()
        try:
            with lost_answers(self.servers, unless=answers):
                runner._store_snapshot(replica, 0)
        except ReplicaFailed:
            assert not (is_owner and answers)
            runner.doubt()
        else:
            assert is_owner
            assert answers
        if is_owner:
            person.snapshot = ModelSnapshot(person.outboxes[worker][1], number)
            self.was_stored(person, replica if answers else None)

    @rule(worker=workers, name=people, answers=st.booleans())
    def turn(self, worker: str, name: str, answers: bool) -> None:
        """What a worker does with a person when nothing goes wrong."""
        self.take(worker, name, knows=True, answers=True)
        self.append(worker, name, answers)
        self.deliver(worker, name)

    @rule(worker=workers, name=people, is_old=st.booleans(), answers=st.booleans())
    def lose_the_computer(self, worker: str, name: str, is_old: bool, answers: bool) -> None:
        """A worker stores a snapshot, delivers more and is lost with its disk; the other one takes over what it can have."""
        for each in WORKER_NAMES:
            self.begin(each, starts_process=False)
        self.turn(worker, name, answers=True)
        self.store_a_snapshot(worker, name, answers)
        self.turn(worker, name, answers=True)
        self.deliver_after_a_look(worker, name, is_old)
        self.expire(worker, disk_is_lost=True)
        self.turn(*({*WORKER_NAMES} - {worker}), name, answers=True)

    @rule(worker=workers, name=people, answers=st.booleans())
    def hand_over(self, worker: str, name: str, answers: bool) -> None:
        """A worker gives a person back after a turn."""
        self.begin(worker, starts_process=False)
        self.turn(worker, name, answers=True)
        self.release(worker, name, answers)

    @rule(worker=workers, name=people)
    def deliver(self, worker: str, name: str) -> None:
        """Something is written into the outbox, also by a worker that does not know yet that it has lost the person."""
        if self.processes[worker].runners[name]._replica is not None:
            self.write(worker, name, worker)

    def write(self, worker: str, name: str, delivery: str) -> None:
        claims, outbox = self.people[name].outboxes[worker]
        outbox = f"{outbox or ''}{delivery}"
        path = self.disk(worker, name) / OUTBOX
        path.parent.mkdir(exist_ok=True)
        path.write_text(outbox)
        self.people[name].outboxes[worker] = (claims, outbox)

    @rule(worker=workers, name=people, answers=st.booleans())
    def append(self, worker: str, name: str, answers: bool) -> None:
        """Only the owner's appends are stored, and only while its lease holds. An answer that is lost is an error."""
        runner = self.processes[worker].runners[name]
        replica = runner._replica
        if replica is None:
            return
        try:
            with lost_answers(self.servers, unless=answers):
                self.publish(name, replica, may=replica.lease_holds(), answers=answers, send=replica.append)
        except ReplicaFailed:
            runner.doubt()

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def late_append(self, data: st.DataObject) -> None:
        """What a dead worker had sent arrives: it counts only if nobody has claimed the log since."""
        name, replica = data.draw(st.sampled_from(self.old))

        def send(lines: bytes, end: LogEnd) -> None:
            replica._publish(zlib.compress(lines), end, older=replica.last.older)

        with contextlib.suppress(ReplicaFailed):
            self.publish(name, replica, may=True, answers=True, send=send)

    def publish(
        self, name: str, replica: StreamReplica, *, may: bool, answers: bool, send: Callable[[bytes, LogEnd], None]
    ) -> None:
        """Send a batch; it is stored only if the model says so. Errors: ReplicaFailed, where the model says so."""
        person = self.people[name]
        is_stored = may and person.owner == replica.owner and person.seen.get(id(replica)) == person.messages
        position = len(person.batches) + 1
        batch = f"batch {position}\n".encode()
        try:
            send(batch, LogEnd(position, 0))
        except ReplicaFailed:
            assert not (is_stored and answers)
            raise
        else:
            assert is_stored
            assert answers
        finally:
            if is_stored:
                person.batches.append(batch)
                self.was_stored(person, replica if answers else None)

    def was_stored(self, person: ModelPerson, replica: StreamReplica | None) -> None:
        """One more message is in the stream; its sender knows, unless it is None."""
        person.messages += 1
        if replica is not None:
            person.seen[id(replica)] = person.messages
            person.senders.append(replica)  # an id belongs to one object as long as it lives

    @rule(worker=workers, name=people)
    def publish_twice(self, worker: str, name: str) -> None:
        """A message that arrives a second time is refused."""
        person, replica = self.people[name], self.processes[worker].runners[name]._replica
        if replica is not None and person.batches:
            again = StreamReplica(self.servers, replica.person, replica.owner)
            with pytest.raises(TakenOver):
                again._publish(zlib.compress(person.batches[0]), LogEnd(1, 0))

    @rule(worker=workers, name=people, answers=st.booleans())
    def release(self, worker: str, name: str, answers: bool) -> None:
        """A person is given back with the outbox, but not by a worker that has lost its lease.

        If the answer is lost, the worker gives the person back again, or looks whose the log is before it goes on.
        """
        runner, person = self.processes[worker].runners[name], self.people[name]
        replica = runner._replica
        gives = (
            replica is not None and replica.lease_holds() and person.owner == replica.owner and not person.is_released
        )
        try:
            with lost_answers(self.servers, unless=answers):
                runner.release()
        except ReplicaFailed:
            assert gives
            assert not answers
        else:
            assert answers or not gives
        assert runner.is_owned == (gives and not answers)
        if gives:
            person.stored += 1
            person.is_released, person.snapshot = True, ModelSnapshot(person.outboxes[worker][1], person.stored)
            self.was_stored(person, replica if answers else None)

    @precondition(lambda self: self.restarts > 0)
    @rule()
    def kill_the_server(self) -> None:
        """SIGKILL for the server, and a new one on its disk."""
        self.restarts -= 1
        self.server.kill()
        self.server.start()
        eventually(self.is_connected, "the connection")

    def is_connected(self) -> bool:
        with contextlib.suppress(Retryable, NatsError):
            return self.servers.bucket_state(WORKERS).last_revision >= 0
        return False

    # --- what is true at any time -----------------------------------------------------------------------------------

    def may_deliver(self, lease: WorkerLease, runner: PersonRunner) -> bool:
        replica = runner._replica
        return lease.holds() and replica is not None and replica.owner == lease.owner and not runner._is_doubtful

    @invariant()
    def nobody_delivers_for_another(self) -> None:
        """Only the owner of the log may deliver: never two at once."""
        for process in self.processes.values():
            for name, runner in process.runners.items():
                if self.may_deliver(process.lease, runner):
                    assert self.people[name].owner == process.lease.owner
                    assert not self.people[name].is_released

    def teardown(self) -> None:
        """The stream has what the owners' appends give."""
        for name, person in self.people.items():
            replica = StreamReplica(self.servers, self.name(name), "reader")
            assert replica.look().owner == person.owner
            assert replica.last.end.position == len(person.batches)
            assert list(replica.tail(0)) == person.batches


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, which may be killed."""
    server = server_in(tmp_path)
    server.start()
    yield server
    server.stop()


def test_model_of_leases_and_appends(server: Server, tmp_path: Path) -> None:
    """Random lives of two workers and two people."""
    servers = Servers(NatsLogin(servers=[f"nats://127.0.0.1:{server.port}"]), name="tests")
    set_up(servers, replicas=1, lease_s=LIFE_S)
    try:
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            lambda: FleetMachine(servers, server, tmp_path / "disks"),
            settings=settings(
                max_examples=20,
                stateful_step_count=40,
                phases=(Phase.reuse, Phase.generate),  # shrinking would take minutes
                suppress_health_check=list(HealthCheck),
            ),
        )
    finally:
        servers.close()
