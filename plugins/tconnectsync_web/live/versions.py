"""A short text that changes whenever a data folder has something new for a page."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_SHOWN = (("log", (".jsonl", ".jsonl.gz")), ("state", (".json",)), ("outbox", (".sqlite", ".sqlite-wal")))
"""Folders and endings of the files that pages show. SQLite's other files also change when somebody only reads."""
_OPEN_SEGMENTS = 2
"""Of the log only the last files grow; a year has hundreds."""


def version_of(data_dir: Path) -> str:
    """Return the version of what the folder holds now, from the names, sizes and times of its files. No file is opened."""
    seen = hashlib.sha256()
    for folder, endings in _SHOWN:
        try:
            with os.scandir(data_dir / folder) as found:
                names = sorted(entry.name for entry in found if entry.name.endswith(endings))
        except OSError:  # not there yet
            continue
        if folder == "log":
            seen.update(repr(names).encode())
            names = names[-_OPEN_SEGMENTS:]
        for entry in _entries(data_dir / folder, names):
            seen.update(repr(entry).encode())
    return seen.hexdigest()[:16]


def joint_version(versions: Iterable[str]) -> str:
    """Return the version of several folders together."""
    return hashlib.sha256(" ".join(versions).encode()).hexdigest()[:16]


def _entries(folder: Path, names: list[str]) -> Iterator[tuple[str, int, int]]:
    for name in names:
        try:
            found = (folder / name).lstat()
        except OSError:  # replaced just now: the next look sees it
            continue
        if found.st_size or not name.endswith("-wal"):
            yield f"{folder.name}/{name}", found.st_size, found.st_mtime_ns
