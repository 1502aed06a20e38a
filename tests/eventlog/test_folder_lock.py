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


def test_a_second_owner_learns_who_the_first_is(tmp_path: Path) -> None:
    with FolderLock(tmp_path), pytest.raises(DataDirLocked) as raised:
        FolderLock(tmp_path)
    assert raised.value.pid == os.getpid()
    assert raised.value.remedy


def test_a_released_folder_can_be_owned_again(tmp_path: Path) -> None:
    lock = FolderLock(tmp_path / "new")
    lock.release()
    lock.release()
    FolderLock(tmp_path / "new").release()


def test_a_file_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("999999\n")
    with FolderLock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "mine\n"
        with pytest.raises(DataDirLocked) as raised:
            FolderLock(tmp_path)
        assert raised.value.pid == owner.pid
        owner.kill()
        owner.wait()
        FolderLock(tmp_path).release()
