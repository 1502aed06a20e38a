"""The streams of the process: closed ones are replaced, and one that cannot be written says so."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path


class OutputFailed(Exception):
    """Standard output or standard error cannot be written."""


def open_closed_streams() -> None:
    """Open ``/dev/null`` for each stream that the caller has closed (``>&-``).

    Without it the next file that is opened, perhaps one of the log, would get the stream's number, and a child process would
    print into it.
    """
    descriptor = os.open(os.devnull, os.O_RDWR)
    while descriptor <= 2:
        os.set_inheritable(descriptor, True)
        descriptor = os.dup(descriptor)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115 - for the whole process


def discard_output() -> None:
    """Send what is left to ``/dev/null``: it cannot be written, and Python would complain again when it flushes at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
