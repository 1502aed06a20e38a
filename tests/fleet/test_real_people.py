"""People with the real source, Tandem, and the real sinks, Nightscout: nothing of them is lost, doubled or wrong, or leaks to others."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import attrs
import pytest

from tconnectsync_fleet.lease import worker_for
from tconnectsync_fleet.nats_login import NatsLogin
from tconnectsync_fleet.people import People
from tconnectsync_fleet.sealing import sealer
from tconnectsync_fleet.servers import Servers
from tests.e2e.installation import daemon
from tests.fleet.light_world import LightFleet
from tests.fleet.real_people import RealPeople, RealPerson, real_people
from tests.support.cloud_faults import CloudFault
from tests.support.memory_folder import memory_folder
from tests.support.nats_servers import server_in
from tests.support.simulated_nightscout.app import SiteFault

MOVED = ("anna", "berta", "carla")
WELL = ("dora", "emil")
WRONG = ("badpassword", "refused", "unreadable", "damaged")
HANGING = ("hanging1", "hanging2")
"""One for each worker, which has a single place for turns."""
HANGS_S = 30.0
NORMAL_S = 15.0
"""Two or three seconds on a quiet computer; less than half of what a hanging site takes for one request."""


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
        fleet = LightFleet(folder, f"nats://127.0.0.1:{server.port}", blocked_plugins=(), threads=1)
        try:
            with real_people(folder / "real", (*MOVED, *WELL, *WRONG, *HANGING)) as real:
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
    fleet.eventually(lambda: "paused: 1" in fleet.run("status"), "the pause in the status", every_s=0.5)
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


def test_wrong_things_of_one_person(world: RealFleet) -> None:
    """A refused password, a refusing site, a configuration that cannot be read, a site that hangs, damaged data: others notice nothing."""
    fleet, real = world.fleet, world.real
    well = world.some(*WELL)
    bad_password, refused, unreadable, damaged = world.some(*WRONG)
    hanging = world.some(*HANGING)
    assert {worker_for(person.name, fleet.workers) for person in hanging} == fleet.workers.keys()
    real.add_to(fleet, *well, unreadable)
    world.delivered(*well, unreadable)

    for person in hanging:
        person.site.fail(SiteFault(times=10_000, wait_s=HANGS_S))
    serial = damaged.pump.assignment_id
    real.cloud.fail(CloudFault(path=serial, times=10_000, retype={"pumpDateTime": lambda _: "not a time"}))
    changes = {"badpassword": {"password": "another password"}, "refused": {"site_secret": "another secret of refused"}}
    for person in (bad_password, refused, damaged, *hanging):
        file = real.config(person, **changes.get(person.name, {}))
        fleet.run("add", person.name, "--config", str(file))
    with closing(Servers(NatsLogin(servers=[fleet.nats_url]), name="tests")) as servers:
        People(servers).add(unreadable.name, sealer(fleet.key).encrypt(b"no = [configuration"), replace=True)
    fleet.eventually(lambda: set(WRONG) <= troubles(fleet).keys(), "the wrong things", every_s=0.5)
    for hours_ago in (8, 4, 0):
        real.arrive(hours_ago, *well)
        assert world.delivered(*well) < NORMAL_S
    for person in well:
        assert real.verdict(person).lines() == [], fleet.logs()
    said = "\n".join(" ".join(lines) for lines in troubles(fleet).values()) + fleet.logs()
    assert not any(secret in said for person in real.people for secret in (person.account.password, person.site.secret))


def troubles(fleet: LightFleet) -> dict[str, list[str]]:
    """What is wrong, by person."""
    return dict(json.loads(fleet.run("status", "--json", expect=(0, 9)))["troubles"])
