"""Writes several files at once: an interruption leaves either all old ones or all new ones."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs

REQUESTS_TO_END = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM}
"""SIGALRM makes a request that was dropped once more (``cli/interrupts.py``)."""


@attrs.frozen(kw_only=True)
class NewFile:
    """One file to write. ``mode`` is its mode, ``folder_mode`` that of its folder, if it is missing."""

    path: Path
    text: str = attrs.field(repr=False)
    mode: int = 0o600
    folder_mode: int = 0o755


def write_files(files: Sequence[NewFile], *, obsolete: Sequence[Path] = ()) -> None:
    """Write all files, then delete the ``obsolete`` ones. An interruption leaves either the old files or the new ones."""
    drafts: dict[Path, Path] = {}
    made: list[Path] = []
    try:
        for file in files:
            made += _make_folder(file.path.parent, file.folder_mode)
            draft = file.path.with_name(f".{file.path.name}.{secrets.token_hex(4)}")
            drafts[draft] = file.path
            _write(draft, file.text, file.mode)
        with _no_interruption():
            for draft, path in drafts.items():
                draft.replace(path)
            for path in obsolete:
                path.unlink(missing_ok=True)
            for folder in {file.path.parent for file in files}:
                _sync_folder(folder)
    except BaseException:
        for draft in drafts:
            draft.unlink(missing_ok=True)
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()
        raise


def _make_folder(folder: Path, mode: int) -> list[Path]:
    """Create the folder and its parents; return the ones that were missing, the outermost first."""
    missing = [each for each in (*reversed(folder.parents), folder) if not each.exists()]
    for each in missing:
        each.mkdir()
        each.chmod(mode)
    return missing


def _write(path: Path, text: str, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(descriptor, mode)
        os.fsync(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _no_interruption() -> Iterator[None]:
    """Deliver Ctrl+C and a request to end after the block."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, REQUESTS_TO_END)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
