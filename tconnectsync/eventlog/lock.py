"""Locks a data folder for one process. The kernel releases the lock if that process dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

from tconnectsync.errors import DataDirLocked
from tconnectsync.filesystem import OsFiles
from tconnectsync.folder_owner import open_own

RETRIES, RETRY_S = 3, 0.02
"""Attempts, and seconds between them: :func:`lock_holder` holds the lock for a moment, so taking it is retried."""


class FolderLock:
    """Owns ``folder`` from its construction until :meth:`release` or the end of the process.

    Errors: DataDirLocked, with the owner's process id if it is known. The id in ``<folder>/lock`` is only for people: the file
    of a killed process does not lock the folder. The folder itself is locked too, where its file system can do that: the file may
    be deleted. While it is owned, the folder is open, so no other folder gets its inode.
    """

    def __init__(self, folder: Path) -> None:
        OsFiles().make_folder(folder)
        self.path = folder / "lock"
        self._descriptor: int | None = None
        descriptor = open_own(self.path, os.O_RDWR | os.O_CREAT)
        self._folder = _open_folder(folder)
        try:
            _lock(descriptor, self._folder)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = _pid_in(descriptor)
            _close(descriptor, self._folder)
            owner = f"Process {pid}" if pid else "Another process"
            raise DataDirLocked(
                f"{owner} is using {folder}. Two processes at once would corrupt the data.",
                pid=pid,
                remedy="Wait until it is done, or stop it (`systemctl stop tconnectsync`), then try again.",
            ) from None
        except BaseException:
            _close(descriptor, self._folder)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Unlock the folder. May be called twice."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            _close(self._descriptor, self._folder)
            self._descriptor = self._folder = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_holder(folder: Path) -> int | None:
    """Return the process id of the owner of ``folder``: 0 if it is not known, None if nobody owns it."""
    descriptor: int | None = None
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    opened = _open_folder(folder)
    try:
        if descriptor is not None:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        _flock_folder(opened, fcntl.LOCK_SH)
    except BlockingIOError:
        return 0 if descriptor is None else _pid_in(descriptor) or 0
    finally:
        _close(descriptor, opened)
    return None


def _open_folder(folder: Path) -> int | None:
    """Open the folder; None if this is not possible: then the lock file alone counts."""
    with contextlib.suppress(OSError):
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    return None


def _flock_folder(descriptor: int | None, operation: int) -> None:
    """Lock the folder if its file system can do that; some lock only files. Errors: BlockingIOError if another process owns it."""
    if descriptor is None:
        return
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return


def _lock(descriptor: int, folder: int | None) -> None:
    """Lock the file and the folder. Errors: BlockingIOError if another process owns one of them."""
    for attempt in range(RETRIES + 1):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _flock_folder(folder, fcntl.LOCK_EX)
        except BlockingIOError:
            if attempt == RETRIES:
                raise
            time.sleep(RETRY_S)
        else:
            return


def _close(*descriptors: int | None) -> None:
    for each in descriptors:
        if each is not None:
            os.close(each)


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
