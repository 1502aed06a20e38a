"""What can happen to a fleet: each incident leaves it running again."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from tests.fleet.light_world import LightFleet
from tests.support.nats_cluster import NatsCluster

SILENT_LEASES = 1.5
"""The number of leases for which a worker is stopped or cut off, so that others have its people when it comes back."""
HELD_S = 3.0
"""The time for which a server answers late: about as long as others need to notice."""


def kill(fleet: LightFleet, _nats: NatsCluster, name: str) -> None:
    """SIGKILL, and a new process on the same disk at once."""
    fleet.signal(name, signal.SIGKILL)
    fleet.start(name)


def kill_and_wait(fleet: LightFleet, _nats: NatsCluster, name: str) -> None:
    """SIGKILL; the others take the people over before the worker comes back."""
    fleet.signal(name, signal.SIGKILL)
    fleet.wait_until_all_asked()
    fleet.start(name)


def lose_the_disk(fleet: LightFleet, _nats: NatsCluster, name: str) -> None:
    """SIGKILL, and the worker's disk is gone."""
    fleet.signal(name, signal.SIGKILL)
    shutil.rmtree(fleet.folder / name, ignore_errors=True)  # it may not have begun
    fleet.start(name)


def sleep_past_the_lease(fleet: LightFleet, _nats: NatsCluster, name: str) -> None:
    """SIGSTOP until others have the people, then SIGCONT: a zombie."""
    fleet.signal(name, signal.SIGSTOP)
    time.sleep(fleet.lease_s * SILENT_LEASES)
    fleet.signal(name, signal.SIGCONT)


def stop_in_order(fleet: LightFleet, _nats: NatsCluster, name: str) -> None:
    """SIGTERM, as in a rolling upgrade: everything is given back with a snapshot."""
    fleet.signal(name, signal.SIGTERM)
    assert fleet.workers[name].wait(60) in (0, -signal.SIGTERM), fleet.logs()  # it may not have begun
    fleet.start(name)


def cut_off(fleet: LightFleet, _nats: NatsCluster, name: str) -> None:
    """No packet between one worker and the servers, for longer than its lease. What was on its way arrives afterwards."""
    fleet.gates[name].close_gate()
    time.sleep(fleet.lease_s * SILENT_LEASES)
    fleet.gates[name].open_gate()


def cut_off_answers(fleet: LightFleet, _nats: NatsCluster, name: str) -> None:
    """The servers get what one worker sends, but it hears nothing, not even whether its appends were stored."""
    fleet.gates[name].close_gate(answers_only=True)
    time.sleep(fleet.lease_s * SILENT_LEASES)
    fleet.gates[name].open_gate()


def sleep_and_cut_off(fleet: LightFleet, _nats: NatsCluster, sleeper: str, other: str) -> None:
    """One worker sleeps and another is cut off, until the rest have their people."""
    fleet.signal(sleeper, signal.SIGSTOP)
    fleet.gates[other].close_gate()
    fleet.wait_until_all_asked()
    fleet.gates[other].open_gate()
    fleet.signal(sleeper, signal.SIGCONT)


def kill_a_server(fleet: LightFleet, nats: NatsCluster, _name: str) -> None:
    """SIGKILL for a NATS server; if there are others, all people are served before it comes back."""
    victim = nats.next_victim()
    nats.servers[victim].kill()
    if nats.size > 1:
        fleet.wait_until_all_asked()
    nats.servers[victim].start()
    nats.wait_until_current()


def kill_all_servers(_fleet: LightFleet, nats: NatsCluster, _name: str) -> None:
    """SIGKILL for all NATS servers, and new ones on their disks."""
    for server in nats.servers:
        server.kill()
    for server in nats.servers:
        server.start()
    nats.wait_until_current()


def lose_a_servers_disk(fleet: LightFleet, nats: NatsCluster, _name: str) -> None:
    """A NATS server is replaced by an empty one of the same name."""
    victim = nats.next_victim()
    nats.lose_disk(victim)
    fleet.wait_until_all_asked()
    nats.servers[victim].start()
    nats.wait_until_current()


def hold_a_server(_fleet: LightFleet, nats: NatsCluster, _name: str) -> None:
    """A NATS server accepts everything and answers late."""
    victim = nats.servers[nats.next_victim()]
    victim.hold()
    time.sleep(HELD_S)
    victim.go_on()
    nats.wait_until_current()


INCIDENTS: Mapping[str, Callable[[LightFleet, NatsCluster, str], None]] = {
    each.__name__: each
    for each in (
        *(kill, kill_and_wait, lose_the_disk, sleep_past_the_lease, stop_in_order, cut_off, cut_off_answers),
        *(kill_a_server, kill_all_servers, lose_a_servers_disk, hold_a_server),
    )
}
NEEDS_A_CLUSTER = frozenset({"lose_a_servers_disk"})
ENDS = frozenset({"kill", "kill_and_wait", "lose_the_disk", "stop_in_order"})
"""After these, the worker is another process."""
SLEEPS = frozenset({"sleep_past_the_lease"})
"""Only in these a worker may send what another one has sent: one batch a thread, which was already on its way."""


def strike(
    fleet: LightFleet,
    nats: NatsCluster,
    chance: random.Random,
    without: Sequence[str] = (),
    immortal: Collection[str] = (),
) -> str:
    """One incident, to one worker; its name. ``immortal``: workers that never end, so that their memory can be watched."""
    impossible = set(without) | (NEEDS_A_CLUSTER if nats.size == 1 else set())
    name = chance.choice(sorted(INCIDENTS.keys() - impossible))
    INCIDENTS[name](fleet, nats, chance.choice(sorted(fleet.workers.keys() - (immortal if name in ENDS else ()))))
    return name
