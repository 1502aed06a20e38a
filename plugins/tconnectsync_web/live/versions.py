"""A short text that changes whenever a data folder has something new for a page."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

_SHOWN = (("log", (".jsonl", ".jsonl.gz")), ("state", (".json",)), ("outbox", (".sqlite", ".sqlite-wal")))
"""Folders and endings of the files that pages show. SQLite's other files also change when somebody only reads."""


def version_of(data_dir: Path) -> str:
    """Return the version of what the folder holds now, from the sizes and times of its files. No file is opened."""
    seen = hashlib.sha256()
    for entry in sorted(_entries(data_dir)):
        seen.update(repr(entry).encode())
    return seen.hexdigest()[:16]


def _entries(data_dir: Path) -> Iterator[tuple[str, int, int]]:
    for folder, endings in _SHOWN:
        try:
            with os.scandir(data_dir / folder) as found:
                for entry in found:
                    if entry.name.endswith(endings):
                        stat = entry.stat(follow_symlinks=False)
                        if stat.st_size or not entry.name.endswith("-wal"):
                            yield f"{folder}/{entry.name}", stat.st_size, stat.st_mtime_ns
        except OSError:  # not there yet, or replaced just now: the next look sees it
            continue
