"""People with the real source, Tandem, and the real sinks, Nightscout: nothing of them is lost, doubled or wrong, or leaks to others."""

from __future__ import annotations

import json
import signal
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

import attrs
import pytest
from nats.aio.msg import Msg

from tconnectsync_fleet.lease import worker_for
from tconnectsync_fleet.nats_login import NatsLogin
from tconnectsync_fleet.people import CheckedConfig, People
from tconnectsync_fleet.sealing import sealer
from tconnectsync_fleet.servers import EVENTS, Servers
from tests.e2e.installation import daemon
from tests.e2e.marked_secrets import secrets_in_texts
from tests.fleet.light_world import LightFleet
from tests.fleet.real_people import RealPeople, RealPerson, real_people
from tests.support.cloud_faults import CloudFault
from tests.support.memory_folder import memory_folder
from tests.support.nats_cluster import free_ports
from tests.support.nats_servers import server_in
from tests.support.simulated_nightscout.app import SiteFault

MOVED = ("anna", "berta", "carla")
WELL = ("dora",)
WRONG = ("badpassword", "refused", "unreadable", "damaged")
MARKED = ("frida", "gustav")
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
            with real_people(folder / "real", (*MOVED, *WELL, *MARKED, *WRONG, *HANGING)) as real:
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

    def is_complete() -> bool:
        """The command says so if a worker has not given the person back yet."""
        backup.unlink(missing_ok=True)
        return "still works" not in fleet.run("export", "anna", "--output", str(backup))

    fleet.eventually(is_complete, "a backup after the last turn", every_s=0.5)
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
        People(servers).add(
            unreadable.name, CheckedConfig(sealed=sealer(fleet.key).encrypt(b"no = [configuration")), replace=True
        )
    fleet.eventually(lambda: set(WRONG) <= troubles(fleet).keys(), "the wrong things", every_s=0.5)
    for hours_ago in (6, 0):
        real.arrive(hours_ago, *well)
        assert world.delivered(*well) < NORMAL_S
    for person in well:
        assert real.verdict(person).lines() == [], fleet.logs()
    said = "\n".join(" ".join(lines) for lines in troubles(fleet).values()) + fleet.logs()
    assert not any(secret in said for person in real.people for secret in (person.account.password, person.site.secret))
    for person in hanging:  # the workers of other tests must not wait for these sites when they stop
        person.site.mend()


def troubles(fleet: LightFleet) -> dict[str, list[str]]:
    """What is wrong, by person."""
    return dict(json.loads(fleet.run("status", "--json", expect=(0, 9)))["troubles"])


@contextmanager
def messages(url: str) -> Iterator[list[tuple[str, bytes]]]:
    """Every message that passes through the NATS servers, by subject; batches of the log as they were written."""
    heard: list[tuple[str, bytes]] = []

    async def hear(message: Msg) -> None:
        is_batch = message.subject.startswith(f"{EVENTS}.") and message.data
        headers = repr(message.headers or {}).encode()
        heard.append((message.subject, headers + (zlib.decompress(message.data) if is_batch else message.data)))

    with closing(Servers(NatsLogin(servers=[url]), name="tests")) as servers:
        servers.call(servers.client.subscribe(">", cb=hear))
        yield heard


def asked(fleet: LightFleet, *words: str) -> str:
    """The output of a command that needs the person at a worker, which may just be taking or giving back the person."""
    said: list[str] = []

    def is_answered() -> bool:
        said.append(fleet.run(*words, expect=(0, 3, 8)))
        return "no worker" not in said[-1] and "Run the command again" not in said[-1]

    fleet.eventually(is_answered, f"an answer to {words}", every_s=0.5)
    return said[-1]


def test_no_secret_leaves_a_worker(world: RealFleet) -> None:
    """Passwords, tokens and secrets in no shape in NATS' messages and files, in log lines and metrics; the pump's number in no metric."""
    fleet, real = world.fleet, world.real
    frida, gustav = world.some(*MARKED)
    [port] = free_ports(1)
    with messages(fleet.nats_url) as heard:
        real.add_to(fleet, frida)
        fleet.run("add", "gustav", "--config", str(real.config(gustav, password="the marked wrong password")))
        fleet.start("w3", "--metrics", f"127.0.0.1:{port}")
        world.delivered(frida)
        fleet.eventually(lambda: "gustav" in troubles(fleet), "the refused login in the status", every_s=0.5)
        said = asked(fleet, "show", "frida") + asked(fleet, "run", "frida", "sync")
        with build_opener(ProxyHandler({})).open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            metrics = answer.read()
        fleet.signal("w3", signal.SIGTERM)
        assert fleet.workers.pop("w3").wait(60) == 0
    assert b"tconnectsync_fleet_people" in metrics
    assert any(subject == f"{EVENTS}.frida" for subject, _ in heard)
    assert any(subject.startswith("fleet.requests.") for subject, _ in heard)
    secrets = {f"password of {each.name}": {each.account.password} for each in (frida, gustav)}
    secrets |= {f"site secret of {each.name}": {each.site.secret} for each in (frida, gustav)}
    secrets |= {"wrong password": {"the marked wrong password"}, "token": {*real.cloud.login._tokens}}
    secrets |= {"key of the fleet": {fleet.key.read_text().split()[-1]}}
    assert all(secrets.values())
    assert secrets_in_texts(heard, {"name": {"frida"}})  # the search finds what is there
    stored = [(str(path), path.read_bytes()) for path in (fleet.folder / "streams").rglob("*") if path.is_file()]
    logs = [(path.name, path.read_bytes()) for path in fleet.folder.glob("w*.log")]
    assert stored
    assert secrets_in_texts([*heard, *stored, *logs, ("commands", said.encode()), ("metrics", metrics)], secrets) == []
    serials = {person.name: {person.pump.plan.serial} for person in (frida, gustav)}
    assert secrets_in_texts([("metrics", metrics), *logs], serials) == []
