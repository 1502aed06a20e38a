"""What is wrong with the disk of the data folder: full, read-only, failing. Measured, not remembered."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from pathlib import Path

import attrs

FREE_SPACE_FLOOR = 64 << 20
"""Bytes that polling leaves free, so that the outboxes can still commit."""

MAKE_ROOM = "Make room on the disk (`df -h`). Nothing is lost: it goes on by itself. Delete nothing in the data folder."
READ_ONLY = (
    "Look why with `dmesg | tail`: a worn disk is set to read-only when it fails. Copy the data with `tconnectsync backup`"
    " onto another disk, mount this one writable again (`mount -o remount,rw`) or replace it. Delete nothing in the data folder."
)
FAILING = (
    "Look at the disk with `dmesg | tail`. Copy the data with `tconnectsync backup` onto another disk, then replace this one."
    " Delete nothing in the data folder."
)


@attrs.frozen(kw_only=True)
class Disk:
    """``message`` and ``remedy`` say what is wrong; both are empty when all is well. ``free_bytes`` is None when unknown."""

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
        words = f"the disk of {folder} is read-only: nothing can be fetched or noted"
        return Disk(free_bytes=free, read_only=True, message=words, remedy=READ_ONLY)
    words = room_words(folder, free)
    return Disk(free_bytes=free, message=words, remedy=MAKE_ROOM if words else None)


def room_words(folder: Path, free: int) -> str:
    """What is wrong when only so many bytes are free; empty when it is enough."""
    if free >= FREE_SPACE_FLOOR:
        return ""
    return f"only {free >> 20} MB are free on the disk of {folder} (at least {FREE_SPACE_FLOOR >> 20} MB are needed)"


def disk_remedy(error: OSError) -> str | None:
    """What to do about an error of a disk that is full, read-only or failing; None for other errors."""
    return {errno.ENOSPC: MAKE_ROOM, errno.EDQUOT: MAKE_ROOM, errno.EROFS: READ_ONLY, errno.EIO: FAILING}.get(
        error.errno or 0
    )


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a database beside its writer, or on a disk that is read-only. Errors: sqlite3.Error."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        uri += "&immutable=1"  # nobody can write; without this SQLite wants to, for its own notes
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
