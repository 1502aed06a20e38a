"""Commands for a bad day: what they print, what they do not touch, and their exit status."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tconnectsync.eventlog import EventLog, FolderLock
from tests.e2e.test_bad_input import RIGHT, run
from tests.eventlog.sample_events import RECEIVED, basal
from tests.support.clocks import FakeClock


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A configuration, and a log of three segments, the first two compressed."""
    path = tmp_path / "config.toml"
    path.write_text(RIGHT.format(folder=tmp_path))
    path.chmod(0o600)
    with EventLog.open(tmp_path / "data", clock=FakeClock(RECEIVED), writable=True, segment_bytes=2500) as log:
        for seq in range(1, 25):
            log.append([basal(seq)])
        while log.maintain():
            pass
    return tmp_path


def corrupt_segment(home: Path) -> Path:
    path = sorted((home / "data" / "log").glob("*.gz"))[1]
    path.write_bytes(path.read_bytes()[:-300] + b"\0" * 300)
    return path


def test_corruption_message(home: Path) -> None:
    """Corruption is reported with file, line and the next command."""
    path = corrupt_segment(home)
    for words in (("log", "check"), ("events",), ("backup", str(home))):
        done = run(home, "--config", "config.toml", *words)
        assert done.returncode == 7, done.stderr
        said = done.stdout + done.stderr
        assert re.search(rf"{re.escape(str(path))},? line \d+", said)
        assert "tconnectsync log check" in said or "tconnectsync log repair" in said
    checked = run(home, "--config", "config.toml", "log", "check", "--json")
    assert '"good": false' in checked.stdout
    assert '"position": ' in checked.stdout
    assert list(home.glob("*.tar.gz*")) == []

    repaired = run(home, "--config", "config.toml", "log", "repair")
    assert repaired.returncode == 0
    assert path.name + ".damaged-1" in repaired.stdout
    assert "tconnectsync sync" in repaired.stdout
    assert (path.parent / (path.name + ".damaged-1")).is_file()
    assert run(home, "--config", "config.toml", "log", "check").returncode == 0


def test_commands_beside_an_owner(home: Path) -> None:
    """Beside an owner a backup is made; nothing is repaired or restored."""
    corrupted = corrupt_segment(home).read_bytes()
    with FolderLock(home / "data"):
        for words in (("log", "repair"), ("restore", "b.tar.gz")):
            done = run(home, "--config", "config.toml", *words)
            assert done.returncode == 8
            assert f"Process {os.getpid()}" in done.stderr
            assert "systemctl stop" in done.stderr
    assert corrupt_segment(home).read_bytes() == corrupted
    run(home, "--config", "config.toml", "log", "repair")
    with FolderLock(home / "data"):
        done = run(home, "--config", "config.toml", "backup", "b.tar.gz")
    assert done.returncode == 0
    assert "not in this file" in done.stdout


def test_backup_into_other_folder(home: Path) -> None:
    """A backup goes into another folder and only there."""
    assert run(home, "--config", "config.toml", "backup", "b.tar.gz").returncode == 0
    taken = run(home, "--config", "config.toml", "restore", "b.tar.gz")
    assert taken.returncode == 2
    assert "not empty" in taken.stderr
    done = run(home, "restore", "b.tar.gz", "--data-dir", "new")
    assert done.returncode == 0, done.stderr
    assert "positions 1 to 24" in done.stdout
    assert "tconnectsync sync" in done.stdout
    again = run(home, "restore", "nothing.tar.gz", "--data-dir", "newer")
    assert again.returncode == 2
    assert "nothing.tar.gz" in again.stderr
    nothing = run(home, "backup", "--config", "config.toml", "no/such/folder/b.tar.gz")
    assert nothing.returncode == 1
    assert "room" in nothing.stderr
