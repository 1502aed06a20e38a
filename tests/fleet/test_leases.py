"""Leases of workers on a real server, and who works for whom."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import pytest

from tconnectsync import Retryable
from tconnectsync_fleet.lease import SAFE_SHARE, WorkerLease, live_workers, worker_for
from tconnectsync_fleet.lease_keeper import LeaseKeeper
from tconnectsync_fleet.servers import Servers
from tests.e2e.installation import eventually

PEOPLE = [f"person-{number}" for number in range(2000)]


@attrs.define
class HandMovedClock:
    """A monotonic clock that is moved by hand."""

    at: float = 100.0

    def __call__(self) -> float:
        return self.at


def started_lease(
    servers: Servers, name: str, disk: str = "a", clock: Callable[[], float] | None = None
) -> WorkerLease:
    lease = WorkerLease(servers, name) if clock is None else WorkerLease(servers, name, clock)
    lease.begin({"disk": disk})
    return lease


def test_lease_is_renewed_and_ends(servers: Servers, new_name: Callable[[], str]) -> None:
    """A renewed lease is seen by others; one that is given back is gone at once."""
    name = new_name()
    lease = started_lease(servers, name)
    assert lease.renew({"disk": "a", "people": 3})
    assert live_workers(servers)[name].items() >= {"disk": "a", "people": 3, "owner": lease.owner}.items()
    lease.end()
    assert name not in live_workers(servers)
    assert not lease.holds()


def test_silent_worker_loses_its_lease(servers: Servers, new_name: Callable[[], str]) -> None:
    """Without renewals the servers end the lease, and a renewal afterwards is refused."""
    name = new_name()
    lease = started_lease(servers, name, clock=HandMovedClock())  # its own clock stands: only the servers know
    eventually(lambda: name not in live_workers(servers), "the end of the lease")
    assert not lease.renew({"disk": "a"})
    assert not lease.holds()


def test_worker_stops_before_the_servers_end_its_lease(servers: Servers, new_name: Callable[[], str]) -> None:
    """The worker's own deadline comes first, counted from before it asked, and a late renewal does not bring the lease back."""
    clock = HandMovedClock()
    lease = started_lease(servers, new_name(), clock=clock)
    clock.at += lease.life_s * SAFE_SHARE - 0.01
    assert lease.holds()
    clock.at += 0.02
    assert not lease.holds()
    lease.renew({"disk": "a"})
    assert not lease.holds()


def test_same_disk_takes_its_lease_again(servers: Servers, new_name: Callable[[], str]) -> None:
    """A restarted worker does not wait for its own old lease; the old lease cannot renew it any more."""
    name = new_name()
    old = started_lease(servers, name)
    new = started_lease(servers, name)
    assert new.owner != old.owner
    assert not old.renew({"disk": "a"})
    assert new.renew({"disk": "a"})


def test_two_workers_of_one_name(servers: Servers, new_name: Callable[[], str]) -> None:
    """A second worker with the same name is refused."""
    name = new_name()
    started_lease(servers, name)
    with pytest.raises(Retryable, match="--name"):
        started_lease(servers, name, disk="b")


def test_shares_are_even() -> None:
    """Each of ten workers gets about a tenth."""
    shares = Counter(worker_for(person, [f"w{number}" for number in range(10)]) for person in PEOPLE)
    assert all(140 <= count <= 260 for count in shares.values()), shares


def test_only_people_of_a_lost_worker_move() -> None:
    """When a worker goes, only its people move."""
    workers = ["a", "b", "c", "d"]
    before = {person: worker_for(person, workers) for person in PEOPLE}
    after = {person: worker_for(person, ["a", "b", "d"]) for person in PEOPLE}
    assert {before[person] for person in PEOPLE if before[person] != after[person]} == {"c"}
    assert worker_for("anna", []) is None


def test_renewal_without_an_answer(
    servers: Servers, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A renewal that the servers stored, and whose answer was lost, does not cost the lease: the next one finds it."""
    name = new_name()
    lease = started_lease(servers, name)
    answered = servers.call

    def lost(*arguments: Any) -> Any:
        found = answered(*arguments)
        if isinstance(found, int):  # the revision of a stored entry
            raise Retryable("the answer was lost")
        return found

    monkeypatch.setattr(servers, "call", lost)
    assert lease.renew({"disk": "a"})
    monkeypatch.undo()
    assert lease.renew({"disk": "a"})
    assert live_workers(servers)[name]["owner"] == lease.owner


def test_failed_renewal_is_tried_again_soon(
    servers: Servers, new_name: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only after another quarter of the lease: an election of the servers' leader must not cost the lease."""
    lease = started_lease(servers, new_name(), clock=HandMovedClock())
    now, lease.life_s, attempts = lease.monotonic(), 3600.0, list[float]()
    lease.monotonic = lambda: now

    def failing(renewal: Coroutine[Any, Any, int], *_: float) -> int:
        renewal.close()
        attempts.append(now)
        raise Retryable("no leader")

    assert lease.next_renewal_s == 900.0
    monkeypatch.setattr(servers, "call", failing)
    keeper = LeaseKeeper(lambda: lease, lambda: {"disk": "a"})
    keeper.start()
    keeper.loop_ended()  # renews at once
    eventually(lambda: len(attempts) > 1, "another attempt")
    keeper.finish()


def test_lease_ends_while_the_computer_sleeps(servers: Servers, new_name: Callable[[], str]) -> None:
    """The clock of a lease counts the time that a computer is suspended."""
    lease = started_lease(servers, new_name())
    assert abs(lease.monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 60
    assert lease.monotonic is not time.monotonic
