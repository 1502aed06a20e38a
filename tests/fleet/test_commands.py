"""``tconnectsync fleet``: people, their sealed configurations, and requests for one person, on a real server with a real worker."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from tconnectsync_fleet.add_commands import who_begins
from tconnectsync_fleet.lease import STOPPING
from tconnectsync_fleet.nats_login import NatsLogin
from tconnectsync_fleet.people import CheckedConfig, Member, People
from tconnectsync_fleet.servers import EVENTS, PEOPLE, SNAPSHOTS, STATUS, WORKERS, Servers, has_data
from tconnectsync_fleet.stream_replica import CHECKSUM, POSITION
from tests.e2e.command_in_process import run_command
from tests.fleet.light_world import PASSWORD, LightFleet
from tests.support.nats_servers import server_in

TROUBLED = 9


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LightFleet]:
    """A fleet with one worker, and a server of its own: others have people of the same names."""
    folder = tmp_path_factory.mktemp("fleet")
    server = server_in(folder)
    server.start()
    world = LightFleet(folder, f"nats://127.0.0.1:{server.port}", lease_s=6.0)  # a busy computer renews late
    try:
        yield world
    finally:
        world.close()
        server.stop()


@pytest.fixture(scope="module")
def connection(fleet: LightFleet) -> Iterator[Servers]:
    servers = Servers(NatsLogin(servers=[fleet.nats_url]), name="tests")
    yield servers
    servers.close()


def test_secrets_are_sealed(fleet: LightFleet, connection: Servers) -> None:
    """Nothing of the configuration can be read in the bucket, also not a secret that was in a file of its own."""
    secret = fleet.folder / "password"
    secret.write_text(f"{PASSWORD}\n")
    path = fleet.config("sealed")
    path.write_text(path.read_text().replace(f'password = "{PASSWORD}"', f'password_file = "{secret.name}"'))
    fleet.run("add", "sealed", "--config", str(path))
    entry = People(connection).get("sealed").value()
    assert PASSWORD.encode() not in entry
    assert b"sources" not in entry
    fleet.run("remove", "sealed")
    assert "sealed" not in People(connection).all()


def test_configuration_from_the_standard_input(
    fleet: LightFleet, connection: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file need not be readable in the worker's container; a wrong one is refused as usual."""
    for name, text, status in (("piped", fleet.config("piped").read_bytes(), 0), ("wrong", b"poll_mix = 3\n", 2)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        fleet.run("add", name, "--config", "-", expect=(status,))
        assert (name in People(connection).all()) == (status == 0)
    fleet.run("remove", "piped")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"more": "[sinks.lihgt]\nenabled = true\n"}, "lihgt"),
        ({"more": "poll_mix = 3\n"}, "poll_mix"),
        ({"url": "", "more": 'x = "'}, "TOML"),
    ],
)
def test_wrong_configuration_is_refused(
    fleet: LightFleet, connection: Servers, changes: dict[str, str], word: str
) -> None:
    """What `check` would refuse is not stored."""
    said = fleet.run("add", "wrong", "--config", str(fleet.config("wrong", **changes)), expect=(2,))
    assert word in said
    assert "wrong" not in People(connection).all()


def test_options_of_one_computer_are_refused(fleet: LightFleet) -> None:
    """A person cannot choose the worker's plugins."""
    path = fleet.config("machine")
    path.write_text('blocked_plugins = ["mqtt"]\n' + path.read_text())
    assert "blocked_plugins" in fleet.run("add", "machine", "--config", str(path), expect=(2,))


@pytest.mark.parametrize(
    "words", [("show", "nobody"), ("pause", "nobody"), ("remove", "nobody"), ("run", "nobody", "sync")]
)
def test_unknown_person(fleet: LightFleet, words: tuple[str, ...]) -> None:
    """A command for somebody who does not exist says how to list the people."""
    assert "fleet status" in fleet.run(*words, expect=(2,))


def test_worker_name_that_is_no_key(fleet: LightFleet) -> None:
    """A worker with such a name would never get a lease: it is refused at once."""
    said = fleet.run("worker", "--name", "a b", "--folder", str(fleet.folder / "unnamed"), expect=(2,))
    assert "--name" in said
    assert not (fleet.folder / "unnamed").exists()


def test_key_of_another_fleet(fleet: LightFleet) -> None:
    """A worker with it would take people over and could do nothing for them. It ends, and takes nobody."""
    fleet.run("add", "sealed", "--config", str(fleet.config("sealed")))
    other = fleet.folder / "other.key"
    fleet.run("key", str(other))
    words = ["--config", str(fleet.folder / "worker.toml"), "fleet", "worker", "--servers", fleet.nats_url]
    done = run_command([*words, "--key", str(other), "--folder", str(fleet.folder / "other")], fleet.environment)
    assert done.returncode == 2
    assert "not this fleet's key" in done.stderr
    fleet.run("remove", "sealed")


def test_name_twice(fleet: LightFleet) -> None:
    """Adding a person twice needs --replace."""
    fleet.run("add", "twice", "--config", str(fleet.config("twice")))
    assert "--replace" in fleet.run("add", "twice", "--config", str(fleet.config("twice")), expect=(2,))
    fleet.run("add", "--replace", "twice", "--config", str(fleet.config("twice")))
    fleet.run("remove", "twice")


def test_name_with_a_log(fleet: LightFleet, connection: Servers) -> None:
    """A log that stayed may be another person's: nobody continues it unless the command says so."""
    config = ("--config", str(fleet.config("former")))
    headers = {POSITION: "1", CHECKSUM: "0"}
    connection.call(connection.js.publish(f"{EVENTS}.former", b"", headers=headers))
    said = fleet.run("add", "former", *config, expect=(2,))
    assert "fleet remove --data former" in said
    assert "--continue-log" in said
    assert not People(connection).has("former")
    fleet.run("add", "--continue-log", "former", *config)
    assert "--replace" in fleet.run("add", "former", *config, expect=(2,))
    fleet.run("remove", "--data", "former")
    fleet.run("add", "former", *config)
    fleet.run("remove", "former")


def test_everybody_of_a_folder(fleet: LightFleet, connection: Servers) -> None:
    """Many are added at once. A file with a mistake, a wrong name and an old log are refused alone; a second run adds the rest."""
    folder = fleet.folder / "many"
    folder.mkdir()
    names = [f"many-{number}" for number in range(30)]
    for name in (*names, "broken", "left", "No Name"):
        fleet.config(name.replace(" ", "-")).rename(folder / f"{name}.toml")
    (folder / "broken.toml").write_text("[sinks.lihgt]\nenabled = true\n")
    connection.call(connection.js.publish(f"{EVENTS}.left", b"", headers={POSITION: "1", CHECKSUM: "0"}))
    said = fleet.run("add-all", str(folder), expect=(2,))
    assert "30 added, 0 were there already, 3 refused" in said
    assert "lihgt" in said
    assert "fleet remove --data left" in said
    assert "small letters" in said
    assert set(names) <= People(connection).all().keys()
    assert not {"broken", "left"} & People(connection).all().keys()
    for name in ("broken", "left", "No Name"):
        (folder / f"{name}.toml").unlink()
    fleet.config("many-30").rename(folder / "many-30.toml")
    assert "1 added, 30 were there already, 0 refused" in fleet.run("add-all", str(folder))
    for name in (*names, "many-30"):
        People(connection).remove(name)
    fleet.run("remove", "--data", "left")


def test_two_people_with_one_site(fleet: LightFleet, connection: Servers) -> None:
    """A second person with a site by mistake is refused by each command that adds somebody, unless it says that it is meant."""
    first = fleet.config("with-site")
    fleet.run("add", "with-site", "--config", str(first))
    folder = fleet.folder / "same-site"
    folder.mkdir()
    copy = folder / "same.toml"
    copy.write_bytes(first.read_bytes())
    copy.chmod(0o600)
    add = ("add", "same", "--config", str(copy))
    import_ = ("import", "same", "--config", str(copy), "--data-dir", str(folder))
    for words in (add, import_, ("add-all", str(folder))):
        said = fleet.run(*words, expect=(2,))
        assert "with-site already delivers to http://127.0.0.1" in said
        address = said.split("--shared-receiver ")[1].split("`")[0]
        assert "same" not in People(connection).all()
    assert not has_data(connection, "same")
    assert "1 added" in fleet.run("add-all", str(folder), "--shared-receiver", address)
    fleet.run("remove", "same")
    fleet.run(*add, "--shared-receiver", address)
    for name in ("same", "with-site"):
        fleet.run("remove", name)
    fleet.run(*add)
    fleet.run("remove", "same")


def test_unreadable_entry(fleet: LightFleet, connection: Servers) -> None:
    """An entry that cannot be read is in the status; it can be replaced and removed."""
    bucket = connection.bucket(PEOPLE)
    connection.call(bucket.put("junk", b"no JSON"))
    assert "junk: entry not readable" in fleet.run("status", expect=(TROUBLED,))
    assert "--replace junk" in fleet.run("pause", "junk", expect=(2,))
    fleet.run("add", "--replace", "junk", "--config", str(fleet.config("junk")))
    assert People(connection).get("junk").sealed
    connection.call(bucket.put("junk", b"no JSON"))
    fleet.run("remove", "junk")
    assert not People(connection).has("junk")


def test_init_again_changes_nothing(fleet: LightFleet, connection: Servers) -> None:
    """A fleet that was set up without a limit has none after another ``init``; other options do not change what exists."""
    said = fleet.run("init", "--replicas", "1", "--requests-per-second", "5")
    assert "Nothing was changed by `--replicas`, `--requests-per-second`." in said
    assert "`tconnectsync fleet limit --per-second 5`" in said
    said = fleet.run("init", "--lease", "15")
    assert "`--lease`." in said
    assert "--requests-per-second" not in said
    assert fleet.run("init").strip() == "The fleet was set up before, and stays as it is."
    assert "no limit" in fleet.run("limit")
    lease = connection.call(connection.js.stream_info(f"KV_{WORKERS}")).config.max_age
    assert lease == fleet.lease_s


def test_status_of_wrong_usage(fleet: LightFleet) -> None:
    """What somebody must change ends with status 2, and nothing was done."""
    content = fleet.key.read_bytes()
    assert "exists already" in fleet.run("key", str(fleet.key), expect=(2,))
    assert "there is no folder" in fleet.run("key", f"{fleet.key.parent}/gone/", expect=(2,))
    assert fleet.key.read_bytes() == content
    empty = fleet.folder / "nobody"
    empty.mkdir()
    assert "no file NAME.toml" in fleet.run("add-all", str(empty), expect=(2,))
    folder = fleet.folder / "no-metrics"
    said = fleet.run("worker", "--metrics", "foo", "--folder", str(folder), expect=(2,))
    assert "HOST:PORT" in said
    assert not folder.exists()
    assert "backfill needs first=DAY" in fleet.run("run", "nobody", "backfill", expect=(2,))


def test_report_of_another_release(fleet: LightFleet, connection: Servers) -> None:
    """A worker whose report lacks numbers is shown, and `fleet status` does not fail."""
    connection.call(connection.bucket(WORKERS).put("foreign", b'{"owner": "foreign.1"}'))
    assert "foreign: 0 people" in fleet.run("status", expect=(0, TROUBLED))
    connection.call(connection.bucket(WORKERS).purge("foreign"))


def heaps_of_threads(pid: int) -> int:
    """In how many parts glibc has divided the memory of a process between its threads: each begins at a multiple of 64 MB."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return sum(" rw-p " in line and int(line.partition("-")[0], 16) % (64 << 20) == 0 for line in lines)


def test_life_of_people(fleet: LightFleet, connection: Servers) -> None:
    """Add, work, a broken neighbour, show, run, pause, resume, remove: with a real worker."""
    fleet.add("anna", "berta")
    broken = People(connection)
    broken.add("broken", CheckedConfig(sealed=b"not sealed for this fleet"), replace=False)
    fleet.start("w1")
    stored = fleet.cloud.stored
    fleet.eventually(lambda: stored.get("anna") and stored.get("berta"), "documents of both")
    fleet.eventually(
        lambda: "another key" in fleet.run("status", expect=(TROUBLED,)), "the broken person in the status"
    )
    told = json.loads(fleet.run("status", "--json", expect=(TROUBLED,)))
    assert told["people"]["anna"] == "ok"
    assert set(told["troubles"]) == {"broken"}
    assert json.loads(fleet.run("show", "anna").splitlines()[0])["sinks"]
    fleet.run("remove", "broken")

    with fleet.cloud.lock:
        fleet.cloud.stored["anna"] = {}
    assert "to send again" in fleet.run("run", "anna", "replay", "sink=light")
    assert len(stored["anna"]) > 0
    assert "no request" in fleet.run("run", "anna", "dance", expect=(2,))

    fleet.run("pause", "anna")
    said = fleet.run("add", "--replace", "anna", "--config", str(fleet.config("anna")))
    assert "anna was replaced. anna stays paused" in said
    assert "begins within" not in said
    fleet.eventually(lambda: "paused: 1" in fleet.run("status"), "the pause in the status")
    fleet.eventually(lambda: "w1: 1 person" in fleet.run("status"), "anna given back")
    for words in (("run", "anna", "sync"), ("show", "anna")):
        assert "fleet resume anna" in fleet.run(*words, expect=(2,))
    fleet.run("resume", "anna")
    before = fleet.cloud.asked["anna"]
    fleet.eventually(lambda: fleet.cloud.asked["anna"] > before, "anna asked again")
    fleet.run("remove", "berta")
    fleet.people.remove("berta")
    people = fleet.folder / "w1" / "people"
    fleet.eventually(lambda: not (people / "berta").exists(), "the worker's copies deleted")
    assert has_data(connection, "berta")
    log = fleet.log("w1").read_text()
    assert "person=broken" in log
    assert PASSWORD not in log
    assert fleet.settle() == {"lost": [], "doubled": [], "wrong": []}

    assert heaps_of_threads(fleet.workers["w1"].pid) <= 2
    for name in ("anna", "berta"):  # one who is at work, and one who was removed before
        fleet.run("remove", "--data", name)
    fleet.eventually(lambda: not (people / "anna").exists(), "the worker's copies deleted")
    fleet.signal("w1", signal.SIGTERM)
    assert fleet.workers["w1"].wait(60) == 0, fleet.logs()
    for name in ("anna", "berta"):
        assert not has_data(connection, name)
        assert {bucket: connection.changes(bucket)[name].value for bucket in (PEOPLE, STATUS)} == {
            PEOPLE: None,
            STATUS: None,
        }
        with pytest.raises(NotFoundError):
            connection.call(connection.call(connection.js.object_store(SNAPSHOTS)).get(name))


def test_extra_is_missing(tmp_path: Path) -> None:
    """Without the extra, the other commands work, NATS is not imported, and `fleet` names the extra."""
    (tmp_path / "nats.py").write_text("raise ImportError('no nats', name='nats')\n")
    program = (
        "import sys; sys.path.insert(0, sys.argv.pop(1));"
        "from tconnectsync.cli.root import run;"
        "status = run(sys.argv[1:]); assert 'nacl' not in sys.modules; sys.exit(status)"
    )

    def done(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, str(tmp_path), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert done("plugins").returncode == 0
    refused = done("fleet", "status")
    assert refused.returncode == 2
    assert "fleet" in refused.stderr
    assert "pip install" in refused.stderr


@pytest.mark.parametrize(
    ("workers", "words"),
    [
        ({"w1": {}, "w2": {STOPPING: True}}, "A worker begins within seconds: "),
        ({"w2": {STOPPING: True}}, "No worker runs now"),
        ({}, "No worker runs now"),
        (NatsError(), "A worker begins within seconds, if one runs: "),
    ],
)
def test_answer_of_add_promises_nothing_untrue(
    workers: dict[str, Any] | Exception, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker begins only if one runs. The person was added, also if nobody can say who runs."""
    monkeypatch.setattr("tconnectsync_fleet.lease.live_workers", Mock(side_effect=[workers]))
    assert who_begins(cast(Servers, None), Member(name="anna", sealed=b"")).startswith(words)
