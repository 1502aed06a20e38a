"""One person's turn that fails concerns nobody else; and what becomes of a removed person's copies on a worker's disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from nacl.public import PrivateKey, SealedBox

from tconnectsync_fleet.lease import WorkerLease
from tconnectsync_fleet.people import Member, People
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.servers import EVENTS, STATUS, Servers
from tconnectsync_fleet.stream_replica import CHECKSUM, POSITION
from tconnectsync_fleet.worker import ScheduledPerson, Worker
from tests.fleet.conftest import HeldLease


@attrs.define
class PlainEngine:
    """An engine that knows no secrets."""

    def redact(self, text: str) -> str:
        return text


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
    People(servers).add(name, b"sealed", replace=False)
    People(servers).remove(name, with_data=with_data)
    own = folder / "people" / name
    (own / "log").mkdir(parents=True)
    worker = Worker(
        name="w1", folder=folder, servers=servers, box=SealedBox(PrivateKey.generate()), engine=cast(FleetContext, None)
    )
    worker._look()
    assert name in worker.people
    with ThreadPoolExecutor(1) as pool:
        worker._start_turns(pool)
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


def test_folder_of_a_person_without_an_entry(servers: Servers, tmp_path: Path) -> None:
    """Nothing says that this person was removed: the bucket may be what was lost. The copies stay."""
    own = tmp_path / "people" / "never-added"
    own.mkdir(parents=True)
    worker = Worker(
        name="w1",
        folder=tmp_path,
        servers=servers,
        box=SealedBox(PrivateKey.generate()),
        engine=cast(FleetContext, None),
    )
    worker._look()
    assert "never-added" not in worker.people
    assert own.exists()
