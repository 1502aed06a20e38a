"""Snapshots for the case that a worker's computer is lost: which ones count, and when they are stored. On a real server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

import attrs
import pytest

from tconnectsync_fleet import snapshot_plan
from tconnectsync_fleet.lease import WorkerLease
from tconnectsync_fleet.person_runner import PersonContext, PersonRunner
from tconnectsync_fleet.servers import Servers
from tconnectsync_fleet.snapshot_plan import FIRST_S, LATE, SnapshotLane, SnapshotPlan
from tconnectsync_fleet.snapshots import store_snapshot
from tconnectsync_fleet.stream_replica import OlderSnapshot, StreamReplica, TakenOver
from tests.fleet.test_taking_over import WorkerDisks


@attrs.define
class Fleet:
    """Workers that each have a person after the other, and whose computers are lost."""

    disks: WorkerDisks
    person: str
    new_name: Callable[[], str]

    def next_worker(self) -> tuple[PersonRunner, WorkerLease]:
        """Take the person over on a new computer."""
        worker = self.new_name()
        lease = self.disks.lease(worker)
        runner = self.disks.runner(worker, self.person)
        assert runner.take(lease, ())
        return runner, lease

    def outbox(self, runner: PersonRunner) -> str | None:
        return self.disks.outbox(runner.folder.name)

    def deliver(self, runner: PersonRunner, outbox: str) -> None:
        self.disks.write_outbox(runner.folder.name, outbox)

    @staticmethod
    def store(runner: PersonRunner) -> None:
        assert runner._replica is not None
        assert runner.snapshot_plan.lane.enter()
        runner._store_snapshot(runner._replica, 0)


@pytest.fixture
def fleet(servers: Servers, tmp_path: Path, new_name: Callable[[], str]) -> Fleet:
    return Fleet(WorkerDisks(servers, tmp_path), new_name(), new_name)


def test_lost_computer(fleet: Fleet) -> None:
    """The next worker, and the one after it, use the last snapshot, and doubt what may have been delivered since."""
    began = datetime.now(timezone.utc)
    first, lease = fleet.next_worker()
    fleet.deliver(first, "by the first")
    fleet.store(first)
    fleet.deliver(first, "by the first, and more")
    lease.end()
    second, lease = fleet.next_worker()
    assert fleet.outbox(second) == "by the first"
    lease.end()
    third, _ = fleet.next_worker()
    assert fleet.outbox(third) == "by the first"
    assert [name for name, _ in fleet.disks.doubts.told] == [second.folder.name, third.folder.name]
    assert all(began - LATE <= since <= datetime.now(timezone.utc) - LATE for _, since in fleet.disks.doubts.told)


def test_snapshot_of_a_release_counts_later(fleet: Fleet) -> None:
    """What an orderly end has stored is exact for the next worker, and older for the one that comes if that is lost."""
    first, lease = fleet.next_worker()
    fleet.deliver(first, "by the first")
    first.release()
    lease.end()
    second, lease = fleet.next_worker()
    assert fleet.outbox(second) == "by the first"
    assert not fleet.disks.doubts.told
    fleet.deliver(second, "by the second")
    lease.end()
    third, _ = fleet.next_worker()
    assert fleet.outbox(third) == "by the first"
    assert [name for name, _ in fleet.disks.doubts.told] == [third.folder.name]


@pytest.mark.parametrize(("age", "outbox"), [(LATE - timedelta(hours=1), "by the first"), (LATE * 2, None)])
def test_delivery_of_older_documents(fleet: Fleet, age: timedelta, outbox: str | None) -> None:
    """Before documents are sent that are older than a snapshot allows, it is given up; newer ones leave it."""
    first, lease = fleet.next_worker()
    fleet.deliver(first, "by the first")
    fleet.store(first)
    assert first._replica is not None
    first._replica.fence(datetime.now(timezone.utc) - age)
    lease.end()
    second, _ = fleet.next_worker()
    assert fleet.outbox(second) == outbox


def test_lease_ends_while_a_snapshot_is_given_up(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The NATS servers may take longer than the lease lasts: then nothing is delivered."""
    first, lease = fleet.next_worker()
    fleet.store(first)
    replica = first._replica
    assert replica is not None
    give_up = replica.forget_snapshot

    def give_up_slowly(_: StreamReplica) -> None:
        give_up()
        lease.end()

    monkeypatch.setattr(StreamReplica, "forget_snapshot", give_up_slowly)
    with pytest.raises(TakenOver):
        replica.fence(datetime.now(timezone.utc) - LATE * 2)


@pytest.mark.parametrize("command", ["replay", "verify"])
def test_request_gives_the_snapshot_up(fleet: Fleet, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """What somebody asked for after the snapshot is not in it, so it does not count. A worker's verify always corrects."""

    class Asked:
        def perform(self, command: str, arguments: Any, show: Any) -> str:
            return command

    first, lease = fleet.next_worker()
    fleet.deliver(first, "by the first")
    fleet.store(first)
    monkeypatch.setattr(PersonRunner, "context", lambda _: cast(PersonContext, Asked()))
    assert first.perform(command, {}, lambda _: None) == command
    lease.end()
    second, _ = fleet.next_worker()
    assert fleet.outbox(second) is None


def test_another_snapshot_was_stored(fleet: Fleet) -> None:
    """If the stored snapshot is not the one that was named, none counts: an earlier worker may have stored it late."""
    first, lease = fleet.next_worker()
    fleet.deliver(first, "by the first")
    fleet.store(first)
    store_snapshot(fleet.disks.servers, fleet.person, first.folder, fleet.disks.box)
    lease.end()
    second, _ = fleet.next_worker()
    assert fleet.outbox(second) is None
    assert second._replica is not None
    assert second._replica.last.older is None


def test_no_lease_no_snapshot(fleet: Fleet) -> None:
    """A worker whose lease has ended does not overwrite the snapshot of the next one."""
    first, lease = fleet.next_worker()
    lease.end()
    second, _ = fleet.next_worker()
    fleet.deliver(second, "by the second")
    fleet.store(second)
    fleet.store(first)
    assert second._replica is not None
    assert second._replica.last.older is not None


@pytest.mark.parametrize("header", ["", "abc", "abc yesterday", "abc 2026-11-29"])
def test_unreadable_header(header: str) -> None:
    """A header that names no snapshot and time (with its zone) is none."""
    assert OlderSnapshot.of(header) is None


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic seconds that a plan sees."""
    now = [1000.0]
    monkeypatch.setattr(snapshot_plan.time, "monotonic", lambda: now[0])
    return now


DAY_S = 86400.0


def test_first_snapshot_within_the_hour(clock: list[float]) -> None:
    """Without a snapshot that counts, one is due after some minutes, and after an hour at the latest; again if it was not stored."""
    plan = SnapshotPlan(DAY_S)
    assert not plan.is_due(None, records=1)
    clock[0] += 355
    assert not plan.is_due(None, records=1)
    clock[0] += 3300
    assert plan.is_due(None, records=1)
    plan.ended(None)
    clock[0] += 355
    assert not plan.is_due(None, records=1)
    clock[0] += 3300
    assert plan.is_due(None, records=1)


def test_next_snapshot_after_a_day(clock: list[float]) -> None:
    """The next one is due a day after the last, also if another worker stored that; not if the log has no new records."""
    yesterday = OlderSnapshot("1", datetime.now(timezone.utc) - LATE - timedelta(hours=12))
    plan = SnapshotPlan(DAY_S)
    assert not plan.is_due(yesterday, records=1)
    clock[0] += DAY_S / 2 - 60
    assert not plan.is_due(yesterday, records=1)
    clock[0] += DAY_S / 10 + 120
    assert plan.is_due(yesterday, records=1)
    plan.ended(1)
    today = OlderSnapshot("2", datetime.now(timezone.utc) - LATE)
    assert not plan.is_due(today, records=1)
    clock[0] += DAY_S * 1.2
    assert not plan.is_due(today, records=1)
    clock[0] += DAY_S * 1.2
    assert plan.is_due(today, records=2)


def test_snapshots_that_are_given_up(clock: list[float]) -> None:
    """If each one is given up at once, for example in a long backfill, the next are stored less and less often."""
    plan, waits = SnapshotPlan(DAY_S), list[float]()
    for number in range(6):
        began = clock[0]
        while not plan.is_due(None, records=number):
            clock[0] += 60
        waits.append(clock[0] - began)
        plan.ended(number)
        assert not plan.is_due(OlderSnapshot(f"{number}", datetime.now(timezone.utc) - LATE), records=number)
    longest = [min(FIRST_S * 2**given_up, DAY_S) for given_up in range(6)]
    assert longest[-1] == DAY_S
    assert all(0.1 * most <= wait <= most + 60 for wait, most in zip(waits, longest, strict=True))


def test_one_snapshot_at_a_time(clock: list[float]) -> None:
    """One person of a worker at a time stores a snapshot, and nobody for ten minutes after a failure."""
    lane = SnapshotLane()
    first, second = SnapshotPlan(DAY_S, lane), SnapshotPlan(DAY_S, lane)

    def due(plan: SnapshotPlan) -> bool:
        for _ in range(30):
            if plan.is_due(None, records=1):
                return True
            clock[0] += 19
        return False

    assert not first.is_due(None, records=1)
    assert not second.is_due(None, records=1)
    clock[0] += 3600
    assert due(first)
    clock[0] += 3600
    assert not due(second)
    first.ended(None)
    assert not due(second)
    clock[0] += 600
    assert due(second)


def test_no_snapshots(clock: list[float]) -> None:
    """With 0 none is ever due."""
    plan = SnapshotPlan(0.0)
    assert not plan.is_due(None, records=1)
    clock[0] += DAY_S * 100
    assert not plan.is_due(None, records=2)
