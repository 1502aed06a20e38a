"""A name whose data was deleted and that is added again, before every worker has seen the deletion: nothing of the first person stays."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from nacl.public import PrivateKey, SealedBox
from nats.js.kv import KV_DEL, KV_OP

from tconnectsync import Retryable
from tconnectsync_fleet.folder_entry import delete_purged, note_entry
from tconnectsync_fleet.formats import FORMAT
from tconnectsync_fleet.lease import WorkerLease
from tconnectsync_fleet.people import CheckedConfig, Member, People
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.receivers import ReceiverOwners
from tconnectsync_fleet.servers import EVENTS, PEOPLE, Servers, delete_data, has_data
from tconnectsync_fleet.stream_replica import CHECKSUM, POSITION, TakenOver
from tconnectsync_fleet.turn_pool import TurnPool
from tconnectsync_fleet.worker import Worker
from tests.e2e.installation import eventually
from tests.fleet.conftest import HeldLease

CONFIG = CheckedConfig(sealed=b"sealed")
KEPT = {"fleet-entry", "fleet-owners"}


@attrs.define
class GivenAgain:
    """A person of a fleet, and disks of workers."""

    people: People
    servers: Servers
    folder: Path
    name: str
    box: SealedBox[PrivateKey] = attrs.field(factory=lambda: SealedBox(PrivateKey.generate()))

    def runner(self, worker: str) -> PersonRunner:
        folder = self.folder / worker / "people" / self.name
        return PersonRunner(self.people.get(self.name), folder, self.servers, self.box, cast(FleetContext, None))

    def used(self, worker: str) -> PersonRunner:
        """A runner that has the person, and has stored something of that person."""
        runner = self.runner(worker)
        assert runner.take(cast(WorkerLease, HeldLease(f"{worker}.held")), ())
        (runner.folder / "log").mkdir()
        (runner.folder / "log" / "segment").write_text("of the first person")
        (runner.folder / "alerts.json").write_text("of the first person")
        return runner

    def give_name_again(self, *, with_data: bool = True) -> Member:
        """What ``fleet remove`` and ``fleet add`` do."""
        self.people.remove(self.name, with_data=with_data)
        if with_data:
            delete_data(self.servers, self.name)
        self.people.add(self.name, CONFIG, replace=False)
        return self.people.get(self.name)

    def add_and_undo(self, monkeypatch: pytest.MonkeyPatch, *, many: bool = False) -> None:
        """What ``fleet add`` does if the servers do not answer after the entry was stored."""
        look = self.people._owners

        def unanswered(since: int = 0) -> ReceiverOwners:
            if since:
                raise Retryable("no answer")
            return look(since)

        people = self.people
        add = (
            partial(people.add_all, {self.name: CONFIG})
            if many
            else partial(people.add, self.name, CONFIG, replace=False)
        )
        with monkeypatch.context() as patch:
            patch.setattr(people, "_owners", unanswered)
            with pytest.raises(Retryable, match="no answer"):
                add()
        assert not self.people.has(self.name)

    def store_log(self) -> None:
        """Store a log of the person in the stream, which has less than any disk."""
        self.servers.call(self.servers.js.publish(f"{EVENTS}.{self.name}", b"", headers={POSITION: "0", CHECKSUM: "0"}))

    def started_worker(self, worker: str) -> TurnPool:
        """A worker that starts on its disk after the person was removed, and looks at the entry until it has dealt with it."""
        started = Worker(
            name=worker,
            folder=self.folder / worker,
            servers=self.servers,
            box=self.box,
            engine=cast(FleetContext, None),
        )
        started._lease = cast(Any, HeldLease())
        started._read_person(self.name, self.servers.changes(PEOPLE)[self.name])
        started._plan(started.people[self.name])
        pool = TurnPool(1)
        started._start_turns(pool)
        return pool


@pytest.fixture
def given(servers: Servers, tmp_path: Path, new_name: Callable[[], str]) -> GivenAgain:
    people, name = People(servers), new_name()
    people.add(name, CONFIG, replace=False)
    return GivenAgain(people, servers, tmp_path, name)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_entry_names_the_deletion(given: GivenAgain) -> None:
    """With the revision, whether one or many are added. It stays when the configuration is replaced, and when the name is removed without data."""
    people, name = given.people, given.name
    assert people.get(name).purged == 0
    first = people.get(name).revision
    again = given.give_name_again()
    assert first < again.purged < again.revision
    people.add(name, CONFIG, replace=True)
    assert people.get(name).purged == again.purged
    people.remove(name, with_data=True)
    assert people.add_all({name: CONFIG}) == {}
    purged = people.get(name).purged
    assert purged > again.revision
    newer = attrs.evolve(people.get(name), format=FORMAT + 1)
    assert newer.purged == 0  # what else a newer release means by it is not known
    for _ in range(2):
        assert given.give_name_again(with_data=False).purged == purged
    for body in (b"", b"no number", b"9" * 5000):  # the first is what earlier releases store
        given.servers.call(given.servers.js.publish(f"$KV.{PEOPLE}.{name}", body, headers={KV_OP: KV_DEL}))
        assert given.servers.changes(PEOPLE)[name].last_purge == 0
        assert people.add_all({name: CONFIG}) == {}
        assert people.get(name).purged == 0


@pytest.mark.parametrize("many", [False, True])
def test_undone_addition_names_the_deletion(given: GivenAgain, monkeypatch: pytest.MonkeyPatch, many: bool) -> None:
    """If somebody is added and the addition is undone, workers still learn that earlier data of the name was deleted."""
    first = given.people.get(given.name).revision
    given.people.remove(given.name, with_data=True)
    given.add_and_undo(monkeypatch, many=many)
    given.people.add(given.name, CONFIG, replace=False)
    again = given.people.get(given.name)
    assert first < again.purged < again.revision


def test_owner_missed_the_deletion(given: GivenAgain) -> None:
    """Its next turn begins without the first person's log, outboxes and alerts; a turn that has begun does nothing for the second."""
    runner, lease = given.used("w1"), cast(WorkerLease, HeldLease("w1.held"))
    runner.configure(given.give_name_again())
    with pytest.raises(TakenOver):
        runner.context()
    assert runner.take(lease, ())
    assert left_in(runner.folder) == KEPT
    (runner.folder / "alerts.json").write_text("of the second person")
    runner.doubt()
    assert runner.take(lease, ())
    assert left_in(runner.folder) == {*KEPT, "alerts.json"}


def test_worker_missed_the_deletion(given: GivenAgain) -> None:
    """A worker that had the first person and should not have the second deletes its copies, also when it was stopped meanwhile."""
    runner = given.used("w1")
    runner.release()
    given.give_name_again()
    given.started_worker("w1")
    eventually(lambda: not runner.folder.exists(), "the copies are deleted", within_s=20)


@pytest.mark.parametrize("case", ["added and undone", "added and removed"])
def test_deletion_before_the_removal(given: GivenAgain, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    """A worker that was stopped sees only the removal without data. It deletes the first person's copies, and nothing of the second's."""
    runner = given.used("w1")
    runner.release()
    given.people.remove(given.name, with_data=True)
    delete_data(given.servers, given.name)
    if case == "added and undone":
        given.add_and_undo(monkeypatch)
    else:
        given.people.add(given.name, CONFIG, replace=False)
    second = None if case == "added and undone" else given.used("w2")
    if second is not None:
        second.release()
        given.people.remove(given.name)
    given.store_log()
    given.started_worker("w1").finish(lambda _: None, ())
    assert not runner.folder.exists()
    assert has_data(given.servers, given.name)
    if second is not None:
        given.started_worker("w2").finish(lambda _: None, ())
        assert "log" in left_in(second.folder)


@pytest.mark.parametrize("deleted", range(7))
def test_interrupted_deletion_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deleted: int) -> None:
    """Wherever it was interrupted: what is left still counts as the first person's."""
    folder, unlink, calls = tmp_path / "anna", os.unlink, itertools.count()
    (folder / "log").mkdir(parents=True)
    for name in ("log/segment", "alerts.json", "fleet-owners", "zones.json"):
        (folder / name).write_text("of the first person")
    note_entry(folder, 5)

    def interrupted(path: Any, *, dir_fd: int | None = None) -> None:
        if next(calls) == deleted:
            raise OSError("interrupted")
        unlink(path, dir_fd=dir_fd)

    with monkeypatch.context() as patch, contextlib.suppress(OSError):
        patch.setattr(os, "unlink", interrupted)
        delete_purged(folder, 9)
    if folder.exists():
        delete_purged(folder, 9)
    assert not folder.exists()


@pytest.mark.parametrize("case", ["plain removal", "folder of an earlier release", "older entry from a backup"])
def test_copies_stay(given: GivenAgain, case: str) -> None:
    """They may be the last ones: only a deletion that came after them counts."""
    runner = given.used("w1")
    if case == "older entry from a backup":
        (runner.folder / "fleet-entry").write_text("1000000")
    elif case == "folder of an earlier release":
        (runner.folder / "fleet-entry").unlink()
    runner.configure(given.give_name_again(with_data=case != "plain removal"))
    runner.release()
    assert {"log", "alerts.json"} <= left_in(runner.folder)
