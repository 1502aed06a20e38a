"""One person's turn that fails is seen in the status, and concerns nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import attrs
from nacl.public import PrivateKey, SealedBox

from tconnectsync_fleet.lease import WorkerLease
from tconnectsync_fleet.people import Member
from tconnectsync_fleet.person_runner import FleetContext, PersonRunner
from tconnectsync_fleet.servers import STATUS, Servers
from tconnectsync_fleet.worker import ScheduledPerson, Worker


@attrs.define
class FailingRunner:
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
        engine=cast(FleetContext, None),
    )
    worker._lease = WorkerLease(servers, "w1")
    scheduled = ScheduledPerson(cast(PersonRunner, FailingRunner(Member(name="unlucky", sealed=b""))))
    worker._turn(scheduled)
    entry = servers.changes(STATUS)["unlucky"]
    assert entry.value is not None
    published = json.loads(entry.value)
    assert published["status"] == 1
    assert "RuntimeError" in published["lines"][0]
    assert scheduled.failures == 1
    assert scheduled.due > 0
    assert not scheduled.running
