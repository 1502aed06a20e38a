"""A command line in this process: what it prints and its exit status are those of a process, without the half second of its start."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.root import run


def run_command(
    words: Sequence[str], environ: Mapping[str, str], folder: Path = Path()
) -> subprocess.CompletedProcess[str]:
    """Run the command line ``words`` in ``folder`` and under an environment. It has no terminal."""
    out, err = _stream(), _stream()
    with _process_kept(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(words, Invocation(environ=environ))
    return subprocess.CompletedProcess([*words], status, _text(out), _text(err))


def _stream() -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)


def _text(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


@contextlib.contextmanager
def _process_kept(folder: Path) -> Iterator[None]:
    """Work in ``folder``, and leave this process as it was: a command changes its process's umask permanently."""
    place, mask = Path.cwd(), os.umask(0o077)
    os.umask(mask)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(place)
        os.umask(mask)
