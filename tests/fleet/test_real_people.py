"""People with the real source, Tandem, and the real sinks, Nightscout: nothing of them is lost, doubled or wrong, or leaks to others."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests.e2e.installation import daemon
from tests.fleet.light_world import LightFleet
from tests.fleet.real_people import RealPeople, RealPerson, real_people
from tests.support.memory_folder import memory_folder
from tests.support.nats_servers import server_in

MOVED = ("anna", "berta", "carla")


@attrs.define
class RealFleet:
    """A fleet with two workers, and its people's cloud and sites."""

    fleet: LightFleet
    real: RealPeople

    def some(self, *names: str) -> list[RealPerson]:
        return [self.real[name] for name in names]

    def delivered(self, *people: RealPerson) -> float:
        """Wait until the sites show what has arrived; return how many seconds it took."""
        try:
            return self.real.wait_until_shown(*people)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.fleet.logs()}") from error


@pytest.fixture(scope="module")
def world() -> Iterator[RealFleet]:
    with tempfile.TemporaryDirectory(prefix="fleet-", dir=memory_folder()) as name:
        folder = Path(name)
        server = server_in(folder)
        server.start()
        fleet = LightFleet(folder, f"nats://127.0.0.1:{server.port}", blocked_plugins=())
        try:
            with real_people(folder / "real", MOVED) as real:
                for worker in ("w1", "w2"):
                    fleet.start(worker)
                yield RealFleet(fleet, real)
        finally:
            fleet.close()
            server.stop()


def test_killed_and_moved(world: RealFleet) -> None:
    """Several uploads, a worker killed, one person moved out to a daemon and back in: each site is what one pass gives."""
    fleet, real = world.fleet, world.real
    people = world.some(*MOVED)
    anna = people[0]
    real.add_to(fleet, *people)
    world.delivered(*people)
    real.arrive(8, *people)
    fleet.signal("w1", signal.SIGKILL)
    world.delivered(*people)
    fleet.start("w1")

    fleet.run("pause", "anna")
    fleet.eventually(lambda: "paused: 1" in fleet.run("status"), "the pause in the status")
    backup = real.folder / "anna.tar.gz"
    fleet.run("export", "anna", "--output", str(backup))
    fleet.run("remove", "anna")
    home = real.installation(anna, "alone")
    home.run("restore", str(backup))
    real.arrive(4, *people)
    with daemon(home, forked=True) as alone:
        world.delivered(*people)
        alone.stop()
    fleet.run("import", "anna", "--config", str(real.config(anna)), "--data-dir", str(home.folder / "data"))
    real.arrive(0, *people)
    world.delivered(*people)
    for person in people:
        assert real.verdict(person).lines() == [], fleet.logs()
