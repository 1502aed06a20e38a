"""One worker: what fails is seen in the status, and nothing ends its work."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Container
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
import click
import pytest
from nacl.public import PrivateKey, SealedBox

from tconnectsync import ReplicaFailed, Retryable
from tconnectsync_fleet.lease import STOPPING, WorkerLease, may_have_lease, worker_for
from tconnectsync_fleet.people import Member
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.schedule import DueQueue, ScheduledPerson, TurnRate
from tconnectsync_fleet.servers import PEOPLE, STATUS, WORKERS, Servers, set_up
from tconnectsync_fleet.stream_replica import TakenOver
from tconnectsync_fleet.turn_pool import TurnPool
from tconnectsync_fleet.worker import Worker
from tconnectsync_fleet.worker_folder import WorkerFolder, check_worker_name
from tests.e2e.installation import eventually
from tests.fleet.conftest import HeldLease

SECRET = "a secret of a person"


@attrs.define
class FailingRunner:
    """A runner that fails."""

    person: Member
    error: Exception
    is_owned: bool = False

    def take(self, *_: Any) -> bool:
        raise self.error

    def doubt(self) -> None:
        pass


@attrs.define
class TextEngine:
    """Loads a person's configuration: its text."""

    loading: Callable[[], None] = lambda: None
    text: str = ""

    def for_person(self, path: Path, **_: Any) -> TextEngine:
        return TextEngine(self.loading, path.read_text())

    def config(self) -> None:
        self.loading()

    def redact(self, text: str) -> str:
        return text.replace(SECRET, "***")


def worker_in(folder: Path, servers: Servers, name: str = "w1", engine: TextEngine | None = None) -> Worker:
    box = SealedBox(PrivateKey.generate())
    return Worker(
        name=name, folder=folder, servers=servers, box=box, engine=cast(FleetContext, engine or TextEngine()), disk=name
    )


def wanted(worker: Worker, name: str, error: Exception) -> ScheduledPerson:
    """Somebody whom the worker should have, and whose turns fail."""
    worker._lease = cast(WorkerLease, HeldLease())
    runner = FailingRunner(Member(name=name, sealed=b""), error)
    return ScheduledPerson(cast(PersonRunner, runner), is_wanted=True, running=True)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), ReplicaFailed("RuntimeError: no room on the servers")])
def test_failure_is_in_the_status(servers: Servers, tmp_path: Path, error: Exception) -> None:
    """A failure is published, and the turn is repeated later: one that nobody foresaw, and one of the shared log."""
    worker = worker_in(tmp_path, servers)
    scheduled = wanted(worker, "unlucky", error)
    worker._turn(scheduled)
    entry = servers.changes(STATUS)["unlucky"]
    assert entry.value is not None
    published = json.loads(entry.value)
    assert published["status"]
    assert "RuntimeError" in published["lines"][0]
    assert scheduled.failures == 1
    assert scheduled.due > 0
    assert not scheduled.running


def test_status_of_a_failed_turn(servers: Servers, tmp_path: Path, new_name: Callable[[], str]) -> None:
    """It keeps when the source was last read, and shows no secret that is in an error."""
    worker, name = worker_in(tmp_path, servers, engine=TextEngine()), new_name()
    worker._states.publish(name, status=0, lines=[], last_fetch="2026-01-02T03:04:05+00:00")
    worker._turn(wanted(worker, name, Retryable(f"refused: {SECRET}")))
    entry = servers.changes(STATUS)[name]
    assert entry.value is not None
    published = json.loads(entry.value)
    assert published["last_fetch"] == "2026-01-02T03:04:05+00:00"
    assert published["status"]
    assert published["lines"] == ["refused: ***"]


@pytest.mark.parametrize(
    ("error", "longest_s"),
    [(TakenOver("another worker"), 3.0), (ReplicaFailed("no answer"), 20.0), (Retryable("the site is down"), 400.0)],
)
def test_waits_after_failures(servers: Servers, tmp_path: Path, error: Exception, longest_s: float) -> None:
    """A person waits long only for that person's own problems, not for those of the fleet's servers."""
    worker = worker_in(tmp_path, servers)
    scheduled = wanted(worker, "waiting", error)
    for _ in range(12):
        began = time.monotonic()
        worker._turn(scheduled)
    assert longest_s / 3 < scheduled.due - began
    assert scheduled.due - time.monotonic() < longest_s


def test_refused_appends_count_as_failing(servers: Servers, tmp_path: Path) -> None:
    """A person whose appends are refused again and again is in the metrics, although the next try comes soon."""
    worker = worker_in(tmp_path, servers)
    scheduled = wanted(worker, "refused", TakenOver("another worker"))
    worker.people["refused"] = scheduled
    worker._turn(scheduled)
    assert worker.report()["failing"] == 1


@pytest.mark.parametrize("change", ["stop", "pause or removal", "no lease"])
def test_queued_turn_does_not_begin(servers: Servers, tmp_path: Path, change: str) -> None:
    """A turn that waited for a thread does nothing if meanwhile the worker ends, the person is not wanted, or the lease is lost."""
    worker = worker_in(tmp_path, servers)
    scheduled = wanted(worker, "queued", RuntimeError("the turn began"))
    if change == "stop":
        worker.stop()
    elif change == "no lease":
        worker._lease = cast(WorkerLease, HeldLease(is_held=False))
    else:
        scheduled.is_wanted = False
    worker._turn(scheduled)
    assert worker.failed_turns == scheduled.failures == 0
    assert not scheduled.running


def test_failure_that_cannot_be_dealt_with(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong while a failure is published, the person gets another turn."""

    def publish(*_: Any, **__: Any) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("tconnectsync_fleet.state_publisher.publish_status", publish)
    worker = worker_in(tmp_path, servers)
    scheduled = wanted(worker, "unlucky", Retryable("no answer"))
    with pytest.raises(ValueError, match="a bug"):
        worker._turn(scheduled)
    assert not scheduled.running
    assert not scheduled.lock.locked()
    assert time.monotonic() < scheduled.due < time.monotonic() + 1000.0
    assert scheduled in list(worker._turns_due.take(scheduled.due))


def test_turn_during_a_request(servers: Servers, tmp_path: Path) -> None:
    """It waits for the end of an operator's request in the queue, not in a thread."""
    worker = worker_in(tmp_path, servers)
    scheduled = wanted(worker, "asked", RuntimeError("the turn began"))
    with scheduled.lock:
        worker._turn(scheduled)
    assert worker.failed_turns == 0
    assert not scheduled.running
    assert scheduled in list(worker._turns_due.take(time.monotonic() + 5.0))


@attrs.define
class FreeRunner:
    """A runner of a person whom another worker has until ``is_free``. It notes who was alive."""

    person: Member
    is_free: bool = False
    alive: Container[str] = ()

    def take(self, _: Any, alive: Container[str]) -> bool:
        self.alive = alive
        return self.is_free

    def work(self, _: Any) -> Any:
        return SimpleNamespace(status=0, lines=(), due_s=60.0, records=1, last_fetch=None)


@attrs.define
class QueuedTurns:
    """A pool whose turns begin when the test says so."""

    places: int = 100
    gives_threads: bool = True
    turns: list[ScheduledPerson] = attrs.field(factory=list)

    def has_room(self) -> bool:
        return len(self.turns) < self.places

    def has_room_for(self, _: ScheduledPerson) -> bool:
        return True

    def start(self, _turn: Any, scheduled: ScheduledPerson) -> bool:
        self.turns.append(scheduled)
        return self.gives_threads


def test_refused_tries_are_no_turns(servers: Servers, tmp_path: Path) -> None:
    """``turns_per_minute`` counts turns from their start, not the tries to take people whom others still have."""
    worker, pool = worker_in(tmp_path, servers), QueuedTurns()
    worker._rate = TurnRate(1.0)
    worker._lease = cast(WorkerLease, HeldLease())
    runners = [FreeRunner(Member(name=f"moving-{number}", sealed=b"")) for number in range(3)]
    for runner in runners:
        worker._plan(ScheduledPerson(cast(PersonRunner, runner), is_wanted=True))
    worker._start_turns(cast(TurnPool, pool))
    (scheduled,) = pool.turns
    assert not worker._rate.allows()
    worker._turn(scheduled)
    assert worker._rate.allows()
    runners[1].is_free = True
    worker._start_turns(cast(TurnPool, pool))
    assert len(pool.turns) == 2
    worker._turn(pool.turns[1])
    assert not worker._rate.allows()


def test_turn_without_a_thread(servers: Servers, tmp_path: Path) -> None:
    """The system gives no thread: the worker continues, and the person is still in the queue. The turn does not count."""
    worker = worker_in(tmp_path, servers)
    worker._rate = TurnRate(1.0)
    worker._lease = cast(WorkerLease, HeldLease())
    runner = FreeRunner(Member(name="waiting", sealed=b""), is_free=True)
    scheduled = ScheduledPerson(cast(PersonRunner, runner), is_wanted=True)
    worker._plan(scheduled)
    pool = QueuedTurns(places=1, gives_threads=False)
    worker._start_turns(cast(TurnPool, pool))
    assert pool.turns == [scheduled]
    assert worker._rate.allows()
    assert list(worker._turns_due.take(time.monotonic() + 60.0)) == [scheduled]


def test_worker_that_stops(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and the others want its people before it has ended. It still owns whom it has not given back."""
    stopping = worker_in(tmp_path, servers)
    assert not stopping.report().get(STOPPING)
    stopping.stop()
    name = new_name()
    worker = worker_in(tmp_path, servers)
    worker._lease = cast(WorkerLease, HeldLease())
    servers.call(servers.bucket(PEOPLE).put(name, Member(name=name, sealed=b"x").value()))
    other = next(f"w{number}" for number in range(2, 100) if worker_for(name, ["w1", f"w{number}"]) != "w1")
    for report, is_wanted in (({"owner": "others"}, False), ({"owner": "others", **stopping.report()}, True)):
        monkeypatch.setattr("tconnectsync_fleet.worker.live_workers", lambda _, found=report: {"w1": {}, other: found})
        worker._look()
        assert worker.people[name].is_wanted == is_wanted
    runner = FreeRunner(worker.people[name].runner.person)
    worker.people[name].runner = cast(PersonRunner, runner)
    worker._turn(worker.people[name])
    assert "others" in runner.alive
    servers.call(servers.bucket(PEOPLE).purge(name))


def test_bucket_of_workers_that_is_lost(own_servers: Servers, tmp_path: Path) -> None:
    """While it is missing, no lease counts as ended. When it was created again, everybody may be alive for one lease."""
    worker = worker_in(tmp_path, own_servers)
    worker._begin_lease()
    worker._look()
    worker._ended_leases.add("w9.ended")
    assert not may_have_lease(own_servers, "w2.another")
    own_servers.call(own_servers.js.delete_key_value(WORKERS))
    with pytest.raises(Retryable):
        may_have_lease(own_servers, "w2.another")
    set_up(own_servers, replicas=1, lease_s=2.0)
    now = [100.0]
    worker._leases.monotonic = lambda: now[0]
    assert "w2.another" not in worker._leases.alive(())
    worker._look()
    assert "w2.another" in worker._leases.alive(())
    assert not worker._ended_leases
    now[0] += worker.lease.life_s
    assert "w2.another" not in worker._leases.alive(())


def test_changed_people_after_a_failed_look(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person whose entry was read just before the servers failed is served after the next look."""
    name = new_name()
    worker = worker_in(tmp_path, servers)
    worker._look()
    servers.call(servers.bucket(PEOPLE).put(name, Member(name=name, sealed=b"x").value()))

    def unreachable(_: Servers) -> Any:
        raise Retryable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr("tconnectsync_fleet.worker.live_workers", unreachable)
        with pytest.raises(Retryable):
            worker._look()
    worker._live = {"w1": {}}  # as before the failure; there may be other tests' workers
    monkeypatch.setattr("tconnectsync_fleet.worker.live_workers", lambda _: {"w1": {}})
    worker._look()
    assert worker.people[name].is_wanted
    servers.call(servers.bucket(PEOPLE).purge(name))


def test_changed_configuration_counts_from_the_next_turn(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str]
) -> None:
    """A configuration that was changed while the one before was loaded is used in the next turn."""
    engine = TextEngine()
    box = SealedBox(PrivateKey.generate())
    name = new_name()
    runner = PersonRunner(
        Member(name=name, sealed=box.encrypt(b"old")), tmp_path, servers, box, cast(FleetContext, engine)
    )
    lease = WorkerLease(servers, new_name())
    lease.begin({"disk": "a"})
    assert runner.take(lease, ())
    engine.loading = lambda: runner.configure(Member(name=name, sealed=box.encrypt(b"new")))
    assert cast(TextEngine, runner.context()).text == "old"
    engine.loading = lambda: None
    assert cast(TextEngine, runner.context()).text == "new"


def test_nothing_ends_the_work(own_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker survives an entry that is no JSON, a lease that fails for an unknown reason, and a bucket that is created again."""
    servers = own_servers
    worker = worker_in(tmp_path / "worker", servers)
    monkeypatch.setattr(Worker, "_start_turns", lambda *_: None)
    thread = threading.Thread(target=worker.run, daemon=True)
    people = servers.bucket(PEOPLE)
    servers.call(people.put("anna", Member(name="anna", sealed=b"x").value()))
    servers.call(people.put("/elsewhere", Member(name="b", sealed=b"x").value()))
    thread.start()
    try:
        eventually(lambda: list(worker.people) == ["anna"], "anna")
        servers.call(servers.bucket(WORKERS).put("junk", b"no JSON"))
        failed, renewed, original = threading.Event(), threading.Event(), WorkerLease.renew

        def renew(lease: WorkerLease, report: Any) -> bool:
            if not failed.is_set():
                failed.set()
                raise RuntimeError("a bug")
            renewed.set()
            return original(lease, report)

        monkeypatch.setattr(WorkerLease, "renew", renew)
        assert failed.wait(60)
        assert renewed.wait(60)
        eventually(worker.is_healthy, "a lease")
        servers.call(servers.js.delete_key_value(PEOPLE))
        set_up(servers, replicas=1, lease_s=2.0)
        servers.call(servers.bucket(PEOPLE).put("berta", Member(name="berta", sealed=b"x").value()))
        eventually(lambda: "berta" in worker.people, "berta")
        assert worker.people["anna"].removed
        eventually(lambda: worker.people["berta"].is_wanted, "berta's worker")
    finally:
        worker.stop()
        thread.join(60)
    assert not thread.is_alive()


def test_bucket_that_was_filled_again(own_servers: Servers, tmp_path: Path) -> None:
    """Between two looks the bucket of people was deleted, created and filled again, with more entries than before."""
    worker = worker_in(tmp_path, own_servers)

    def put(*names: str) -> None:
        for name in names:
            own_servers.call(own_servers.bucket(PEOPLE).put(name, Member(name=name, sealed=b"x").value()))

    put("anna", "berta")
    worker._look()
    own_servers.call(own_servers.js.delete_key_value(PEOPLE))
    set_up(own_servers, replicas=1, lease_s=2.0)
    put("carla", "dora", "berta", "emil")
    worker._look()
    assert {name for name, scheduled in worker.people.items() if not scheduled.removed} == {
        *("berta", "carla", "dora", "emil")
    }
    assert worker.people["anna"].removal is None  # the copies stay: nobody has removed this person


def test_entry_that_cannot_be_used_yet(
    own_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is read again at the next look, the others are used at once, and the log has one line about it."""
    worker = worker_in(tmp_path, own_servers)
    for name in ("anna", "berta", "carla"):
        own_servers.call(own_servers.bucket(PEOPLE).put(name, Member(name=name, sealed=b"x").value()))
    original = Worker._scheduled

    def scheduled(self: Worker, person: Member) -> ScheduledPerson:
        if person.name == "berta":
            raise OSError("the disk is full")
        return original(self, person)

    with monkeypatch.context() as patched:
        patched.setattr(Worker, "_scheduled", scheduled)
        worker._look()
        worker._look()
    assert worker.people.keys() == {"anna", "carla"}
    assert [record.levelname for record in caplog.records if "berta" in record.getMessage()] == ["ERROR"]
    worker._look()
    assert worker.people.keys() == {"anna", "berta", "carla"}


def test_person_who_comes_back_is_due_at_once(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person was given to another worker, which died: nobody waits for the time that was planned before that."""
    name = new_name()
    worker = worker_in(tmp_path, servers)
    servers.call(servers.bucket(PEOPLE).put(name, Member(name=name, sealed=b"x").value()))
    other = next(f"w{number}" for number in range(2, 100) if worker_for(name, ["w1", f"w{number}"]) != "w1")
    for live in ({"w1": {}}, {"w1": {}, other: {}}):
        monkeypatch.setattr("tconnectsync_fleet.worker.live_workers", lambda _, live=live: live)
        worker._look()
        worker.people[name].due = time.monotonic() + 1000.0  # as after a turn
    assert not worker.people[name].is_wanted
    monkeypatch.setattr("tconnectsync_fleet.worker.live_workers", lambda _: {"w1": {}})
    worker._look()
    assert worker.people[name] in list(worker._turns_due.take(time.monotonic()))
    assert worker.people[name].due <= time.monotonic()
    servers.call(servers.bucket(PEOPLE).purge(name))


def test_people_who_are_not_due_cost_nothing(servers: Servers, tmp_path: Path) -> None:
    """A look for whose turn it is takes out only those who are due, in the order of their time."""
    worker = worker_in(tmp_path, servers)
    people = {due: wanted(worker, f"due-{due}", RuntimeError()) for due in (30.0, 10.0, 20.0, 99.0)}
    queue = DueQueue()
    for due, scheduled in people.items():
        queue.add(due, scheduled)
    assert list(queue.take(9.0)) == []
    assert list(queue.take(30.0)) == [people[10.0], people[20.0], people[30.0]]
    assert list(queue.take(99.0, lambda: False)) == []
    assert list(queue.take(99.0)) == [people[99.0]]


def test_copied_folder_is_another_one(tmp_path: Path) -> None:
    """A folder keeps its identity over a restart; a copy of it, as in a computer's clone, has another one."""
    with WorkerFolder(tmp_path / "one") as first:
        pass
    with WorkerFolder(tmp_path / "one") as again:
        assert again.disk == first.disk
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    with WorkerFolder(tmp_path / "two") as copy:
        assert copy.disk != first.disk


@pytest.mark.parametrize("name", ["a b", "*", "", "w1.", "a/b", "w>", "a..b", "x" * 64])
def test_worker_name_that_is_no_key(name: str) -> None:
    """NATS would refuse it, or take it for many keys."""
    with pytest.raises(click.BadParameter, match="not a valid name"):
        check_worker_name(name)


@pytest.mark.parametrize("name", ["w1", "pi-4.local", "Worker_2", "a"])
def test_worker_name_that_is_a_key(name: str) -> None:
    assert check_worker_name(name) == name
