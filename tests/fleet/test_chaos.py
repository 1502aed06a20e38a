"""Workers that are killed, and workers that wake up after their lease: nothing is lost, doubled or wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet import incidents
from tests.fleet.light_world import LightFleet
from tests.support.memory_folder import memory_folder
from tests.support.nats_servers import server_in
from tests.support.real_servers import Server


@pytest.fixture
def server() -> Iterator[Server]:
    """A NATS server of its own, which may be killed."""
    with tempfile.TemporaryDirectory(prefix="nats-", dir=memory_folder()) as folder:
        server = server_in(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture
def fleet(server: Server, tmp_path: Path) -> Iterator[LightFleet]:
    """A fleet of nine people and three workers."""
    world = LightFleet(tmp_path, f"nats://127.0.0.1:{server.port}")
    try:
        world.add(*(f"p{number}" for number in range(9)))
        for name in ("w1", "w2", "w3"):
            world.start(name)
        world.eventually(lambda: all(world.cloud.stored.get(person) for person in world.people), "documents of all")
        yield world
    finally:
        world.close()


def test_chaos(fleet: LightFleet, server: Server) -> None:
    """Every receiver has everything once."""
    incidents.kill(fleet, server, "w1")
    incidents.kill_and_wait(fleet, server, "w2")
    incidents.kill_the_server(fleet, server, "w3")
    incidents.lose_the_disk(fleet, server, "w3")
    incidents.sleep_past_the_lease(fleet, server, "w1")
    incidents.stop_in_order(fleet, server, "w2")
    assert fleet.settle() == {"lost": [], "doubled": [], "wrong": []}, fleet.logs()
