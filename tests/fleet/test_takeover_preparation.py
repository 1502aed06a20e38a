"""Before a silent worker's lease ends, the workers that would get its people copy their logs, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import cast

import attrs
import pytest
from nacl.public import PrivateKey, SealedBox

from tconnectsync import ReplicaFailed
from tconnectsync.cli.invocation import Invocation
from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import EventLog
from tconnectsync_fleet.lease import WorkerLease, worker_for
from tconnectsync_fleet.people import Member
from tconnectsync_fleet.person_runner import PersonRunner
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.servers import Entry, Servers
from tconnectsync_fleet.stream_replica import SharedLogReader, StreamReplica, TakenOver
from tconnectsync_fleet.takeover_preparation import TakeoverPreparation
from tests.eventlog.sample_events import basal
from tests.fleet.conftest import HeldLease

PEOPLE = [f"person-{number}" for number in range(60)]
WORKERS = ("w1", "w2", "w3")
COMING = {name for name in PEOPLE if worker_for(name, WORKERS) == "w2" and worker_for(name, ("w1", "w3")) == "w1"}
"""Who works with w2, and comes to w1 without it."""


@attrs.define
class CountedRunner:
    """A runner that counts how often the log was copied."""

    person: Member
    copied: Callable[[str], None]
    error: Exception | None = None

    def copy_log(self) -> None:
        self.copied(self.person.name)
        if self.error is not None:
            raise self.error


@attrs.define
class PreparedWorker:
    """The worker w1 of three, whose leases last ten seconds."""

    now: float = 100.0
    copy_s: float = 0.0
    copies: list[str] = attrs.field(factory=list)
    revisions: dict[str, int] = attrs.field(factory=lambda: dict.fromkeys(WORKERS, 1))
    people: dict[str, ScheduledPerson] = attrs.field(factory=dict)
    preparation: TakeoverPreparation = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        for name in PEOPLE:
            runner = CountedRunner(Member(name=name, sealed=b""), self.copied)
            self.people[name] = ScheduledPerson(cast(PersonRunner, runner))
        lease = cast(WorkerLease, HeldLease(life_s=10.0))
        self.preparation = TakeoverPreparation(
            cast(Servers, None), "w1", lambda: lease, self.people, monotonic=lambda: self.now
        )
        self.look()

    def copied(self, name: str) -> None:
        self.copies.append(name)
        self.now += self.copy_s

    def look(self) -> None:
        entries = {
            name: Entry(revision=revision, value=json.dumps({"owner": f"{name}.1"}).encode())
            for name, revision in self.revisions.items()
        }
        self.preparation.look(entries)

    def after(self, seconds: float, *, renewed: Iterable[str]) -> list[str]:
        """Who was prepared after so long, if only these workers have renewed their leases."""
        self.copies.clear()
        self.now += seconds
        for name in renewed:
            self.revisions[name] += 1
        self.look()
        return sorted(self.copies)


def test_half_a_lease_without_a_renewal() -> None:
    """The people who come to this worker are prepared once, and once more when their worker was heard and is silent again."""
    worker = PreparedWorker()
    assert worker.after(4.0, renewed=("w1", "w3")) == []
    assert worker.after(1.0, renewed=()) == sorted(COMING)
    assert worker.after(1.0, renewed=("w1", "w3")) == []
    assert worker.after(1.0, renewed=WORKERS) == []
    assert worker.after(5.0, renewed=("w1", "w3")) == sorted(COMING)


def test_own_silence_and_an_ended_lease() -> None:
    """If not even this worker's renewals are stored, the NATS servers are silent. A worker without an entry has no people."""
    worker = PreparedWorker()
    assert worker.after(6.0, renewed=("w3",)) == []
    del worker.revisions["w2"]
    assert worker.after(6.0, renewed=("w1", "w3")) == []


def test_worker_that_is_heard_again_meanwhile() -> None:
    """With thousands of people, it is looked again each second whether the worker is still silent."""
    worker = PreparedWorker(copy_s=0.4)
    assert len(worker.after(5.0, renewed=("w1", "w3"))) == 3
    assert len(worker.after(0.1, renewed=())) == 3
    assert worker.after(0.1, renewed=WORKERS) == []


def test_who_is_left_alone() -> None:
    """Nobody who is paused, was removed, should be here already, or has a turn; and a failure concerns nobody else."""
    worker = PreparedWorker()
    paused, removed, wanted, busy, failing, *others = sorted(COMING)
    runners = {name: cast(CountedRunner, worker.people[name].runner) for name in COMING}
    runners[paused].person = attrs.evolve(runners[paused].person, paused=True)
    worker.people[removed].removed = True
    worker.people[wanted].is_wanted = True
    runners[failing].error = ReplicaFailed("no answer")
    with worker.people[busy].lock:
        assert worker.after(6.0, renewed=("w1", "w3")) == [failing, *others]
    assert not any(scheduled.lock.locked() for scheduled in worker.people.values())


def test_log_is_copied_and_stays_the_others(servers: Servers, tmp_path: Path, new_name: Callable[[], str]) -> None:
    """A copy changes nothing in NATS: the owner goes on, and the takeover reads only what came since."""
    owner = StreamReplica(servers, new_name(), "w2.1")
    owner.claim()
    engine = Invocation(environ={}, clock=SystemClock())
    runner = PersonRunner(
        Member(name=owner.person, sealed=b""), tmp_path / "mine", servers, SealedBox(PrivateKey.generate()), engine
    )
    runner.copy_log()
    assert not runner.folder.exists()  # there is nothing yet
    with closing(EventLog.open(tmp_path / "theirs", clock=SystemClock(), writable=True, replica=owner)) as log:
        log.append([basal(1)])
        runner.copy_log()
        assert not runner.is_owned
        assert [path.read_bytes() for path in (runner.folder / "log").iterdir()] == [
            path.read_bytes() for path in (tmp_path / "theirs" / "log").iterdir()
        ]
        log.append([basal(2)])
        everything = list(log.events())
    assert runner.take(cast(WorkerLease, HeldLease()), ())
    with closing(EventLog.open(runner.folder, clock=SystemClock(), writable=True, replica=runner._replica)) as log:
        assert list(log.events()) == everything


def test_reader_cannot_write(servers: Servers, new_name: Callable[[], str]) -> None:
    """Whatever the opening of a log wants to repair: somebody else's is not appended to."""
    owner = StreamReplica(servers, new_name(), "w2.1")
    owner.claim()
    reader = SharedLogReader(servers, owner.person)
    assert reader.end() == owner.last.end
    with pytest.raises(TakenOver):
        reader.append(b"a line\n", owner.last.end)
