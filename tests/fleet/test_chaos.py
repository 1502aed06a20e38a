"""Three NATS servers and three workers that are killed, sleep or are cut off: nothing is lost, doubled or wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet import incidents
from tests.fleet.light_world import LightFleet
from tests.support.memory_folder import memory_folder
from tests.support.nats_cluster import NatsCluster


@pytest.fixture
def nats() -> Iterator[NatsCluster]:
    """Three NATS servers of its own, which may be killed."""
    with tempfile.TemporaryDirectory(prefix="nats-", dir=memory_folder()) as folder:
        cluster = NatsCluster(Path(folder))
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()


@pytest.fixture
def fleet(nats: NatsCluster, tmp_path: Path) -> Iterator[LightFleet]:
    """A fleet of nine people and three workers."""
    world = LightFleet(tmp_path, nats.url, lease_s=3.0, replicas=3, is_gated=True, snapshots_s=3.0)
    try:
        world.add(*(f"p{number}" for number in range(9)))
        for name in ("w1", "w2", "w3"):
            world.start(name)
        world.eventually(lambda: all(world.cloud.stored.get(person) for person in world.people), "documents of all")
        yield world
    finally:
        world.close()


def test_chaos(fleet: LightFleet, nats: NatsCluster) -> None:
    """Every receiver and every log has everything once."""
    incidents.kill(fleet, nats, "w1")
    incidents.kill_and_wait(fleet, nats, "w2")
    incidents.lose_a_servers_disk(fleet, nats, "w3")
    incidents.lose_the_disk(fleet, nats, "w3")
    incidents.sleep_and_cut_off(fleet, nats, "w1", "w2")
    incidents.stop_in_order(fleet, nats, "w2")
    assert fleet.settle() == {"lost": [], "doubled": [], "wrong": []}, fleet.logs()
