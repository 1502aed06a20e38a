"""One owner at a time, and none when the owner died."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tconnectsync.errors import DataDirLocked
from tconnectsync.eventlog import FolderLock, lock, lock_holder

OWNER = """
import sys, time
from pathlib import Path
from tconnectsync.eventlog.lock import FolderLock
mine = FolderLock(Path(sys.argv[1]))
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


@pytest.mark.parametrize("way", ["deleted", "replaced"])
def test_lock_file_deleted(tmp_path: Path, way: str) -> None:
    """Who deletes the lock file, because it looks like a leftover, lets no second process in: both would write the same log."""
    with FolderLock(tmp_path):
        (tmp_path / "lock").unlink()
        if way == "replaced":
            (tmp_path / "lock").write_text("")
        assert lock_holder(tmp_path) == 0
        for _ in range(2):
            with pytest.raises(DataDirLocked, match="Another process is using"):
                FolderLock(tmp_path)
    assert lock_holder(tmp_path) is None
    FolderLock(tmp_path).release()


def test_owner_of_an_older_release(tmp_path: Path) -> None:
    """It locks only the file, and both respect each other."""
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert lock_holder(tmp_path) == 0
        with pytest.raises(DataDirLocked):
            FolderLock(tmp_path)
    with FolderLock(tmp_path), (tmp_path / "lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, None])
def test_folder_that_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None) -> None:
    """Some network file systems lock only files, and a folder may be unreadable (None): the file alone counts, as before."""
    if number is None:
        monkeypatch.setattr(lock, "_open_folder", lambda _: None)
    else:
        flock = fcntl.flock

        def files_only(descriptor: int, operation: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(number, os.strerror(number))
            flock(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", files_only)
    with FolderLock(tmp_path):
        assert lock_holder(tmp_path) == os.getpid()
        with pytest.raises(DataDirLocked) as raised:
            FolderLock(tmp_path)
        assert raised.value.pid == os.getpid()
    assert lock_holder(tmp_path) is None


def open_in(folder: Path) -> list[Path]:
    """What this process has open in the folder, itself included. Other tests' connections may close at any moment."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            found.append(descriptor.readlink())
    return [path for path in found if path.is_relative_to(folder)]


def test_lock_is_not_inherited(tmp_path: Path) -> None:
    """A program that the owner started and that outlives it does not keep the folder, and no descriptor is left open."""
    with FolderLock(tmp_path):
        assert sorted(open_in(tmp_path)) == [tmp_path, tmp_path / "lock"]
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    try:
        assert lock_holder(tmp_path) is None
        with FolderLock(tmp_path), pytest.raises(DataDirLocked):
            FolderLock(tmp_path)
    finally:
        child.communicate(b"\n")
    assert open_in(tmp_path) == []
