"""One process owns a data folder at a time, by a lock that the kernel gives back when that process dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from tconnectsync.errors import DataDirLocked
from tconnectsync.filesystem import OsFiles
from tconnectsync.folder_owner import open_own

LOOKS, LOOK_S = 3, 0.02
"""Whoever asks who the owner is has the lock for a moment: an owner tries so often, after so long."""


class FolderLock:
    """Owns ``folder`` from its construction until :meth:`release` or the end of the process.

    Raises DataDirLocked, with the owner's process id where it is known. The id in ``<folder>/lock`` is for people; only the
    lock itself counts, so a file left behind by a killed process is in nobody's way.
    """

    def __init__(self, folder: Path) -> None:
        OsFiles().make_folder(folder)
        self.path = folder / "lock"
        self._descriptor: int | None = None
        descriptor = open_own(self.path, os.O_RDWR | os.O_CREAT)
        try:
            _take(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError:
            pid = _pid_in(descriptor)
            os.close(descriptor)
            owner = f"Process {pid}" if pid else "Another process"
            raise DataDirLocked(
                f"{owner} is working in {folder}: two at once would harm the data.",
                pid=pid,
                remedy="Wait until it is done, or stop it (`systemctl stop tconnectsync`), then try again.",
            ) from None
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the folder back. Fine to call twice."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FolderLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def lock_holder(folder: Path) -> int | None:
    """Return the process id of the one that owns ``folder``: 0 where it is not known, None where nobody does."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _pid_in(descriptor) or 0
    finally:
        os.close(descriptor)
    return None


def _take(descriptor: int) -> None:
    """Lock it. BlockingIOError: it is owned, and not only looked at by :func:`lock_holder`."""
    for _ in range(LOOKS):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOOK_S)
        else:
            return
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None
