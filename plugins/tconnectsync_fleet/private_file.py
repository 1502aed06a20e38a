"""Configuration files that must never be on a disk: they have passwords inside."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def private_file(name: str, text: bytes) -> Iterator[Path]:
    """Give the path of a file that only this user can read.

    On almost every Linux, the path is a link to this process's memory, so a process that is killed leaves no text behind.
    """
    memory = Path("/dev/shm")  # noqa: S108 - a private folder is made there
    with (
        tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder,
        _text(text) as there,
    ):
        path = Path(folder) / name
        if there is not None:
            path.symlink_to(there)
        else:
            path.touch(mode=0o600)
            path.write_bytes(text)
        yield path


@contextlib.contextmanager
def _text(text: bytes) -> Iterator[Path | None]:
    """Give a path to this text in the process's memory; None where there is no such thing."""
    own, create = Path(f"/proc/{os.getpid()}/fd"), getattr(os, "memfd_create", None)
    if create is None or not own.is_dir():  # macOS, a Python for old Linuxes, a chroot
        yield None
        return
    with os.fdopen(create("configuration"), "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(text)
        file.flush()
        yield own / str(file.fileno())


@contextlib.contextmanager
def given_file(file: Path, name: str) -> Iterator[Path]:
    """Give the path of a configuration file; of a private copy of the standard input for ``-``."""
    if str(file) != "-":
        yield file
        return
    with private_file(f"{name}.toml", sys.stdin.buffer.read()) as path:
        yield path
