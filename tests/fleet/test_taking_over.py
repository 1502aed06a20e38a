"""Who may take a person over, and with which outboxes, on a real server."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from nacl.public import PrivateKey, SealedBox
from nats.js import JetStreamContext

from tconnectsync import ReplicaFailed, Retryable
from tconnectsync_fleet import snapshots, stream_replica
from tconnectsync_fleet.formats import FORMAT, NewerRelease
from tconnectsync_fleet.lease import WorkerLease
from tconnectsync_fleet.people import Member
from tconnectsync_fleet.person_runner import MOST_ENDED, FleetContext, PersonContext, PersonRunner
from tconnectsync_fleet.servers import SNAPSHOTS, WORKERS, Servers
from tconnectsync_fleet.snapshots import restore_snapshot, store_snapshot
from tconnectsync_fleet.stream_replica import StreamReplica, TakenOver
from tests.fleet.lost_answers import lost_answers

OUTBOX = "outbox/light.sqlite"


@attrs.define
class Doubts:
    """An engine that remembers the folders whose outboxes it was told to doubt, and from when on."""

    told: list[tuple[str, datetime]] = attrs.field(factory=list)

    def mark_older(self, data_dir: Path, since: datetime) -> None:
        self.told.append((data_dir.name, since))


@attrs.define
class WorkerDisks:
    """Workers of one fleet, each with a disk of its own."""

    servers: Servers
    folder: Path
    doubts: Doubts = attrs.field(factory=Doubts)
    box: SealedBox[PrivateKey] = attrs.field(factory=lambda: SealedBox(PrivateKey.generate()))

    def lease(self, worker: str) -> WorkerLease:
        lease = WorkerLease(self.servers, worker)
        lease.begin({"disk": worker})
        return lease

    def runner(self, worker: str, person: str) -> PersonRunner:
        member = Member(name=person, sealed=b"")
        return PersonRunner(member, self.disk(worker), self.servers, self.box, cast(FleetContext, self.doubts))

    def give_back(self, person: str, lease: WorkerLease, outbox: str) -> PersonRunner:
        """Have the worker take the person, write this outbox, and give the person back."""
        runner = self.runner(lease.worker, person)
        assert runner.take(lease, ())
        self.write_outbox(lease.worker, outbox)
        runner.release()
        return runner

    def disk(self, worker: str) -> Path:
        return self.folder / worker

    def write_outbox(self, worker: str, content: str) -> None:
        path = self.disk(worker) / OUTBOX
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def outbox(self, worker: str) -> str | None:
        path = self.disk(worker) / OUTBOX
        return path.read_text() if path.exists() else None


@pytest.fixture
def workers(servers: Servers, tmp_path: Path) -> WorkerDisks:
    return WorkerDisks(servers, tmp_path)


def test_worker_that_has_just_begun_is_alive(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """A worker with an older picture of the fleet does not take a person from one that began since."""
    person, old, new = new_name(), new_name(), new_name()
    mine = workers.lease(old)
    picture = {mine.owner}
    other = workers.lease(new)
    assert workers.runner(new, person).take(other, {mine.owner, other.owner})
    assert not workers.runner(old, person).take(mine, picture)
    other.end()
    assert workers.runner(old, person).take(mine, picture)


def test_person_whom_another_worker_has(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """A refused runner keeps nothing of its earlier turns: neither the log nor the loaded configuration."""
    person, old, new = new_name(), new_name(), new_name()
    mine, other = workers.lease(old), workers.lease(new)
    runner = workers.runner(old, person)
    assert runner.take(mine, ())
    runner._context = (runner.person, cast(PersonContext, None))
    mine.end()
    assert workers.runner(new, person).take(other, ())
    runner.doubt()
    assert not runner.take(mine, {other.owner})
    assert not runner.is_owned
    assert runner._context is None


def test_newer_entry_of_an_owned_person(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """The worker says that it needs a newer release, also if it has the person already."""
    person, name = new_name(), new_name()
    lease, runner = workers.lease(name), workers.runner(name, person)
    assert runner.take(lease, ())
    runner.configure(Member(name=person, sealed=b"", format=FORMAT + 1))
    with pytest.raises(NewerRelease):
        runner.take(lease, ())


def test_ended_leases_are_bounded(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """Workers come and go for years: what is known of ended leases does not grow without limit."""
    runner = workers.runner(new_name(), new_name())
    runner.ended_leases.update(f"gone.{number}" for number in range(MOST_ENDED))
    assert not runner._has_lease("gone.another")
    assert runner.ended_leases == {"gone.another"}


def test_outboxes_of_an_earlier_claim_are_not_used(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """A disk's outboxes count only if the last claim was written with them. Without a snapshot there are none."""
    person, first, second = new_name(), new_name(), new_name()
    mine, other = workers.lease(first), workers.lease(second)
    assert workers.runner(first, person).take(mine, ())
    workers.write_outbox(first, "by the first")
    mine.end()
    again = workers.lease(first)
    assert workers.runner(first, person).take(again, ())
    assert workers.outbox(first) == "by the first"
    again.end()
    assert workers.runner(second, person).take(other, ())
    other.end()
    assert workers.runner(first, person).take(workers.lease(first), ())
    assert workers.outbox(first) is None


def test_snapshot_moves_with_the_person(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """A person who is given back brings the outboxes to the next worker, which has older ones."""
    person, first, second = new_name(), new_name(), new_name()
    mine, other = workers.lease(first), workers.lease(second)
    workers.write_outbox(second, "older")
    workers.give_back(person, mine, "newer")
    assert workers.runner(second, person).take(other, {mine.owner, other.owner})
    assert workers.outbox(second) == "newer"


def test_outboxes_of_a_refused_claim_are_not_used(
    workers: WorkerDisks, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot that was restored for a claim that came too late is older than what the earlier owner has done since: it is doubted."""
    person, first, second = new_name(), new_name(), new_name()
    mine, other = workers.lease(first), workers.lease(second)
    giving = workers.give_back(person, mine, "as it was given back")
    claim = stream_replica.StreamReplica.claim

    def too_late(replica: stream_replica.StreamReplica, older: stream_replica.OlderSnapshot | None) -> None:
        monkeypatch.setattr(stream_replica.StreamReplica, "claim", claim)
        assert giving.take(mine, ())  # whose share has changed once more
        claim(replica, older)

    monkeypatch.setattr(stream_replica.StreamReplica, "claim", too_late)
    late = workers.runner(second, person)
    with pytest.raises(stream_replica.TakenOver):
        late.take(other, {mine.owner, other.owner})
    mine.end()
    assert workers.runner(second, person).take(other, ())
    assert workers.outbox(second) == "as it was given back"
    assert [name for name, _ in workers.doubts.told] == [second]


def chunks_of(servers: Servers, person: str) -> str:
    async def found() -> str:
        store = await servers.js.object_store(SNAPSHOTS)
        return f"$O.{SNAPSHOTS}.C.{(await store.get_info(person)).nuid}"

    return servers.call(found())


@pytest.mark.parametrize("damage", ["lost", "half", "deleted", "another one"])
def test_damaged_snapshot_is_none(workers: WorkerDisks, new_name: Callable[[], str], damage: str) -> None:
    """A snapshot that is not complete, or not the one that was named, is not used, and nobody waits for its rest."""
    person, worker = new_name(), new_name()
    big = "x" * 20
    workers.write_outbox(worker, big + "".join(map(chr, range(48, 120))) * 9000)
    checksum = store_snapshot(workers.servers, person, workers.disk(worker), workers.box)
    js = workers.servers.js
    if damage == "lost":
        workers.servers.call(js.purge_stream(f"OBJ_{SNAPSHOTS}", subject=chunks_of(workers.servers, person)))
    elif damage == "half":
        workers.servers.call(js.purge_stream(f"OBJ_{SNAPSHOTS}", subject=chunks_of(workers.servers, person)))
        workers.servers.call(js.publish(chunks_of(workers.servers, person), b"more"))
    elif damage == "deleted":
        workers.servers.call(workers.servers.call(js.object_store(SNAPSHOTS)).delete(person))
    else:
        store_snapshot(workers.servers, person, workers.disk(worker), workers.box)
    target = workers.folder / "target"
    assert not restore_snapshot(workers.servers, person, target, workers.box, checksum)
    assert not target.exists()


def test_snapshot_not_answered(
    workers: WorkerDisks, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lost answer does not cost the snapshot: nothing is claimed, and the next turn tries again."""
    person, first, second = new_name(), new_name(), new_name()
    mine, theirs = workers.lease(first), workers.lease(second)
    workers.give_back(person, mine, "what was delivered")

    def no_answer(*_: Any) -> Any:
        raise Retryable("no answer")

    other = workers.runner(second, person)
    with monkeypatch.context() as patched:
        patched.setattr(snapshots, "_stored", no_answer)
        with pytest.raises(Retryable):
            other.take(theirs, ())
    assert not other.is_owned
    assert other.take(theirs, ())
    assert workers.outbox(second) == "what was delivered"


def test_no_snapshot_is_not_read(
    workers: WorkerDisks, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the log was given back without a snapshot, nobody waits for an older one, which may be slow to read."""
    person, first, second = new_name(), new_name(), new_name()
    mine, theirs = workers.lease(first), workers.lease(second)
    runner = workers.runner(first, person)
    assert runner.take(mine, ())

    def fails(*_: Any) -> Any:
        raise Retryable("NATS is slow")

    with monkeypatch.context() as patched:
        patched.setattr("tconnectsync_fleet.person_runner.store_snapshot", fails)
        runner.release()
    monkeypatch.setattr(snapshots, "_stored", fails)
    assert workers.runner(second, person).take(theirs, ())


def test_snapshot_read_while_a_server_dies(
    workers: WorkerDisks, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A snapshot of several parts is read without a consumer: the server that has it may die, and nothing more comes."""
    person, worker = new_name(), new_name()
    content = secrets.token_hex(200_000)
    workers.write_outbox(worker, content)
    checksum = store_snapshot(workers.servers, person, workers.disk(worker), workers.box)

    async def never(*_: Any, **__: Any) -> None:
        await asyncio.sleep(3600)

    monkeypatch.setattr(JetStreamContext, "subscribe", never)
    assert restore_snapshot(workers.servers, person, workers.disk("other"), workers.box, checksum)
    assert workers.outbox("other") == content


def test_deleted_stream_is_not_an_empty_log(
    workers: WorkerDisks, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the stream nobody takes a person over, and nothing on the disk is deleted."""
    person, worker = new_name(), new_name()
    mine = workers.lease(worker)
    assert workers.runner(worker, person).take(mine, ())
    workers.write_outbox(worker, "what was delivered")
    monkeypatch.setattr(stream_replica, "EVENTS", "deleted")
    with pytest.raises(ReplicaFailed) as caught:
        workers.runner(worker, person).take(mine, ())
    assert "restore" in (caught.value.remedy or "").lower()
    assert workers.outbox(worker) == "what was delivered"


def test_nothing_is_left_of_a_look(workers: WorkerDisks) -> None:
    """Reading a bucket leaves no consumer behind on the servers."""
    for _ in range(5):
        workers.servers.changes(WORKERS)
    info = workers.servers.call(workers.servers.js.stream_info(f"KV_{WORKERS}"))
    assert info.state.consumer_count == 0


def test_claim_without_an_answer(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """A worker that does not know whether its claim was stored gives the person back: nobody waits endlessly."""
    person, first, second = new_name(), new_name(), new_name()
    mine, other = workers.lease(first), workers.lease(second)
    runner = workers.runner(first, person)
    with lost_answers(workers.servers), pytest.raises(ReplicaFailed):
        runner.take(mine, ())
    assert not workers.runner(second, person).take(other, ())
    assert runner.is_owned
    runner.release()
    assert workers.runner(second, person).take(other, ())


def test_return_without_an_answer(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """A worker that does not know whether it has given a person back does nothing for this person before it has looked."""
    person, first, second = new_name(), new_name(), new_name()
    mine, other = workers.lease(first), workers.lease(second)
    runner, next_runner = workers.runner(first, person), workers.runner(second, person)
    assert runner.take(mine, ())
    with lost_answers(workers.servers), pytest.raises(ReplicaFailed):
        runner.release()
    assert runner.is_owned
    assert runner._replica is not None
    with pytest.raises(TakenOver):  # the engine asks for the end when it opens the log, also for an operator's request
        runner._replica.end()
    assert next_runner.take(other, {mine.owner, other.owner})
    assert not runner.take(mine, {mine.owner, other.owner})
    assert not runner.is_owned


def test_person_comes_back_after_a_lost_answer(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """Nobody else has taken the person: the worker does so again, with its own outboxes."""
    person, first = new_name(), new_name()
    mine, runner = workers.lease(first), workers.runner(first, person)
    assert runner.take(mine, ())
    workers.write_outbox(first, "what was delivered")
    with lost_answers(workers.servers), pytest.raises(ReplicaFailed):
        runner.release()
    assert runner.take(mine, {mine.owner})
    assert workers.outbox(first) == "what was delivered"
    assert StreamReplica(workers.servers, person, mine.owner).is_held()


def test_what_was_reported_moves_with_the_person(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """The next worker reports nothing again, and sends what waits; a disk that the person comes back to has nothing old."""
    person, first, second = new_name(), new_name(), new_name()
    mine, other = workers.lease(first), workers.lease(second)
    reported = {worker: workers.disk(worker) / "alerts.json" for worker in (first, second)}
    for worker, lease, text in [(first, mine, "a low reservoir"), (second, other, "the next reservoir")]:
        runner = workers.runner(worker, person)
        assert runner.take(lease, ())
        if worker == second:
            assert reported[second].read_text() == "a low reservoir"
            assert reported[second].stat().st_mode & 0o077 == 0
        reported[worker].write_text(text)
        runner.release()
    assert workers.runner(first, person).take(mine, ())
    assert reported[first].read_text() == "the next reservoir"


def test_nothing_old_is_left_of_what_was_reported(workers: WorkerDisks, new_name: Callable[[], str]) -> None:
    """Without a snapshot, a disk's earlier file would hide a new problem: it is deleted with the outboxes."""
    person, first, second = new_name(), new_name(), new_name()
    mine, other = workers.lease(first), workers.lease(second)
    assert workers.runner(first, person).take(mine, ())
    (workers.disk(first) / "alerts.json").write_text("a low reservoir")
    mine.end()
    assert workers.runner(second, person).take(other, ())
    other.end()
    assert workers.runner(first, person).take(workers.lease(first), ())
    assert not (workers.disk(first) / "alerts.json").exists()
