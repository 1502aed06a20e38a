"""A newer release has written something in a format that this one does not know: nothing is changed, and the status says it."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
from nacl.public import PrivateKey, SealedBox

from tconnectsync_fleet import formats
from tconnectsync_fleet.formats import NewerRelease
from tconnectsync_fleet.lease import WorkerLease, may_have_lease, worker_for
from tconnectsync_fleet.nats_login import NatsLogin
from tconnectsync_fleet.people import CheckedConfig, Member, People, person_of
from tconnectsync_fleet.person_runner import OWNERS, FleetContext, PersonRunner
from tconnectsync_fleet.servers import EVENTS, PEOPLE, STATUS, WORKERS, Servers
from tconnectsync_fleet.status import read_fleet
from tconnectsync_fleet.stream_replica import StreamReplica
from tests.fleet.conftest import HeldLease
from tests.fleet.light_world import LightFleet
from tests.support.nats_servers import server_in

NEWER = (
    "import sys; from tconnectsync_fleet import formats; formats.FORMAT, formats.RELEASE = 2, '5.0.0';"
    "from tconnectsync.cli.root import run; sys.exit(run(sys.argv[1:]))"
)
TROUBLED, REFUSED = 9, 2
STATE = "needs a newer release"


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Until the test calls ``undo``, this process is a newer release."""
    monkeypatch.setattr(formats, "FORMAT", 2)
    return monkeypatch


def runner_of(person: Member, folder: Path, servers: Servers) -> PersonRunner:
    return PersonRunner(person, folder, servers, SealedBox(PrivateKey.generate()), cast(FleetContext, None))


def test_log_is_left_alone(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str], newer: pytest.MonkeyPatch
) -> None:
    """A worker neither claims the log nor touches its disk, where outboxes of an earlier turn are."""
    name = new_name()
    StreamReplica(servers, name, "w2.newer").claim()
    newer.undo()
    (tmp_path / "outbox").mkdir()
    (tmp_path / OWNERS).write_text("w1.earlier\n")
    before = servers.call(servers.js.get_last_msg(EVENTS, f"{EVENTS}.{name}")).seq
    runner = runner_of(Member(name=name, sealed=b""), tmp_path, servers)
    for _ in range(2):
        with pytest.raises(NewerRelease, match="format 2"):
            runner.take(cast(WorkerLease, HeldLease()), ())
    assert servers.call(servers.js.get_last_msg(EVENTS, f"{EVENTS}.{name}")).seq == before
    assert (tmp_path / "outbox").exists()
    assert not runner.is_owned


def test_entry_is_left_alone(
    servers: Servers, tmp_path: Path, new_name: Callable[[], str], newer: pytest.MonkeyPatch
) -> None:
    """No command changes the entry of a newer release, except `remove`; no worker takes the person; the status names it."""
    name, people = new_name(), People(servers)
    people.add(name, CheckedConfig(sealed=b"sealed"), replace=False)
    newer.undo()
    entry = servers.changes(PEOPLE)[name]
    with pytest.raises(NewerRelease):
        people.get(name)
    with pytest.raises(NewerRelease):
        people.add(name, CheckedConfig(sealed=b"older"), replace=True)
    person = person_of(name, entry)
    assert person is not None
    with pytest.raises(NewerRelease):
        runner_of(person, tmp_path, servers).take(cast(WorkerLease, HeldLease()), ())
    assert servers.changes(PEOPLE)[name] == entry
    assert read_fleet(servers)["people"][name] == STATE
    people.remove(name)
    assert not people.has(name)


def test_unknown_fields_stay(servers: Servers, new_name: Callable[[], str]) -> None:
    """What another release of the same format has added to an entry survives a command of this one."""
    name, people = new_name(), People(servers)
    people.add(name, CheckedConfig(sealed=b"sealed"), replace=False)
    person = people.get(name)
    people.store(attrs.evolve(person, more={"region": "eu"}))
    people.store(attrs.evolve(people.get(name), paused=True))
    people.add(name, CheckedConfig(sealed=b"other"), replace=True)
    assert people.get(name).more == {"region": "eu"}
    assert people.get(name).paused
    people.remove(name)


def test_unreadable_lease_is_alive(servers: Servers) -> None:
    """If this release cannot read the entry of another worker, it does not take that worker's people."""
    bucket = servers.bucket(WORKERS)
    for value, alive in ((b"\x02newer", True), (b"[]", True), (b'{"owner": "w5.other"}', False)):
        servers.call(bucket.put("w5", value))
        assert may_have_lease(servers, "w5.one") == alive
    servers.call(bucket.delete("w5"))
    assert not may_have_lease(servers, "w5.one")


def test_unreadable_status(servers: Servers, new_name: Callable[[], str]) -> None:
    """`fleet status` works if a published state cannot be read."""
    name, people = new_name(), People(servers)
    people.add(name, CheckedConfig(sealed=b"sealed"), replace=False)
    for value in (b"\x02", b"[]", b'{"state": "asleep"}'):
        servers.call(servers.bucket(STATUS).put(name, value))
        assert name in read_fleet(servers)["people"]
    people.remove(name, with_data=True)


def state_of(fleet: LightFleet) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(fleet.run("status", "--json", expect=(0, TROUBLED)))
    return found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightFleet]:
    """A worker of this release and one of a newer one, with one person each."""
    folder = tmp_path_factory.mktemp("mixed")
    server = server_in(folder)
    server.start()
    # A lease that is long enough for a busy computer: if the older worker lost it, its person would be of the newer release, too.
    programs = {"newer": [sys.executable, "-c", NEWER]}
    world = LightFleet(folder, f"nats://127.0.0.1:{server.port}", lease_s=8.0, programs=programs)
    try:
        for worker in ("older", "newer"):
            world.start(worker)
        world.eventually(lambda: len(state_of(world)["workers"]) == 2, "two workers")  # else the first one gets both
        for worker in ("older", "newer"):
            world.add(
                next(name for name in map("p{}".format, range(99)) if worker_for(name, ("older", "newer")) == worker)
            )
        world.eventually(
            lambda: [report["people"] for report in state_of(world)["workers"].values()] == [1, 1], "one person each"
        )
        world.wait_until_all_asked()
        yield world
    finally:
        world.close()
        server.stop()


def test_people_of_the_newer_release_wait(fleet: LightFleet) -> None:
    """If the newer worker ends, its people wait for it, all others are served, and in the end nothing is lost or doubled."""
    newer_people = [name for name in fleet.people if worker_for(name, ("older", "newer")) == "newer"]
    lines = fleet.run("status", expect=(0, TROUBLED))
    assert "release 5.0.0" in lines
    assert f"release {formats.RELEASE}" in lines
    fleet.signal("newer", signal.SIGKILL)
    fleet.eventually(
        lambda: {name for name, found in state_of(fleet)["people"].items() if found == STATE} == {*newer_people},
        "the people wait for the newer release",
    )
    for _ in range(2):  # the killed worker's last request may still be counted during the first
        asked = dict(fleet.cloud.asked)
        fleet.eventually(
            lambda asked=asked: all(
                fleet.cloud.asked[name] > asked[name] for name in {*fleet.people} - {*newer_people}
            ),
            "the older worker serves its people",
        )
    assert all(fleet.cloud.asked[name] == asked[name] for name in newer_people)
    assert "newer release" in fleet.run("export", newer_people[0], expect=(REFUSED,))
    fleet.start("newer")
    fleet.wait_until_all_asked()
    assert fleet.settle() == {"lost": [], "doubled": [], "wrong": []}, fleet.logs()
    assert state_of(fleet)["states"] == {"ok": 2}


def test_newer_fleet(fleet: LightFleet) -> None:
    """If a newer release has changed the whole fleet, an older worker gives its people back and ends, and commands refuse."""
    servers = Servers(NatsLogin(servers=[fleet.nats_url]), name="tests")
    try:
        config = servers.call(servers.js.stream_info(f"KV_{PEOPLE}")).config
        config.metadata = {**(config.metadata or {}), formats.KEY: "2"}
        servers.call(servers.js.update_stream(config))
        assert fleet.workers["older"].wait(60) == REFUSED, fleet.logs()
        assert "newer release" in fleet.log("older").read_text()
        for words in (("status",), ("pause", fleet.people[0]), ("remove", fleet.people[0])):
            assert "newer release" in fleet.run(*words, expect=(REFUSED,))
        fleet.wait_until_all_asked()  # the newer worker has everybody
    finally:
        servers.close()
