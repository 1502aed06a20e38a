"""What an error of a file or a database in the data folder means for the user, and the remedy. Other modules ask this one."""

from __future__ import annotations

import errno
import os
import pwd
import shlex
import sqlite3
from collections.abc import Sequence
from pathlib import Path

FREE_SPACE = "Free some space on the disk (`df -h`, and `df -i` for the number of files)."
RESUMES = "Nothing is lost, and work resumes automatically."
DELETE_NOTHING = "Delete nothing in the data folder."
MAKE_ROOM = f"{FREE_SPACE} {RESUMES} {DELETE_NOTHING}"
READ_ONLY = (
    "Run `dmesg | tail` to see why: the system makes a failing disk read-only. Copy the data to another disk with"
    f" `tconnectsync backup`. Then replace this disk or make it writable (`mount -o remount,rw`). {DELETE_NOTHING}"
)
FAILING = (
    "Run `dmesg | tail` to check the disk. Copy the data to another disk with `tconnectsync backup`, then replace this disk."
    f" {DELETE_NOTHING}"
)
TOO_MANY_OPEN = "Too many files are open. Restart tconnectsync. If this happens again, restart the computer."
OTHER_FOLDER = "The data folder was moved or its disk was unmounted, and another folder is at its place. Move it back or mount its disk, then restart tconnectsync."
NO_THREAD = "this computer can start no further thread"
TOO_MANY_THREADS = "Restart tconnectsync. If this happens again, restart the computer."

_FULL = "database or disk is full"
_FAILED = "disk I/O error"
_READ_ONLY = "attempt to write a readonly database"
_NOT_OPENED = "unable to open database file"
_LOCKED = ("database is locked", "database table is locked", "locking protocol")
"""SQLite's messages. Python 3.10 has no error codes of SQLite."""


def storage_error(error: Exception, path: Path | None = None) -> OSError | None:
    """Return the file system's error behind an exception, also behind one of SQLite's; None for other exceptions.

    ``path`` is the database, or the folder of all. SQLite does not say why one cannot be opened or written, so its folder is looked at.
    """
    if isinstance(error, sqlite3.OperationalError):
        number = _number(str(error), path)
        if number is None:
            return None
        words = str(error) if number == errno.EBUSY else os.strerror(number)
        return OSError(number, words, None if path is None else str(path))
    return error if isinstance(error, OSError) else None


def is_without_threads(error: Exception) -> bool:
    """Whether no further thread can be started: a limit of this computer, and no bug."""
    return isinstance(error, RuntimeError) and "start new thread" in str(error)


def disk_steps(error: OSError) -> str | None:
    """Return what the user does about a full, read-only or failing disk; None for other errors."""
    steps = {errno.ENOSPC: FREE_SPACE, errno.EDQUOT: FREE_SPACE, errno.EROFS: READ_ONLY, errno.EIO: FAILING}
    return steps.get(error.errno or 0)


def storage_steps(error: OSError, data_dir: Path) -> str | None:
    """Return what the user does now about the disk, or about a file of the data folder that cannot be used; None for other errors.

    A file of the data folder may be forbidden, locked, one open file too many, or missing together with the folder. The folder may be another one.
    """
    if (steps := disk_steps(error)) is not None:
        return steps
    if not isinstance(error.filename, (str, bytes)):  # it may be the number of an open file
        return None
    if not Path(os.fsdecode(error.filename)).is_relative_to(data_dir):
        return None
    if error.errno in (errno.EACCES, errno.EPERM):
        return _make_writable(data_dir)
    if error.errno == errno.EBUSY:
        return (
            f"Another program has locked a file of {data_dir}, for example a backup program."
            f" Run `sudo lsof +D {shlex.quote(str(data_dir))}` to see which, and end it, but not tconnectsync itself."
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return TOO_MANY_OPEN
    if error.errno == errno.ESTALE:
        return OTHER_FOLDER
    if error.errno == errno.ENOENT and not os.access(data_dir, os.F_OK):
        return f"The data folder {data_dir} is missing. If it is on another disk, mount that disk."
    return None


def storage_remedy(error: OSError, data_dir: Path) -> str | None:
    """Return the steps of :func:`storage_steps`, with what follows if the daemon has this error; None for other errors."""
    steps = storage_steps(error, data_dir)
    return steps if steps in (None, READ_ONLY, FAILING) else f"{steps} {RESUMES} {DELETE_NOTHING}"


def forbidden_part(database: Path) -> OSError | None:
    """Return the error if this process may not write to the database, a file beside it, or its folder."""
    files = (database.with_name(database.name + suffix) for suffix in ("", "-wal", "-shm"))
    return next((_forbidden(part) for part in (database.parent, *files) if not _may_write(part)), None)


def cannot_save(files: Sequence[Path]) -> OSError | None:
    """Return the error if this process may neither make new files in the folder of ``files`` nor write to each of them."""
    folder = files[0].parent
    if _may_write(folder):
        return None
    return next((_forbidden(folder) for each in files if not each.exists() or not _may_write(each)), None)


def no_more_files(disk: os.statvfs_result) -> bool:
    """Whether a disk cannot hold more files although it may have space."""
    return disk.f_files > 0 and disk.f_favail == 0


def _forbidden(part: Path) -> OSError:
    return OSError(errno.EACCES, os.strerror(errno.EACCES), str(part))


def _may_write(part: Path) -> bool:
    """Whether this process may write there. True if it is missing."""
    effective = os.access in os.supports_effective_ids
    return os.access(part, os.W_OK, effective_ids=effective) or not os.access(part, os.F_OK, effective_ids=effective)


def _number(words: str, path: Path | None) -> int | None:
    """Return the number of the file system's error for a message of SQLite; None if it is of another kind."""
    if words in _LOCKED:
        return errno.EBUSY
    if words in (_READ_ONLY, _NOT_OPENED):
        return _why_not_written(path)
    return {_FULL: errno.ENOSPC, _FAILED: errno.EIO}.get(words)


def _why_not_written(path: Path | None) -> int:
    """The database itself is not opened for this: closing it would end this process's locks on it."""
    if path is None:
        return errno.EACCES
    try:
        folder = path if path.is_dir() else path.parent
        os.close(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        disk = os.statvfs(folder)
        if disk.f_flag & os.ST_RDONLY:
            return errno.EROFS
        return errno.ENOSPC if no_more_files(disk) else errno.EACCES
    except OSError as error:
        return error.errno or errno.EACCES


def _make_writable(data_dir: Path) -> str:
    try:
        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user
        user = str(os.geteuid())
    in_shell = shlex.quote(str(data_dir))
    return (
        f"All files in {data_dir} must belong to {user}, the user of this program, and be writable:"
        f" `sudo chown -R {user} {in_shell}`, then `sudo chmod -R u+rwX {in_shell}`."
    )
