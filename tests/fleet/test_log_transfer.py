"""A single-person data folder moves into the fleet and out again, between a simulated cloud and a simulated Nightscout."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync.clock import SystemClock
from tconnectsync.eventlog import FolderLock
from tconnectsync_fleet.log_transfer import _new_file
from tconnectsync_fleet.people import CheckedConfig, People
from tconnectsync_fleet.servers import NatsLogin, Servers
from tconnectsync_fleet.status import publish_status
from tconnectsync_fleet.stream_replica import StreamReplica
from tests.e2e.installation import ZONE, Installation, eventually, recent_pump
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.real_servers import Server
from tests.support.simulated_nightscout.app import COLLECTIONS, SimulatedNightscout


@attrs.define
class MovedInstallation:
    """An installation whose site has everything, and an empty fleet."""

    home: Installation
    cloud: FaultyTandemCloud
    site: SimulatedNightscout
    nats_url: str

    def fleet(self, *words: str, expect: tuple[int, ...] = (0,)) -> str:
        done = self.home.run(*self.words(*words), expect=expect)
        return done.stdout + done.stderr

    def words(self, command: str, *words: str) -> list[str]:
        servers = [] if command == "key" else ["--servers", self.nats_url]
        return ["fleet", command, *servers, *words]

    @property
    def folder(self) -> Path:
        return self.home.folder

    @property
    def key(self) -> list[str]:
        return ["--key", str(self.folder / "fleet.key")]

    @property
    def config(self) -> list[str]:
        return ["--config", str(self.folder / "config.toml"), *self.key]

    def documents(self) -> list[tuple[str, dict[str, Any]]]:
        return [(name, document) for name in COLLECTIONS for document in self.site.documents(name)]

    def differences(self, before: list[tuple[str, dict[str, Any]]]) -> list[Any]:
        now = self.documents()
        return [each for each in before if each not in now] + [each for each in now if each not in before]

    def writes(self) -> int:
        """How many requests have changed the site."""
        return sum(request.method != "GET" for request in self.site.requests)

    @contextlib.contextmanager
    def worker(self, name: str) -> Iterator[None]:
        """A worker process, until it has given ``name`` one whole turn; then it ends in order."""
        words = self.words("worker", *self.key, "--folder", str(self.folder / f"worker-{name}"))
        log = self.folder / "worker.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "tconnectsync", *words], env=self.home.environment,
                stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            )  # fmt: skip
        try:
            eventually(
                lambda: "  ok: 1" in self.fleet("status", expect=(0, 9)).splitlines(),
                f"{name} is well: {log.read_text()}",
            )
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
            process.wait(10)


def lines(data_dir: Path) -> bytes:
    """The text of all segments, some of which may be compressed."""
    found = sorted((data_dir / "log").glob("*.jsonl*"))
    return b"".join(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes() for path in found)


def checksums(backup: tarfile.TarFile) -> Any:
    manifest = backup.extractfile("manifest.json")
    assert manifest is not None
    return json.load(manifest)["files"]


@pytest.fixture(scope="module")
def moving(nats_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MovedInstallation]:
    folder = tmp_path_factory.mktemp("moving")
    with FaultyTandemCloud([recent_pump(2)], SystemClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(folder, cloud, site.url, site.secret, ZONE, history_days=2)
        moving = MovedInstallation(home, cloud, site, f"nats://127.0.0.1:{nats_server.port}")
        moving.fleet("key", str(folder / "fleet.key"))
        moving.fleet("init", "--replicas", "1", "--lease", "2")
        home.run("sync")
        assert len(site.documents("treatments")) > 20
        yield moving


def test_in_and_out(moving: MovedInstallation) -> None:
    """A data folder moves in and out again: the site has the same documents."""
    data, before, writes = moving.folder / "data", moving.documents(), moving.writes()
    moving.fleet("import", "anna", *moving.config, "--data-dir", str(data))
    with moving.worker("anna"):
        assert moving.differences(before) == []
        assert moving.writes() == writes  # the worker knows what was delivered
        assert "pause" in moving.fleet("export", "anna", "--output", str(moving.folder / "early.tar.gz"))
    moving.fleet("pause", "anna")
    backup = moving.folder / "anna.tar.gz"
    assert "pause" not in moving.fleet("export", "anna", "--output", str(backup))

    log = lines(data)
    data.rename(moving.folder / "moved")
    moving.home.run("restore", str(backup))
    assert lines(data) == log
    moving.home.run("sync")
    assert moving.differences(before) == []

    words = ["import", "anna", *moving.config]
    said = moving.fleet(*words, "--data-dir", str(data), expect=(2,))
    assert "add --replace anna" in said
    assert "remove" not in said
    moving.fleet("remove", "anna")
    moving.fleet(*words, "--backup", str(backup))  # its log is the one that the stream has kept
    moving.fleet("remove", "--data", "anna")
    moving.fleet(*words, "--backup", str(backup))
    again = moving.folder / "again.tar.gz"
    exports = moving.folder / "one-export"
    exports.mkdir()
    moving.fleet("export", "anna", "--output", f"{exports}/")
    (named,) = exports.glob("anna-tconnectsync-*.tar.gz")
    assert "anna's doses" in moving.fleet("import", "ben", *moving.config, "--backup", str(named), expect=(2,))
    named.rename(again)
    with tarfile.open(backup) as first, tarfile.open(again) as second:
        assert checksums(first) == checksums(second)
    moving.fleet("remove", "--data", "anna")


def test_export_of_somebody_new(moving: MovedInstallation, new_name: Callable[[], str]) -> None:
    """A backup of everybody does not fail because somebody was added a minute ago. A log that was lost is a failure."""
    name, file = new_name(), moving.folder / "new.tar.gz"
    words = ["export", name, "--output", str(file)]
    assert "no event log" in moving.fleet(*words, expect=(2,))
    with contextlib.closing(Servers(NatsLogin(servers=[moving.nats_url]), name="tests")) as servers:
        People(servers).add(name, CheckedConfig(sealed=b"x"), replace=False)
        assert "no record in the event log yet" in moving.fleet(*words)
        publish_status(servers, name, {"status": 1, "lines": ["the site is down"]})
        assert "no record in the event log yet" in moving.fleet(*words)
        publish_status(servers, name, {"status": 0, "lines": [], "last_fetch": "2026-11-30T01:02:03+00:00"})
        assert "is missing" in moving.fleet(*words, expect=(2,))
        StreamReplica(servers, name, "w1.1").claim()
        assert "no record in the event log yet" in moving.fleet(*words)
    assert not file.exists()
    moving.fleet("remove", "--data", name)


def test_names_of_exported_files(moving: MovedInstallation, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder, each file is a new one that begins with the person's name, also two in one second."""
    folder = moving.folder / "exports"
    folder.mkdir()
    monkeypatch.setattr("time.gmtime", lambda: time.struct_time((2026, 11, 30, 1, 2, 3, 0, 334, 0)))
    for number in ("", "-2", "-3"):
        path = _new_file(folder, "anna")
        assert path.name == f"anna-tconnectsync-20261130T010203Z{number}.tar.gz"
        path.touch()


def test_refusals(moving: MovedInstallation) -> None:
    """A folder that a daemon uses, another log, and a name without a log: each says what to do, and nothing is added."""
    data = moving.folder / "data"
    words = ["import", "berta", *moving.config, "--data-dir"]
    with FolderLock(data):
        assert f"{os.getpid()}" in moving.fleet(*words, str(data), expect=(8,))
    empty = moving.folder / "empty"
    empty.mkdir()
    assert "no event log" in moving.fleet(*words, str(empty), expect=(2,))
    assert "fleet status" in moving.fleet("export", "berta", expect=(2,))
    missing = moving.folder / "missing"
    assert "there is no folder" in moving.fleet("export", "berta", "--output", f"{missing}/", expect=(2,))
    assert not missing.exists()
    assert "berta" not in moving.fleet("status", expect=(0, 9))
