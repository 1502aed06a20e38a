"""The file operations that the event log needs, each with a stated durability. Tests replace them to simulate crashes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tconnectsync.folder_owner import open_own


class AppendFile(Protocol):
    """A file open for appending. Every call may raise OSError."""

    def write(self, data: bytes | bytearray) -> None:
        """Append all of ``data``; durable only after :meth:`sync`."""
        ...

    def sync(self) -> None:
        """Make what was written durable (``fsync``).

        After an OSError any of the written data may be lost, and no later sync can report or repair that.
        """
        ...

    def truncate(self, size: int) -> None:
        """Cut the file to ``size`` bytes; the next write appends there."""
        ...

    def close(self) -> None:
        """Close the file. Makes nothing durable."""
        ...


class Files(Protocol):
    """The file operations of the event log. A new or changed name is durable only after :meth:`sync_folder`."""

    def make_folder(self, folder: Path, *, parents: bool = True) -> None:
        """Create ``folder`` and its parents durably, readable by their owner only. An existing folder is fine.

        Without ``parents``, a missing parent is a FileNotFoundError.
        """
        ...

    def names(self, folder: Path) -> Sequence[str]:
        """Return the names in ``folder``, sorted; empty if the folder is missing."""
        ...

    def size(self, path: Path) -> int:
        """Length in bytes."""
        ...

    def sizes(self, folder: Path) -> Mapping[str, int]:
        """Length in bytes of every file in ``folder``, by name; empty if the folder is missing."""
        ...

    def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
        """Return at most ``length`` bytes from ``offset`` on; None means all."""
        ...

    def open_append(self, path: Path) -> AppendFile:
        """Open for appending. A missing file is created, readable by its owner only."""
        ...

    def write(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        """Write a whole file and sync it. Replaces an existing file, not atomically."""
        ...

    def overwrite(self, path: Path, data: bytes) -> None:
        """Write an existing file anew in place, and sync it. Needs no new file. A crash may leave a mix of old and new content."""
        ...

    def rename(self, path: Path, target: Path) -> None:
        """Rename, replacing ``target``, atomically."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file."""
        ...

    def sync_folder(self, folder: Path) -> None:
        """Make the names in ``folder`` durable."""
        ...

    def free_bytes(self, folder: Path) -> int:
        """Free space, in bytes, on the file system that holds ``folder``."""
        ...


TEMPORARY = ".tmp"
"""Suffix of a file that is being written. A leftover after a crash is harmless."""


def replace_file(files: Files, path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a whole file atomically and durably. After a crash it has the old or the new content; after an OSError the old.

    Not ``durable``: after a power cut it may also be empty or corrupt. A killed process leaves the old or the new content.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    files.write(temporary, data, sync=durable)
    files.rename(temporary, path)
    if durable:
        files.sync_folder(path.parent)


_NO_NEW_FILE = frozenset({errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT})


def replace_or_overwrite(files: Files, path: Path, data: bytes, *, durable: bool = True) -> None:
    """Like :func:`replace_file`, but write an existing file in place if no new file can be made.

    Only for files that may be lost: in that case a crash may leave a mix of old and new content.
    """
    try:
        replace_file(files, path, data, durable=durable)
    except OSError as error:
        if error.errno not in _NO_NEW_FILE:
            raise
        try:
            files.overwrite(path, data)
        except OSError:
            raise error from None


class OsAppendFile:
    """A file of the operating system, open for appending."""

    def __init__(self, path: Path) -> None:
        self._descriptor = open_own(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        try:
            os.fsync(self._descriptor)
        except OSError:
            # from now on the kernel treats the lost pages as written: drop them from the cache so that nobody reads them
            if hasattr(os, "posix_fadvise"):
                with contextlib.suppress(OSError):
                    os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            raise

    def truncate(self, size: int) -> None:
        os.ftruncate(self._descriptor, size)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class OsFiles:
    """The operating system's files."""

    def make_folder(self, folder: Path, *, parents: bool = True) -> None:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        if not parents and missing[1:]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(PermissionError):  # a folder may be writable but not readable
                self.sync_folder(each.parent)

    def names(self, folder: Path) -> Sequence[str]:
        try:
            return sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted, not paths
        except FileNotFoundError:
            return []

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def sizes(self, folder: Path) -> Mapping[str, int]:
        found = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
                    found[entry.name] = entry.stat().st_size
        return found

    def read(self, path: Path, offset: int = 0, length: int | None = None) -> bytes:
        with os.fdopen(open_own(path, os.O_RDONLY), "rb", buffering=0) as file:
            if offset:
                file.seek(offset)
            parts = []
            wanted = -1 if length is None else length
            while wanted and (part := file.read(wanted)):
                parts.append(part)
                wanted -= len(part) if wanted > 0 else 0
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def open_append(self, path: Path) -> AppendFile:
        return OsAppendFile(path)

    def write(self, path: Path, data: bytes, *, sync: bool = True) -> None:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        file = OsAppendFile(path)
        try:
            file.write(data)
            if sync:
                file.sync()
        finally:
            file.close()

    def overwrite(self, path: Path, data: bytes) -> None:
        old = self.read(path)
        descriptor = open_own(path, os.O_WRONLY)
        try:
            try:
                _write_whole(descriptor, data)
            except OSError:
                with contextlib.suppress(OSError):
                    _write_whole(descriptor, old)  # it has its space already
                raise
        finally:
            os.close(descriptor)

    def rename(self, path: Path, target: Path) -> None:
        path.replace(target)

    def remove(self, path: Path) -> None:
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def free_bytes(self, folder: Path) -> int:
        return shutil.disk_usage(folder).free


def _write_whole(descriptor: int, data: bytes) -> None:
    """Write from the file's start. It is cut only afterwards, so that it keeps its space on a full disk."""
    view = memoryview(data)
    while view:
        view = view[os.pwrite(descriptor, view, len(data) - len(view)) :]
    os.ftruncate(descriptor, len(data))
    os.fsync(descriptor)
