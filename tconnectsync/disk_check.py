"""Whether the disk of the data folder is full, read-only or failing. Measured at each call."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import attrs

FREE_SPACE_FLOOR = 64 << 20
"""Bytes that polling leaves free, so that the outboxes can still commit."""

MAKE_ROOM = "Free some space on the disk (`df -h`). Nothing is lost, and work resumes automatically. Delete nothing in the data folder."
READ_ONLY = (
    "Run `dmesg | tail` to see why: the system makes a failing disk read-only. Copy the data to another disk with"
    " `tconnectsync backup`. Then replace this disk or make it writable (`mount -o remount,rw`). Delete nothing in the data folder."
)
FAILING = (
    "Run `dmesg | tail` to check the disk. Copy the data to another disk with `tconnectsync backup`, then replace this disk."
    " Delete nothing in the data folder."
)


@attrs.frozen(kw_only=True)
class Disk:
    """The state of a disk. ``message`` and ``remedy`` are empty if it is fine; ``free_bytes`` is None if unknown."""

    free_bytes: int | None = None
    read_only: bool = False
    message: str = ""
    remedy: str | None = None


def look_at_disk(folder: Path) -> Disk:
    """Measure the disk that holds ``folder``, or will hold it. Changes nothing."""
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    try:
        free = shutil.disk_usage(there).free
        read_only = bool(os.statvfs(there).f_flag & os.ST_RDONLY)
    except OSError as error:
        return Disk(message=f"the disk of {folder} does not answer ({error.strerror})", remedy=FAILING)
    if read_only:
        message = f"the disk of {folder} is read-only: nothing can be fetched or saved"
        return Disk(free_bytes=free, read_only=True, message=message, remedy=READ_ONLY)
    message = low_space_message(folder, free)
    return Disk(free_bytes=free, message=message, remedy=MAKE_ROOM if message else None)


def low_space_message(folder: Path, free: int) -> str:
    """Return a warning if ``free`` bytes are too few; empty if they are enough."""
    if free >= FREE_SPACE_FLOOR:
        return ""
    return f"only {free >> 20} MB are free on the disk of {folder} (at least {FREE_SPACE_FLOOR >> 20} MB are needed)"


def disk_remedy(error: OSError) -> str | None:
    """Return the remedy for an error of a full, read-only or failing disk; None for other errors."""
    return {errno.ENOSPC: MAKE_ROOM, errno.EDQUOT: MAKE_ROOM, errno.EROFS: READ_ONLY, errno.EIO: FAILING}.get(
        error.errno or 0
    )


_OF_SQLITE = {"database or disk is full": errno.ENOSPC, "disk I/O error": errno.EIO}


def disk_error(error: Exception) -> OSError | None:
    """Return the disk's error behind an exception, also behind one of SQLite's; None for other exceptions."""
    if isinstance(error, sqlite3.OperationalError):
        number = _OF_SQLITE.get(str(error))
        return None if number is None else OSError(number, os.strerror(number))
    return error if isinstance(error, OSError) and disk_remedy(error) else None


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a database read-only, while another process writes it or on a read-only disk. Errors: sqlite3.Error."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        uri += "&immutable=1"  # without this SQLite tries to write its -wal and -shm files
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
