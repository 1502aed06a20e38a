"""A worker's folder: one process at a time uses it, and it has a name."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import socket
from pathlib import Path

import click


class WorkerFolder:
    """The folder, locked until the process ends or the block is left. ``disk``: its random id; ``name``: a name for the worker."""

    def __init__(self, folder: Path) -> None:
        """Lock the folder. Errors: ClickException if another worker uses it."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder / "worker.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise click.ClickException(f"Another worker uses {folder}. Give this one a --folder of its own.") from None
        self.disk = os.pread(self._lock, 64, 0).decode()
        if not self.disk:
            self.disk = secrets.token_hex(8)
            os.pwrite(self._lock, self.disk.encode(), 0)
            os.fsync(self._lock)
        host = re.sub(r"[^a-z0-9]+", "-", socket.gethostname().lower()).strip("-") or "worker"
        self.name = f"{host}-{self.disk[:4]}"

    def __enter__(self) -> WorkerFolder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)
