"""One owner at a time, and none when the owner died."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tconnectsync.errors import DataDirLocked
from tconnectsync.eventlog import FolderLock

OWNER = """
import sys, time
from pathlib import Path
from tconnectsync.eventlog.lock import FolderLock
lock = FolderLock(Path(sys.argv[1]))
print("mine", flush=True)
time.sleep(60)
"""


def test_lock_names_the_owner(tmp_path: Path) -> None:
    """A second owner is told who the first one is."""
    with FolderLock(tmp_path), pytest.raises(DataDirLocked) as raised:
        FolderLock(tmp_path)
    assert raised.value.pid == os.getpid()
    assert raised.value.remedy


def test_lock_released(tmp_path: Path) -> None:
    """A released folder can be owned again."""
    lock = FolderLock(tmp_path / "new")
    lock.release()
    lock.release()
    FolderLock(tmp_path / "new").release()


def test_lock_file_left_behind(tmp_path: Path) -> None:
    """A lock file that was left behind blocks nobody."""
    (tmp_path / "lock").write_text("999999\n")
    with FolderLock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_lock_ends_with_process(tmp_path: Path) -> None:
    """The lock ends with its process."""
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "mine\n"
        with pytest.raises(DataDirLocked) as raised:
            FolderLock(tmp_path)
        assert raised.value.pid == owner.pid
        owner.kill()
        owner.wait()
        FolderLock(tmp_path).release()
