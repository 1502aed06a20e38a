"""What can happen to a fleet: each incident leaves it running again."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence

from tests.fleet.light_world import LightFleet
from tests.support.real_servers import Server

STOPPED_LEASES = 1.5
"""A stopped worker sleeps so many leases: what is tested is that somebody else has its people when it wakes up."""


def kill(fleet: LightFleet, _server: Server, name: str) -> None:
    """SIGKILL, and a new process on the same disk at once."""
    fleet.signal(name, signal.SIGKILL)
    fleet.start(name)


def kill_and_wait(fleet: LightFleet, _server: Server, name: str) -> None:
    """SIGKILL; the others take the people over before the worker comes back."""
    fleet.signal(name, signal.SIGKILL)
    before = dict(fleet.cloud.asked)
    fleet.eventually(
        lambda: all(fleet.cloud.asked[person] > before.get(person, 0) for person in fleet.people), "all asked again"
    )
    fleet.start(name)


def lose_the_disk(fleet: LightFleet, server: Server, name: str) -> None:
    """SIGKILL, and the worker's disk is gone."""
    fleet.signal(name, signal.SIGKILL)
    shutil.rmtree(fleet.folder / name, ignore_errors=True)  # it may not have begun
    fleet.start(name)


def sleep_past_the_lease(fleet: LightFleet, _server: Server, name: str) -> None:
    """SIGSTOP until others have the people, then SIGCONT: a zombie."""
    fleet.signal(name, signal.SIGSTOP)
    time.sleep(fleet.lease_s * STOPPED_LEASES)
    fleet.signal(name, signal.SIGCONT)


def stop_in_order(fleet: LightFleet, _server: Server, name: str) -> None:
    """SIGTERM, as in a rolling upgrade: everything is given back with a snapshot."""
    fleet.signal(name, signal.SIGTERM)
    assert fleet.workers[name].wait(60) in (0, -signal.SIGTERM), fleet.logs()  # it may not have begun
    fleet.start(name)


def kill_the_server(_fleet: LightFleet, server: Server, _name: str) -> None:
    """SIGKILL for the NATS server, and a new one on its disk."""
    server.kill()
    server.start()


INCIDENTS: Mapping[str, Callable[[LightFleet, Server, str], None]] = {
    each.__name__: each
    for each in (kill, kill_and_wait, lose_the_disk, sleep_past_the_lease, stop_in_order, kill_the_server)
}


def strike(fleet: LightFleet, server: Server, chance: random.Random, without: Sequence[str] = ()) -> str:
    """One incident, to one worker; its name."""
    name = chance.choice(sorted(INCIDENTS.keys() - set(without)))
    INCIDENTS[name](fleet, server, chance.choice(sorted(fleet.workers)))
    return name
