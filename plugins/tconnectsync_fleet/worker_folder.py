"""A worker's folder: one process at a time uses it, and it has a name.

Its identity says whether two processes mean the same folder, so that the later one may take the earlier one's lease at once: the
lock shows that the earlier one has ended. A folder that was copied with its computer (an image, a clone) has the same random number,
and no common lock. Hence the identity also has the running kernel and the place of the lock's file.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
from pathlib import Path

import click

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def check_worker_name(name: str) -> str:
    """Return the name, which becomes a key in NATS. Errors: BadParameter."""
    if _NAME.fullmatch(name) is None or ".." in name:
        raise click.BadParameter(
            f"{name!r} is not a valid name for a worker: use letters, digits and hyphens, at most 63 of them.",
            param_hint="--name",
        )
    return name


class WorkerFolder:
    """The folder, locked until the process ends or the block is left. ``disk``: its identity; ``name``: a name for the worker."""

    def __init__(self, folder: Path) -> None:
        """Lock the folder. Errors: ClickException if another worker uses it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder / "worker.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise click.ClickException(f"Another worker uses {folder}. Give this one a --folder of its own.") from None
        number = os.pread(self._lock, 64, 0).decode()
        if not number:
            number = secrets.token_hex(8)
            os.pwrite(self._lock, number.encode(), 0)
            os.fsync(self._lock)
        place = os.fstat(self._lock)
        self.disk = f"{number}.{_running_kernel()}.{place.st_dev}.{place.st_ino}"
        host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-") or "worker"
        self.name = f"{host}-{number[:4]}"

    def __enter__(self) -> WorkerFolder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)


def _running_kernel() -> str:
    """Return a random id of the computer's present start; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
