"""``status`` measures disk, lock and daemon itself, and names a remedy that helps and harms nothing."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import attrs
import pytest

from tconnectsync import disk_check as diskcheck
from tconnectsync.daemon.control_socket import ControlServer
from tconnectsync.daemon.loop import LoadedConfig, _RunningDaemon
from tconnectsync.daemon.state import FILE_NAME, SOCKET_NAME, DaemonRecord, load_state
from tconnectsync.disk_check import FREE_SPACE_FLOOR, look_at_disk
from tconnectsync.errors import ConfigError, RequestRefused
from tconnectsync.eventlog import FolderLock, OsFiles, lock_holder
from tconnectsync.health.states import Health, HealthState
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.outbox.stored_values import COMPARED
from tconnectsync.queries.log_records import read_events
from tconnectsync.queries.status import status_of
from tconnectsync.reconcile.comparison_state import ComparisonState
from tconnectsync.retry.deadline import RememberedDeadline
from tconnectsync.storage_errors import FAILING
from tconnectsync.text.durations import iso_time
from tests.support.engine.harness import ZONE, EngineHarness

USAGE = type(shutil.disk_usage("/"))


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[EngineHarness]:
    """A day is delivered; everything is closed."""
    harness = EngineHarness(tmp_path / "data")
    assert harness.ask("sync").status == 0
    harness.engine.close()
    yield harness
    harness.engine.close()


def status(harness: EngineHarness) -> dict[str, Any]:
    return status_of(harness.folder, sources={"pump": True}, sinks={"shelf": True}, zones=ZONE, clock=harness.clock)


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system says that every disk is read-only."""
    real = os.statvfs

    def statvfs(path: Any) -> Any:
        found = list(real(path))
        found[8] |= os.ST_RDONLY
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", statvfs)


# --- the disk -----------------------------------------------------------------------------------------------------------


def test_disk_with_room(harness: EngineHarness) -> None:
    """A disk with room is well."""
    found = status(harness)
    assert found["disk"]["state"] == "ok"
    assert found["disk"]["free_bytes"] > 0
    assert found["sinks"]["shelf"]["state"] == "ok"


def test_disk_full(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is reported, and no message says to delete anything."""
    monkeypatch.setattr(diskcheck.shutil, "disk_usage", lambda _: USAGE(1 << 40, 1 << 40, FREE_SPACE_FLOOR - 1))
    found = status(harness)["disk"]
    assert found["state"] == "halted"
    assert "63 MB are free" in found["message"]
    assert "Free some space" in found["remedy"]


def test_disk_without_room_for_files(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has space may have no inode left; some file systems count none."""
    found = list(os.statvfs(harness.folder))
    for files, free, state in ((60, 0, "halted"), (60, 1, "ok"), (0, 0, "ok")):
        found[5], found[7] = files, free
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(found))
        disk = status(harness)["disk"]
        assert disk["state"] == state
        assert state == "ok" or ("no more files" in disk["message"] and "`df -i`" in disk["remedy"])


@pytest.mark.usefixtures("read_only")
def test_disk_read_only(harness: EngineHarness) -> None:
    """A read-only disk is reported; outbox and log are still read."""
    for path in harness.folder.rglob("*.sqlite-*"):
        path.unlink()
    before = {path: path.read_bytes() for path in harness.folder.rglob("*") if path.is_file()}
    found = status(harness)
    assert found["disk"]["read_only"]
    assert "read-only" in found["disk"]["message"]
    assert "remount" in found["disk"]["remedy"]
    assert found["sinks"]["shelf"]["state"] == "ok"
    assert found["log"]["positions"] > 0
    assert {path: path.read_bytes() for path in harness.folder.rglob("*") if path.is_file()} == before


@pytest.mark.usefixtures("read_only")
def test_outbox_on_read_only_disk(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a read-only disk makes an outbox unreadable, no message says to delete it."""

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr("tconnectsync.queries.status.Outbox", fail)
    found = status(harness)["sinks"]["shelf"]
    assert found["state"] == "waiting"
    assert "Delete nothing" in found["remedy"]


def test_outbox_not_a_database(harness: EngineHarness) -> None:
    """An outbox that is no database is rebuilt, not deleted by hand."""
    (harness.folder / "outbox" / "shelf.sqlite").write_bytes(b"noise" * 4096)
    found = status(harness)["sinks"]["shelf"]
    assert found["state"] == "damaged"
    assert "tconnectsync sync" in found["remedy"]
    assert "elete" not in found["remedy"]
    harness.open()
    assert harness.ask("sync").status == 0
    harness.engine.close()
    assert status(harness)["sinks"]["shelf"]["state"] == "ok"


def test_outbox_busy(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy outbox is not reported as corrupt."""

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise sqlite3.OperationalError("database is locked")

    monkeypatch.setattr("tconnectsync.queries.status.Outbox", fail)
    assert status(harness)["sinks"]["shelf"]["state"] == "waiting"


@pytest.mark.parametrize(
    ("words", "state", "remedy"),
    [
        ("disk I/O error", "halted", "dmesg"),
        ("database is locked", "waiting", "lsof"),
        ("unable to open database file", "halted", "chown"),
        ("no such table: document", "waiting", "again in a minute"),
    ],
)
def test_outbox_not_read(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, words: str, state: str, remedy: str
) -> None:
    """Each reason has its remedy."""

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise sqlite3.OperationalError(words)

    monkeypatch.setattr("tconnectsync.queries.status.Outbox", fail)
    found = status(harness)["sinks"]["shelf"]
    assert found["state"] == state
    assert remedy in found["remedy"]


@pytest.mark.parametrize("part", ["outbox", "outbox/shelf.sqlite"])
def test_outbox_not_writable(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """The outbox itself cannot say so: what it stored last is that all is well."""
    access, forbidden = os.access, harness.folder / part

    def is_allowed(path: Path, mode: int, **how: bool) -> bool:
        return (path, mode) != (forbidden, os.W_OK) and access(path, mode, **how)

    monkeypatch.setattr(os, "access", is_allowed)
    found = status(harness)["sinks"]["shelf"]
    assert found["state"] == "halted"
    assert "cannot be written" in found["message"]
    assert "chown" in found["remedy"]
    assert found["cursor"] == status(harness)["log"]["positions"]


@pytest.mark.parametrize(("missing", "state"), [("", "ok"), ("pump.json", "halted"), ("pump.times.json", "halted")])
def test_state_not_saved(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, missing: str, state: str) -> None:
    """What the source stored last is that all is well. Files that are there can be written in place."""
    access, folder = os.access, harness.folder / "state"
    if missing:
        (folder / missing).unlink()

    def is_allowed(path: Path, mode: int, **how: bool) -> bool:
        return (path, mode) != (folder, os.W_OK) and access(path, mode, **how)

    monkeypatch.setattr(os, "access", is_allowed)
    found = status(harness)["sources"]["pump"]
    assert found["state"] == state
    assert (f"{folder} cannot be written" in found["message"]) == (state == "halted")
    assert ("chown" in (found["remedy"] or "")) == (state == "halted")


def test_state_file_not_writable(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a new file nor the old one can be written. A refusal that was saved before is still shown."""
    access, folder = os.access, harness.folder / "state"
    monkeypatch.setattr(
        os,
        "access",
        lambda path, mode, **how: not (mode == os.W_OK and folder in (path, path.parent)) and access(path, mode, **how),
    )
    assert status(harness)["sources"]["pump"]["state"] == "halted"
    saved = SourceState.load(folder / "pump.json")
    saved.health = Health(state=HealthState.REFUSED, message="wrong password")
    saved.save()
    assert status(harness)["sources"]["pump"]["state"] == "refused"


def test_reader_of_the_data_folder(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user who may only look at the folder sees that all is well: the daemon's user writes there."""
    access, user = os.access, os.geteuid()
    monkeypatch.setattr(os, "access", lambda path, mode, **how: mode != os.W_OK and access(path, mode, **how))
    assert status(harness)["sinks"]["shelf"]["state"] == "halted"
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    assert status(harness)["sinks"]["shelf"]["state"] == "ok"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOTCONN])
def test_disk_does_not_answer(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """A disk that does not answer is reported."""

    def fail(*_: Any, **__: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tconnectsync.queries.status.EventLog.open", fail)
    found = status(harness)["log"]
    assert os.strerror(number) in found["damaged"]
    assert "backup" in found["remedy"]
    monkeypatch.setattr(diskcheck.shutil, "disk_usage", fail)
    assert look_at_disk(harness.folder).remedy == FAILING


# --- the log's end ------------------------------------------------------------------------------------------------------


def last_segment(harness: EngineHarness) -> Path:
    return max((harness.folder / "log").glob("*.jsonl"))


@pytest.mark.parametrize("cut", [1, 10, 400])
def test_log_torn_end_with_daemon(harness: EngineHarness, cut: int) -> None:
    """A torn end of the log under a running daemon is reported; a restart fixes it."""
    path = last_segment(harness)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - cut)
    found = status(harness)
    assert "torn" in found["log"]["damaged"]
    assert "systemctl restart" in found["log"]["remedy"]
    assert "log repair" not in found["log"]["remedy"]
    harness.open()
    assert harness.ask("sync").status == 0
    harness.engine.close()
    assert status(harness)["log"]["damaged"] is False


def test_log_corrupt_last_segment(harness: EngineHarness) -> None:
    """Corruption in the last segment is reported before the background check finds it."""
    path = last_segment(harness)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = status(harness)["log"]
    assert str(path) in found["damaged"]
    assert "log repair" in found["remedy"]


def test_log_line_being_written(harness: EngineHarness) -> None:
    """A line that is being written is not reported as corrupt."""
    with last_segment(harness).open("ab") as file:
        file.write(b'01234567 {"pos":')
    assert status(harness)["log"]["damaged"] is False


# --- the daemon ---------------------------------------------------------------------------------------------------------


@attrs.define
class RunnersOnly:
    runners: dict[str, object] = attrs.field(factory=dict)

    def finish_sending(self, alive: Callable[[], None]) -> None:
        """No batch is on its way."""

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def record(harness: EngineHarness) -> Iterator[DaemonRecord]:
    """A daemon: this process owns the folder and listens."""
    record = DaemonRecord(harness.folder, os.getpid(), harness.clock.now)
    server = ControlServer(harness.folder / SOCKET_NAME, lambda _: iter(()))
    with FolderLock(harness.folder):
        server.start()
        record.started()
        yield record
        server.close()


def test_daemon_runs(harness: EngineHarness, record: DaemonRecord) -> None:
    """A running daemon is reported with its process id."""
    found = status(harness)["daemon"]
    assert (found["state"], found["pid"]) == ("ok", os.getpid())
    record.stopped()
    assert not (harness.folder / FILE_NAME).exists()


def test_daemon_without_its_lock_file(harness: EngineHarness, record: DaemonRecord) -> None:
    """It still owns the folder."""
    (harness.folder / "lock").unlink()
    found = status(harness)["daemon"]
    assert (found["state"], found["pid"]) == ("ok", os.getpid())


def test_command_without_the_lock_file(harness: EngineHarness) -> None:
    """A killed daemon left its state file, and a command owns the folder: that is no daemon."""
    DaemonRecord(harness.folder, 4_000_000, harness.clock.now).started()
    with FolderLock(harness.folder):
        (harness.folder / "lock").unlink()
        found = status(harness)["daemon"]
    assert (found["state"], found["pid"]) == ("off", None)
    assert "another process" in found["message"]


def test_reload_refused_without_new_files(harness: EngineHarness, record: DaemonRecord) -> None:
    """The refusal is shown although the disk takes no new file any more."""

    class Filled(OsFiles):
        def write(self, path: Path, data: bytes, *, sync: bool = True) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    record.files = Filled()
    record.reload_refused("timezone: found nothing")
    assert status(harness)["daemon"]["state"] == "refused"


def test_daemon_absent(harness: EngineHarness) -> None:
    """No daemon is no trouble."""
    assert lock_holder(harness.folder) is None
    assert status(harness)["daemon"]["state"] == "off"
    with FolderLock(harness.folder):
        assert lock_holder(harness.folder) == os.getpid()
        assert "a command" in status(harness)["daemon"]["message"]


def test_status_does_not_keep_lock(harness: EngineHarness) -> None:
    """Looking who the owner is keeps nobody out.

    The look holds the lock for a moment.
    """
    (harness.folder / "lock").touch()
    descriptor = os.open(harness.folder / "lock", os.O_RDONLY)
    looker = subprocess.Popen(
        [sys.executable, "-c", "import fcntl,time; fcntl.flock(0, fcntl.LOCK_SH); print('on', flush=True); time.sleep(9)"],
        stdin=descriptor, stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(descriptor)
    assert looker.stdout is not None
    looker.stdout.readline()
    naps: list[float] = []

    def fake_sleep(seconds: float) -> None:
        naps.append(seconds)
        looker.kill()
        looker.wait()

    with pytest.MonkeyPatch.context() as patched, looker.stdout:
        patched.setattr("tconnectsync.eventlog.lock.time.sleep", fake_sleep)
        with FolderLock(harness.folder):
            assert lock_holder(harness.folder) == os.getpid()
    assert len(naps) == 1


def test_daemon_killed(harness: EngineHarness) -> None:
    """A killed daemon is reported."""
    DaemonRecord(harness.folder, 4_000_000, harness.clock.now).started()
    found = status(harness)["daemon"]
    assert found["state"] == "halted"
    assert "journalctl" in found["remedy"]
    assert "systemctl start" in found["remedy"]


def test_daemon_hangs(harness: EngineHarness, record: DaemonRecord) -> None:
    """A daemon that hangs is reported."""
    harness.clock.sleep(86_400)
    found = status(harness)["sources"]["pump"]
    assert found["state"] == "waiting"
    assert str(os.getpid()) in found["message"]
    assert "systemctl restart" in found["remedy"]


def test_daemon_suspended_or_deaf(harness: EngineHarness) -> None:
    """A daemon that is suspended or does not answer is reported."""
    program = "import sys; from pathlib import Path; from tconnectsync.eventlog import FolderLock\n"
    program += "lock = FolderLock(Path(sys.argv[1])); print('on', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(harness.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        DaemonRecord(harness.folder, process.pid, harness.clock.now).started()
        deaf = status(harness)["daemon"]
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        suspended = status(harness)["daemon"]
        process.kill()
    assert (deaf["state"], deaf["pid"]) == ("waiting", process.pid)
    assert "does not accept commands" in deaf["message"]
    assert "suspended" in suspended["message"]


def test_reload_refused(harness: EngineHarness, record: DaemonRecord) -> None:
    """A refused reload is reported until one succeeds."""

    def refuse() -> LoadedConfig:
        raise ConfigError(("config.toml: timezone: found nothing",), remedy="Put it right.")

    def loaded() -> LoadedConfig:
        return LoadedConfig(RunnersOnly, lambda _: None)  # type: ignore[arg-type]

    def fail() -> NoReturn:
        raise ValueError("a secret of the plugin's")

    running = _RunningDaemon(loaded(), RunnersOnly(), record)  # type: ignore[arg-type]
    running.reload(refuse)
    found = status(harness)["daemon"]
    assert found["state"] == "refused"
    assert "timezone: found nothing" in found["message"]
    assert "systemctl reload" in found["remedy"]
    running.reload(loaded)
    assert status(harness)["daemon"]["state"] == "ok"
    running.reload(lambda: LoadedConfig(fail, lambda _: None))
    found = status(harness)["daemon"]
    assert "ValueError" in found["message"]
    assert "secret" not in found["message"]


def test_daemon_state_unreadable(harness: EngineHarness, tmp_path: Path) -> None:
    """A daemon state that cannot be read or written stops nothing."""
    (harness.folder / FILE_NAME).write_text('{"pid": "x"')
    assert load_state(harness.folder) is None
    gone = DaemonRecord(tmp_path / "gone", 1, harness.clock.now)
    gone.started()
    gone.reload_refused("no")
    gone.stopped()
    assert not (tmp_path / "gone").exists()


# --- reading back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "state"), [(1, "backing_off"), (4, "halted")])
def test_read_back_fails(harness: EngineHarness, days: int, state: str) -> None:
    """A read-back that fails is reported with the time of the next attempt."""
    harness.open()
    runner = harness.engine.runners["shelf"]
    now = harness.clock.now()
    compared = ComparisonState(
        at=now - timedelta(days=days),
        not_before=RememberedDeadline(until=now + timedelta(hours=1)),
        failures=2,
        problem="HTML",
    )
    runner.outbox.values.put(COMPARED, compared.to_json())
    harness.engine.close()
    found = status(harness)["sinks"]["shelf"]
    assert found["state"] == state
    assert "HTML" in found["message"]
    assert "tconnectsync check" in found["remedy"]
    assert found["next_try"] == iso_time(now + timedelta(hours=1))


# --- events -------------------------------------------------------------------------------------------------------------


def test_events_of_unknown_pump(harness: EngineHarness) -> None:
    """Events of a pump that the log does not know are refused."""
    config: Any = SimpleNamespace(data_dir=harness.folder)

    def read(pump: str) -> list[Any]:
        return list(read_events(config, pump=pump, on_damage=lambda _: None, clock=harness.clock))

    assert read("1")
    with pytest.raises(RequestRefused, match="no pump '123'; it has 1") as caught:
        read("123")
    assert "tconnectsync status" in str(caught.value.remedy)
