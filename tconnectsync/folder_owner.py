"""Root works on a data folder as the folder's owner: a link that a service put there never leads root to another file.

``sudo tconnectsync …`` reads the configuration and the secrets as root, then becomes the owner of the data folder. What the user
named on the command line (a file to import, a place for a backup) is opened as root again.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from tconnectsync.errors import RequestRefused

_ROOT = 0
_DAC_READ_SEARCH = 1 << 2
"""Linux: may enter and read any folder, and write nothing."""
_CAPABILITY_VERSION = 0x20080522
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2


# --- who works ---------------------------------------------------------------------------------------------------------


def become_owner_of(folder: Path) -> None:
    """Work as the owner of ``folder`` (not there: of the nearest folder above) from here on, if this is root and he is not.

    Files of root's that earlier commands left in the folder are handed to him first.
    """
    owner = _owner_of(folder)
    if owner is None:
        return
    uid, gid = owner
    _hand_over(folder, uid, gid)
    try:
        os.setgroups([gid])
        os.setresgid(gid, gid, _ROOT)
        os.setresuid(uid, uid, _ROOT)
    except PermissionError:  # a container's root without the right to: then it may use nobody else's files either
        return
    for needed in (
        folder / ".",
        Path(__file__),
        Path(sys.prefix, "."),
        Path(sys.base_prefix, "."),
        Path(sys.executable),
    ):
        with contextlib.suppress(FileNotFoundError):
            try:
                needed.stat()
            except (
                PermissionError
            ):  # systemd keeps a service's folder inside one of root's; Python may lie in root's home
                _may_enter_folders()


@contextlib.contextmanager
def as_owner_of(folder: Path) -> Iterator[None]:
    """As :func:`become_owner_of`, until the end of the block."""
    before = os.getresuid(), os.getresgid(), os.getgroups()
    become_owner_of(folder)
    try:
        yield
    finally:
        if os.getresuid() != before[0]:
            os.seteuid(_ROOT)
            os.setresuid(*before[0])
            os.setresgid(*before[1])
            os.setgroups(before[2])


@contextlib.contextmanager
def as_caller() -> Iterator[None]:
    """As root once more, if this process became a folder's owner: for what the user named, and for the configuration."""
    _, uid, saved = os.getresuid()
    if uid == _ROOT or saved != _ROOT:
        yield
        return
    enters = bool(_capabilities()[0] & _DAC_READ_SEARCH)
    os.seteuid(_ROOT)
    try:
        yield
    finally:
        os.seteuid(uid)
        if enters:
            _may_enter_folders()


def _owner_of(folder: Path) -> tuple[int, int] | None:
    """User and group of the folder's owner; None: this process is not root, or root is the owner."""
    if os.geteuid() != _ROOT or not hasattr(os, "setresuid"):
        return None
    for each in (folder, *folder.absolute().parents):
        try:
            found = each.stat()
        except OSError:
            continue
        return None if found.st_uid == _ROOT else (found.st_uid, found.st_gid)
    return None


def _hand_over(folder: Path, uid: int, gid: int) -> None:
    """Files and folders of root's inside ``folder`` become its owner's. A file with a second name may be somebody else's: it stays."""
    if not folder.is_dir():
        return
    for _, folders, files, descriptor in os.fwalk(folder.resolve(), follow_symlinks=False):
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                one = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
                try:
                    found = os.fstat(one)
                    alone = stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_nlink == 1)
                    if found.st_uid == _ROOT and alone:
                        os.fchown(one, uid, gid)
                finally:
                    os.close(one)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _capabilities() -> tuple[int, int]:
    """The effective and the permitted ones of this thread, the lower half; none if the system has none."""
    data = (_Data * 2)()
    call = getattr(ctypes.CDLL(None), "capget", None)
    if call is None or call(ctypes.byref(_Header(_CAPABILITY_VERSION, 0)), data) != 0:
        return 0, 0
    return data[0].effective, data[0].permitted


def _may_enter_folders() -> None:
    """Keep of root's rights the one to enter folders, for child processes too: what lies inside a folder of root's stays in reach."""
    data = (_Data * 2)()
    library = ctypes.CDLL(None)
    call = getattr(library, "capset", None)
    if call is None:
        return
    permitted = _capabilities()[1]
    data[0].permitted, data[0].effective = permitted, permitted & _DAC_READ_SEARCH
    data[0].inheritable = permitted & _DAC_READ_SEARCH
    call(ctypes.byref(_Header(_CAPABILITY_VERSION, 0)), data)
    library.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, ctypes.c_ulong(2), ctypes.c_ulong(0), ctypes.c_ulong(0))


# --- which files --------------------------------------------------------------------------------------------------------


def open_own(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a file of the data folder; a descriptor. Follows no link and waits for no pipe.

    Errors: RequestRefused if it is no regular file of the user who works here, of the folder's owner or of root; OSError.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError:
        require_own(path)
        raise
    try:
        _judge(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def require_own(path: Path) -> None:
    """For what opens files by itself, as SQLite does: whether it is a regular file of the owner, or not there. Errors: RequestRefused."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):  # which leads nowhere: the one who opens it says so
            _judge(path, found)


def require_own_database(path: Path) -> None:
    """As :func:`require_own`, with the files that SQLite keeps beside a database."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        require_own(path.with_name(path.name + suffix))


def _judge(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "no regular file"
        raise RequestRefused(
            f"{path} is {kind}, and tconnectsync did not make it so; it was not opened.",
            remedy="Look at who put it there. Then move it away and run the command again.",
        )
    if found.st_uid not in {os.geteuid(), _ROOT} and found.st_uid != path.parent.stat().st_uid:
        raise RequestRefused(
            f"{path} belongs to another user (number {found.st_uid}) than its folder; it was not opened.",
            remedy=f"If it is yours, hand it to the folder's owner: sudo chown --reference={path.parent} {path}",
        )


# --- what others may change -----------------------------------------------------------------------------------------------


def who_else_may_write(path: Path) -> str | None:
    """Why code at ``path`` may be somebody else's: it, or a folder above it, can be changed by other users. None: it cannot."""
    whole = path.resolve()
    for each in (whole, *whole.parents):
        found = each.stat()
        private_group = found.st_gid in {_ROOT, found.st_uid}
        shared = found.st_mode & (stat.S_IWOTH if private_group else stat.S_IWOTH | stat.S_IWGRP)
        if shared and not (each != whole and found.st_mode & stat.S_ISVTX):
            return f"other users may write to {each}: run `chmod go-w {each}`"
        if found.st_uid not in {_ROOT, os.geteuid()}:
            return f"{each} belongs to another user (number {found.st_uid}): give it to this one or to root with chown"
    return None


def readable_by_everyone(path: Path) -> bool:
    """Whether any user of the machine can read this file: by its own mode, and by those of the folders above it."""
    try:
        whole = path.resolve()
        return bool(whole.stat().st_mode & stat.S_IROTH) and all(
            each.stat().st_mode & stat.S_IXOTH for each in whole.parents
        )
    except OSError:
        return False
