"""A name whose data was deleted and that is added again, before every worker has seen the deletion: nothing of the first person stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from nacl.public import PrivateKey, SealedBox

from tconnectsync_fleet.formats import FORMAT
from tconnectsync_fleet.lease import WorkerLease
from tconnectsync_fleet.people import CheckedConfig, Member, People
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.servers import PEOPLE, Servers, delete_data
from tconnectsync_fleet.stream_replica import TakenOver
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


@pytest.fixture
def given(servers: Servers, tmp_path: Path, new_name: Callable[[], str]) -> GivenAgain:
    people, name = People(servers), new_name()
    people.add(name, CONFIG, replace=False)
    return GivenAgain(people, servers, tmp_path, name)


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_entry_names_the_deletion(given: GivenAgain) -> None:
    """With the revision, whether one or many are added; it stays when the configuration is replaced. A plain removal deletes no data."""
    people, name = given.people, given.name
    assert people.get(name).purged == 0
    first = people.get(name).revision
    again = given.give_name_again()
    assert first < again.purged < again.revision
    people.add(name, CONFIG, replace=True)
    assert people.get(name).purged == again.purged
    people.remove(name, with_data=True)
    assert people.add_all({name: CONFIG}) == {}
    assert people.get(name).purged > again.revision
    newer = attrs.evolve(people.get(name), format=FORMAT + 1)
    assert newer.purged == 0  # what else a newer release means by it is not known
    assert given.give_name_again(with_data=False).purged == 0


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
    entry = given.servers.changes(PEOPLE)[given.name]
    worker = Worker(
        name="w1", folder=given.folder / "w1", servers=given.servers, box=given.box, engine=cast(FleetContext, None)
    )
    worker._lease = cast(Any, HeldLease())
    worker._read_person(given.name, entry)
    worker._plan(worker.people[given.name])
    worker._start_turns(TurnPool(1))
    eventually(lambda: not runner.folder.exists(), "the copies are deleted", within_s=20)


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
