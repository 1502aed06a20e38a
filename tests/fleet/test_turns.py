"""One person's failing turn affects nobody else; what happens to a removed person's copies on a worker's disk."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from nacl.public import PrivateKey, SealedBox

from tconnectsync import LogEnd, Replica
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.replica import has_all_of
from tconnectsync.filesystem import OsFiles
from tconnectsync_fleet.lease import WorkerLease
from tconnectsync_fleet.people import CheckedConfig, Member, People
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.schedule import ScheduledPerson
from tconnectsync_fleet.servers import EVENTS, STATUS, Entry, Servers
from tconnectsync_fleet.stream_replica import CHECKSUM, POSITION, StreamReplica
from tconnectsync_fleet.turn_pool import TurnPool
from tconnectsync_fleet.worker import Worker
from tests.eventlog.sample_events import RECEIVED, basal
from tests.fleet.conftest import HeldLease
from tests.fleet.test_stream_replica import opened
from tests.support.clocks import FakeClock

REMOVED = Entry(revision=1, value=None)
REMOVED_WITH_DATA = Entry(revision=1, value=None, purged=True)


@attrs.define
class PlainEngine:
    """An engine that knows no secrets."""

    def redact(self, text: str) -> str:
        return text

    def has_all_of(self, replica: Replica, end: LogEnd, data_dir: Path) -> bool:
        return has_all_of(replica, end, data_dir / "log", OsFiles())


@attrs.define
class BuggyRunner:
    """A runner with a bug."""

    person: Member

    def take(self, *_: Any) -> bool:
        raise RuntimeError("a bug")


def test_unexpected_failure_is_in_the_status(servers: Servers, tmp_path: Path) -> None:
    """A failure that nobody foresaw is published like any other, and the turn is repeated later."""
    worker = Worker(
        name="w1",
        folder=tmp_path,
        servers=servers,
        box=SealedBox(PrivateKey.generate()),
        engine=cast(FleetContext, PlainEngine()),
    )
    worker._lease = cast(WorkerLease, HeldLease())
    runner = BuggyRunner(Member(name="unlucky", sealed=b""))
    scheduled = ScheduledPerson(cast(PersonRunner, runner), is_wanted=True)
    worker._turn(scheduled)
    entry = servers.changes(STATUS)["unlucky"]
    assert entry.value is not None
    published = json.loads(entry.value)
    assert published["status"] == 1
    assert "RuntimeError" in published["lines"][0]
    assert scheduled.failures == 1
    assert scheduled.due > 0
    assert not scheduled.running


def removed(servers: Servers, folder: Path, name: str, *, with_data: bool, log: bool) -> Path:
    """The folder of a person who was removed while this worker was down, after it has looked again."""
    servers.call(servers.js.publish(f"{EVENTS}.{name}", b"", headers={POSITION: str(int(log)), CHECKSUM: "0"}))
    People(servers).add(name, CheckedConfig(sealed=b"sealed"), replace=False)
    People(servers).remove(name, with_data=with_data)
    own = folder / "people" / name
    (own / "log").mkdir(parents=True)
    worker = Worker(
        name="w1",
        folder=folder,
        servers=servers,
        box=SealedBox(PrivateKey.generate()),
        engine=cast(FleetContext, PlainEngine()),
    )
    worker._look()
    assert name in worker.people
    pool = TurnPool(1)
    worker._start_turns(pool)
    pool.finish(lambda _: None, ())
    worker._start_turns(pool)
    assert name not in worker.people
    return own


@pytest.mark.parametrize(
    ("with_data", "log", "stays"), [(True, False, False), (False, True, False), (False, False, True)]
)
def test_copies_of_a_removed_person(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str], with_data: bool, log: bool, stays: bool
) -> None:
    """They are deleted, also by a worker that was down meanwhile; but never the last copies, unless the log was to be deleted."""
    assert removed(servers, tmp_path, new_name(), with_data=with_data, log=log).exists() == stays


def append(replica: StreamReplica, folder: Path, count: int) -> None:
    """Claim the log, and append so many records to it in ``folder``, and in the stream."""
    replica.look()
    replica.claim()
    with contextlib.closing(opened(folder, replica)) as log:
        for number in range(count):
            log.append([basal(number)])


def test_state_that_a_turn_published_after_the_removal(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str]
) -> None:
    """Nothing of a person whose data was deleted is left, also if a turn without news ended after that."""
    name = new_name()
    servers.call(servers.bucket(STATUS).put(name, b"{}"))
    member, engine = Member(name=name, sealed=b""), cast(FleetContext, PlainEngine())
    runner = PersonRunner(member, tmp_path, servers, SealedBox(PrivateKey.generate()), engine)
    assert runner.forget(REMOVED_WITH_DATA)
    assert servers.changes(STATUS)[name].value is None


@pytest.mark.parametrize(
    ("case", "stays"), [("equal", False), ("behind", False), ("beyond", True), ("other", True), ("moved aside", True)]
)
def test_last_copies_stay(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str], case: str, stays: bool
) -> None:
    """After an older backup of the stream was restored, a disk may have the only copy of what came later: it is not deleted."""
    name, folder = new_name(), tmp_path / "copy"
    append(StreamReplica(servers, name, "a"), folder, 5)
    if case == "behind":
        append(StreamReplica(servers, name, "a"), tmp_path / "another", 3)
    elif case == "beyond":
        with contextlib.closing(EventLog.open(folder, clock=FakeClock(RECEIVED), writable=True)) as log:
            log.append([basal(77)])
    elif case == "other":
        servers.call(servers.js.purge_stream(EVENTS, subject=f"{EVENTS}.{name}"))
        append(StreamReplica(servers, name, "a"), tmp_path / "another", 9)
    elif case == "moved aside":
        (folder / "log" / "not-in-replica-1-000000000001.jsonl").write_bytes(b"x")
    member, engine = Member(name=name, sealed=b""), cast(FleetContext, PlainEngine())
    runner = PersonRunner(member, folder, servers, SealedBox(PrivateKey.generate()), engine)
    assert runner.forget(REMOVED) is not stays
    assert folder.exists() is stays
    assert runner.forget(REMOVED_WITH_DATA)
    assert not folder.exists()


def test_folder_of_a_person_without_an_entry(servers: Servers, tmp_path: Path) -> None:
    """Nothing says that this person was removed: the bucket may be what was lost. The copies stay."""
    own = tmp_path / "people" / "never-added"
    own.mkdir(parents=True)
    worker = Worker(
        name="w1",
        folder=tmp_path,
        servers=servers,
        box=SealedBox(PrivateKey.generate()),
        engine=cast(FleetContext, PlainEngine()),
    )
    worker._look()
    assert "never-added" not in worker.people
    assert own.exists()
