"""Root works on a data folder as the folder's owner, so that a symbolic link in it cannot lead root to another file.

``sudo tconnectsync …`` reads the configuration and the secrets as root, then becomes the owner of the data folder. Files named on
the command line (a file to import, a target for a backup) are opened as root again.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from tconnectsync.errors import RequestRefused

_ROOT = 0


# --- the user that does the work ---------------------------------------------------------------------------------------------------------


def become_owner_of(folder: Path) -> None:
    """If this process is root, continue as the owner of ``folder``. If it is missing, use the nearest existing parent's owner.

    Files that root left in the folder earlier are given to the owner first.
    """
    owner = _owner_of(folder)
    if owner is None:
        return
    from tconnectsync.linux_capabilities import keep_search  # now: the owner may not be able to read the code

    uid, gid = owner
    _give_files_to(folder, uid, gid)
    try:
        os.setgroups([gid])
        os.setresgid(gid, gid, _ROOT)
        os.setresuid(uid, uid, _ROOT)
    except PermissionError:  # root in a container without this right; it cannot use other users' files either
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
            ):  # systemd keeps a service's folder inside root's folder; Python may be in root's home
                keep_search()


@contextlib.contextmanager
def as_owner_of(folder: Path) -> Iterator[None]:
    """Like :func:`become_owner_of`, but only inside the block."""
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
    """Be root again inside the block, if this process was root before: for the configuration and files that the user named."""
    _, uid, saved = os.getresuid()
    if uid == _ROOT or saved != _ROOT:
        yield
        return
    from tconnectsync.linux_capabilities import can_search, keep_search

    enters = can_search()
    os.seteuid(_ROOT)
    try:
        yield
    finally:
        os.seteuid(uid)
        if enters:
            keep_search()


def _owner_of(folder: Path) -> tuple[int, int] | None:
    """Return the owner's user and group id; None if this process is not root, or if root is the owner."""
    if os.geteuid() != _ROOT or not hasattr(os, "setresuid"):
        return None
    for each in (folder, *folder.absolute().parents):
        try:
            found = each.stat()
        except OSError:
            continue
        return None if found.st_uid == _ROOT else (found.st_uid, found.st_gid)
    return None


def _give_files_to(folder: Path, uid: int, gid: int) -> None:
    """Give root's files and folders inside ``folder`` to its owner. Skip hard links: they may belong to somebody else."""
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


# --- files of the data folder --------------------------------------------------------------------------------------------------------


def open_own(path: Path, flags: int, mode: int = 0o600) -> int:
    """Open a file of the data folder and return its descriptor. Never follows a link or waits for a pipe.

    Errors: RequestRefused if it is not a regular file, or if another user than this one, the folder's owner or root owns it; OSError.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError:
        require_own(path)
        raise
    try:
        _require_owned_file(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_own(folder: Path) -> bool:
    """Whether ``folder`` belongs to the user of this process."""
    try:
        return folder.stat().st_uid == os.geteuid()
    except OSError:
        return False


def require_own(path: Path) -> None:
    """Check a file that a library such as SQLite will open: it must be missing, or a regular file of the owner. Errors: RequestRefused."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):  # opening a folder fails anyway, with a clear error
            _require_owned_file(path, found)


def require_own_database(path: Path) -> None:
    """Like :func:`require_own`, also for the files that SQLite keeps beside a database."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        require_own(path.with_name(path.name + suffix))


def _require_owned_file(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found.st_mode):
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "not a regular file"
        raise RequestRefused(
            f"{path} is {kind}. tconnectsync did not create it and did not open it.",
            remedy=f"Find out who created it (`ls -l {shlex.quote(str(path))}`), move it away, and run the command again.",
        )
    if found.st_uid not in {os.geteuid(), _ROOT} and found.st_uid != path.parent.stat().st_uid:
        raise RequestRefused(
            f"{path} belongs to another user (uid {found.st_uid}) than its folder; it was not opened.",
            remedy=f"If the file is yours, give it to the folder's owner: sudo chown --reference={shlex.quote(str(path.parent))} {shlex.quote(str(path))}",
        )


# --- permissions of other users -----------------------------------------------------------------------------------------------


def who_else_may_write(path: Path) -> str | None:
    """Return why other users could change the code at ``path`` (by its mode or a parent folder's); None if they cannot."""
    whole = path.resolve()
    for each in (whole, *whole.parents):
        found = each.stat()
        private_group = found.st_gid in {_ROOT, found.st_uid}
        shared = found.st_mode & (stat.S_IWOTH if private_group else stat.S_IWOTH | stat.S_IWGRP)
        if shared and not (each != whole and found.st_mode & stat.S_ISVTX):
            return f"other users may write to {each}: run `chmod go-w {shlex.quote(str(each))}`"
        if found.st_uid not in {_ROOT, os.geteuid()}:
            return f"{each} belongs to another user (uid {found.st_uid}): give it to this user or to root with `chown`"
    return None


def readable_by_everyone(path: Path) -> bool:
    """Whether every user of the computer can read this file, by its own mode and the modes of its parent folders."""
    try:
        whole = path.resolve()
        return bool(whole.stat().st_mode & stat.S_IROTH) and all(
            each.stat().st_mode & stat.S_IXOTH for each in whole.parents
        )
    except OSError:
        return False
