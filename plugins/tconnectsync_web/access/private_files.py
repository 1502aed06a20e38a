"""Small private files of the web application: its key and its view link."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path

LONGEST = 4096


def folder_of(data_dir: Path) -> Path:
    """Where a person's web application keeps its files."""
    return data_dir / "web"


def read_private(path: Path) -> bytes | None:
    """Return the content; None if there is no such file. A link is not followed. Errors: OSError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LONGEST).strip() or None


def read_or_create(path: Path, make: Callable[[], bytes]) -> bytes:
    """Return the file's content. A missing file is created with what ``make`` returns, for its owner only. Errors: OSError."""
    found = read_private(path)
    if found is not None:
        return found
    _make_private(path.parent)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(make() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was faster: its content counts
            os.link(temporary, path)
    finally:
        temporary.unlink()
    created = read_private(path)
    if created is None:
        raise FileNotFoundError(path)
    return created


def _make_private(folder: Path) -> None:
    """Create the folder and its parents, for their owner only. Existing ones stay as they are."""
    if not folder.is_dir():
        _make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
