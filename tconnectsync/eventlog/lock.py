"""Locks a data folder for one process. The kernel releases the lock if that process dies."""

from __future__ import annotations

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
    of a killed process does not lock the folder.
    """

    def __init__(self, folder: Path) -> None:
        OsFiles().make_folder(folder)
        self.path = folder / "lock"
        self._descriptor: int | None = None
        descriptor = open_own(self.path, os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = _pid_in(descriptor)
            os.close(descriptor)
            owner = f"Process {pid}" if pid else "Another process"
            raise DataDirLocked(
                f"{owner} is using {folder}. Two processes at once would corrupt the data.",
                pid=pid,
                remedy="Wait until it is done, or stop it (`systemctl stop tconnectsync`), then try again.",
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Unlock the folder. May be called twice."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def lock_holder(folder: Path) -> int | None:
    """Return the process id of the owner of ``folder``: 0 if it is not known, None if nobody owns it."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(descriptor) or 0
    finally:
        os.close(descriptor)
    return None


def _lock(descriptor: int) -> None:
    """Lock the file. Errors: BlockingIOError if another process owns it."""
    for _ in range(RETRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(RETRY_S)
        else:
            return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
