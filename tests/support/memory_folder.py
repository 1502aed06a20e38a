"""The tests' folder: in memory if the machine has room, so that thousands of databases wait for no disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import MutableMapping
from pathlib import Path

MEMORY = Path("/dev/shm")
NEEDED_BYTES = 2 << 30
"""Several times what a run holds at once: each test's folder is deleted when it has passed."""
NAMED = ("TMPDIR", "PYTEST_DEBUG_TEMPROOT")
"""If one of these is set, the user has chosen a folder."""


def memory_folder(memory: Path = MEMORY) -> Path | None:
    """A folder in memory with enough room, in which programs may run; None: the tests use the disk."""
    try:
        state = os.statvfs(memory)
        free = shutil.disk_usage(memory).free
    except OSError:
        return None
    usable = os.access(memory, os.W_OK) and not state.f_flag & os.ST_NOEXEC and free >= NEEDED_BYTES
    return memory if usable else None


def use_memory(environ: MutableMapping[str, str]) -> None:
    """Let pytest put its folders into memory, those of its workers too, unless the environment names a place."""
    folder = memory_folder()
    if folder is not None and not any(environ.get(name) for name in NAMED):
        environ["PYTEST_DEBUG_TEMPROOT"] = str(folder)
