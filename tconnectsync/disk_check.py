"""Whether the disk of the data folder is full, read-only or failing. Measured at each call."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import msgspec

from tconnectsync.storage_errors import FAILING, MAKE_ROOM, READ_ONLY, no_more_files

FREE_SPACE_FLOOR = 64_000_000
"""Bytes that polling leaves free, so that the outboxes can still commit."""


class Disk(msgspec.Struct, frozen=True, kw_only=True):
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
        found = os.statvfs(there)
    except OSError as error:
        return Disk(message=f"the disk of {folder} does not answer ({error.strerror})", remedy=FAILING)
    if found.f_flag & os.ST_RDONLY:
        message = f"the disk of {folder} is read-only: nothing can be fetched or saved"
        return Disk(free_bytes=free, read_only=True, message=message, remedy=READ_ONLY)
    message = low_space_message(folder, free)
    if not message and no_more_files(found):
        message = f"the disk of {folder} can hold no more files, although it has space"
    return Disk(free_bytes=free, message=message, remedy=MAKE_ROOM if message else None)


def low_space_message(folder: Path, free: int) -> str:
    """Return a warning if ``free`` bytes are too few; empty if they are enough."""
    if free >= FREE_SPACE_FLOOR:
        return ""
    return f"only {free // 1_000_000} MB are free on the disk of {folder} (at least {FREE_SPACE_FLOOR // 1_000_000} MB are needed)"


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open a database read-only, while another process writes it or on a read-only disk. Errors: sqlite3.Error."""
    uri = f"{path.resolve().as_uri()}?mode=ro"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        uri += "&immutable=1"  # without this SQLite tries to write its -wal and -shm files
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
