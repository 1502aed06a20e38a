"""A computer without room, or with a wrong clock."""

from __future__ import annotations

import errno
import os
import pwd
import random
import sqlite3
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from tconnectsync import Retryable, storage_errors
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.codec import IndexEntry
from tconnectsync.eventlog.index import Index
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.checkpoints import Checkpoints
from tconnectsync.outbox.preflight import Preflight
from tconnectsync.outbox.sender import Sender
from tconnectsync.projection.fold_runner import FoldRunner
from tconnectsync.runtime.sink_runner import SinkRunner
from tests.support.engine.fakes import FakeReceiver
from tests.support.engine.harness import EngineHarness, hours


def fails_with(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


def user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def test_index_that_could_not_be_written(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records that only the log has, because its index could not be written, are delivered once the index has them too.

    Nothing newer has to come, and every sink delivers them.
    """
    other = FakeReceiver(batch_size=100, address="shelf://two")
    harness.engine.runners = {**harness.engine.runners, "other": harness.another_runner("other", other)}
    harness.ask("sync")
    harness.clock.sleep(2 * 3600)
    add = Index._add

    def locked(index: Index, entries: Sequence[IndexEntry], *more: Any) -> None:
        if any(entry.slot.pump is not None for entry in entries):
            raise sqlite3.OperationalError("database is locked")
        add(index, entries, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Index, "_add", locked)
        assert harness.ask("sync").status == 3
    assert len(harness.starts()) == 24
    harness.clock.sleep(3600)
    harness.pump.hidden = set(range(26 * 60, 28 * 60))  # nothing newer comes
    assert harness.ask("sync").status == 0
    assert harness.starts() == hours(range(26))
    assert sorted(known.at for known in other.there.values()) == hours(range(26))


def test_full_disk_stops_polling(harness: EngineHarness) -> None:
    """A full disk stops polling and nothing else."""
    harness.room.append("only 3 MB are free")
    result = harness.ask("sync")
    assert (result.status, harness.pump.polls) == (3, 0)
    assert "only 3 MB are free" in result.lines[0]
    harness.room.clear()
    harness.clock.sleep(120)
    assert harness.ask("sync").status == 0


def test_full_outbox_stops_its_sink(harness: EngineHarness) -> None:
    """An outbox without room stops its own sink only, which resumes without a command.

    SQLite gets no further page. Polling and the other sink continue, and the sink says what it waits for.
    """
    receiver = FakeReceiver(address="shelf://other", batch_size=100)
    outbox = Outbox.opened(harness.folder / "outbox" / "other.sqlite")
    other = SinkRunner.build(
        name="other", fingerprint="1", fold_runner=FoldRunner(outbox, harness.folds), sender=Sender(outbox, receiver),
        events=harness.engine.events, clock=harness.clock, rng=random.Random(1), rewrite_limit=10, credentials_fingerprint="m",
    )  # fmt: skip
    harness.engine.runners = {"other": other, **harness.engine.runners}
    pages = outbox._db.execute("PRAGMA page_count").fetchone()[0]
    outbox._db.execute(f"PRAGMA max_page_count = {pages}")
    harness.clock.sleep(86400 * 5)
    assert harness.ask("sync").status != 0
    assert harness.starts()[-1] == hours([6 * 24 - 1])[0]
    assert (other.health.state, receiver.there) == ("waiting", {})
    assert "full" in other.health.message
    assert harness.pump.polls == 1
    assert harness.engine.pollers["pump"].health.state == "ok"
    outbox._db.execute("PRAGMA max_page_count = 100000")
    harness.clock.sleep(120)
    while harness.engine.run_once(polling=False):
        pass
    assert receiver.there == harness.receiver.there
    assert other.health.state == "ok"


WAYS_OUT = [
    ("database or disk is full", "df -h"),
    ("disk I/O error", "dmesg"),
    ("database is locked", "lsof"),
    ("attempt to write a readonly database", "chown"),
    ("unable to open database file", "chown"),
    ("no such table: document", "log has the details"),
]


@pytest.mark.parametrize(("words", "way_out"), WAYS_OUT)
@pytest.mark.parametrize("part", [(Checkpoints, "invalidate"), (Preflight, "step")], ids=["folding", "delivery"])
def test_outbox_fails(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, words: str, way_out: str, part: tuple[type, str]
) -> None:
    """An outbox that cannot be written stops its sink, with the remedy for its reason. Nothing is sent or lost."""
    with monkeypatch.context() as patch:
        patch.setattr(*part, fails_with(sqlite3.OperationalError(words)))
        assert harness.ask("sync").status == 5
        assert words in harness.runner.health.message
        assert way_out in (harness.runner.health.remedy or "")
        assert ("Free some space" in (harness.runner.health.remedy or "")) == ("full" in words)
        assert harness.receiver.there == {}
    harness.clock.sleep(600)
    assert harness.ask("sync").status == 0
    assert harness.runner.health.state == "ok"


@pytest.mark.parametrize(
    ("error", "way_out"),
    [
        *((sqlite3.OperationalError(words), way_out) for words, way_out in WAYS_OUT[:-1]),
        (OSError(errno.ENOSPC, "No space left on device"), "df -h"),
        (OSError(errno.EIO, "Input/output error"), "dmesg"),
        (OSError(errno.EROFS, "Read-only file system"), "remount"),
    ],
)
def test_log_fails(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, error: Exception, way_out: str) -> None:
    """A log that cannot be written stops polling, with the remedy for its reason, and is no bug of a plugin."""
    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "append", fails_with(error))
        assert harness.ask("sync").status == 3
        health = harness.engine.pollers["pump"].health
        assert health.state == "waiting"
        assert "event log" in health.message
        assert way_out in (health.remedy or "")
        assert "bug" not in (health.remedy or "")
    harness.clock.sleep(600)
    assert harness.ask("sync").status == 0


@pytest.mark.parametrize(("name", "is_ours"), [("log/seg", True), ("../elsewhere", False)])
def test_forbidden_file(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, name: str, is_ours: bool) -> None:
    """A file of the data folder that may not be written is given to this user; a plugin's file elsewhere is not."""
    path = str(harness.folder.joinpath(name).resolve())
    monkeypatch.setattr(EventLog, "append", fails_with(PermissionError(errno.EACCES, "Permission denied", path)))
    assert harness.ask("sync").status == 3
    assert (f"chown -R {user()} {harness.folder}`" in (harness.engine.pollers["pump"].health.remedy or "")) == is_ours


@pytest.mark.parametrize("is_forbidden", [True, False])
def test_file_of_a_source(harness: EngineHarness, caplog: pytest.LogCaptureFixture, is_forbidden: bool) -> None:
    """A source's own file or database that cannot be used is not called the event log, and the log has the traceback."""
    path = harness.folder / "token.json"
    forbidden = PermissionError(errno.EACCES, "Permission denied", str(path))
    harness.pump.trouble = forbidden if is_forbidden else sqlite3.OperationalError("database is locked")
    assert harness.ask("sync").status == 3
    health = harness.engine.pollers["pump"].health
    assert health.state == "waiting"
    assert "event log" not in health.message
    assert str(path if is_forbidden else harness.folder) in health.message
    assert any(record.exc_info and record.exc_info[1] is harness.pump.trouble for record in caplog.records)


@pytest.mark.parametrize(("words", "way_out"), WAYS_OUT[:-1])
def test_index_fails(harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, words: str, way_out: str) -> None:
    """An index that cannot be written stops polling, with the remedy for its reason."""
    with monkeypatch.context() as patch:
        patch.setattr(Index, "add", fails_with(sqlite3.OperationalError(words)))
        assert harness.ask("sync").status == 3
        health = harness.engine.pollers["pump"].health
        assert words in health.message
        assert way_out in (health.remedy or "")
    harness.clock.sleep(600)
    assert harness.ask("sync").status == 0
    assert harness.starts()[:24] == hours(range(24))


@pytest.mark.parametrize(
    ("number", "way_out"),
    [(errno.EMFILE, "Restart"), (errno.ENFILE, "Restart"), (errno.ENOENT, "dmesg"), (errno.ELOOP, "dmesg")],
)
def test_index_and_its_folder_fail(
    harness: EngineHarness, monkeypatch: pytest.MonkeyPatch, number: int, way_out: str
) -> None:
    """If the index cannot be opened, and its folder does not show why, it is no bug of a plugin either."""
    monkeypatch.setattr(storage_errors, "_why_not_written", lambda _: number)
    monkeypatch.setattr(Index, "add", fails_with(sqlite3.OperationalError("unable to open database file")))
    assert harness.ask("sync").status == 3
    health = harness.engine.pollers["pump"].health
    assert health.state == "waiting"
    assert way_out in (health.remedy or "")


def test_clock_behind_log(harness: EngineHarness) -> None:
    """A computer whose clock is behind the log waits."""
    harness.ask("sync")
    harness.clock.time -= timedelta(days=400)
    result = harness.ask("sync")
    assert result.status == 3
    assert "clock" in result.lines[0]
    assert harness.pump.polls == 1
    assert harness.ask("resume", sink="pump").status == 0
    assert harness.pump.polls == 2


def test_plans_of_clock_years_ahead(harness: EngineHarness) -> None:
    """Plans that were made while the clock was years ahead are not believed."""
    harness.ask("sync")
    right = harness.clock.time
    harness.clock.time = right + timedelta(days=1400)
    harness.pump.trouble = Retryable("this computer's clock is wrong")
    harness.ask("sync")
    harness.pump.trouble = None
    harness.clock.time = right + timedelta(minutes=30)
    harness.reopen()
    assert harness.ask("sync").status == 0
