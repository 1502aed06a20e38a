"""Errors as words and exit statuses: what happened, what to do, never a traceback."""

from __future__ import annotations

import contextlib
import os
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.output import say
from tconnectsync.errors import (
    ConfigError,
    MachineNotReady,
    RequestRefused,
    TconnectsyncError,
)
from tconnectsync.exit_status import ExitStatus
from tconnectsync.folder_owner import open_own
from tconnectsync.text.plural import counted
from tconnectsync.text.printable import printable

DETAILS_NAME = "last-failure.txt"


def tell(error: TconnectsyncError) -> int:
    """Say an expected error on stderr; answers the exit status."""
    if isinstance(error, ConfigError):
        count = len(error.problems)
        noun = counted(count, "problem")
        not_ready = isinstance(error, MachineNotReady)
        about = "What the configuration names cannot be used now" if not_ready else f"The configuration has {noun}"
        say(f"{about}; nothing was done:", err=True)
        for problem in error.problems:
            say(f"  {problem}", err=True)
    else:
        say(error.message, err=True)
    if error.remedy:
        say(error.remedy, err=True)
    return int(error.exit_status)


def tell_forbidden(error: PermissionError) -> int:
    """Say what may not be read or written, and how else to run it; answers the exit status, 1: it may pass."""
    say(f"This user may not use {error.filename}: permission denied; nothing was done.", err=True)
    say("Run it as the user that owns the data folder. Where tconnectsync runs as a service: with sudo.", err=True)
    return int(ExitStatus.FAILED)


def tell_disk(error: OSError, remedy: str) -> int:
    """Say that the disk is full, read-only or failing; answers the exit status, after which a service is started again."""
    where = f" ({error.filename})" if error.filename else ""
    say(f"The disk does not do what it should: {error.strerror}{where}. {remedy}", err=True)
    return int(ExitStatus.FAILED)


def tell_unexpected(error: BaseException, invocation: CliContext) -> int:
    """Say in one line that something failed that should not, and where the details are; answers the exit status."""
    redact = invocation.logs.redactor if invocation.logs else str
    details = redact("".join(traceback.format_exception(type(error), error, error.__traceback__)))
    words = " ".join(redact(str(error)).split())
    if invocation.verbose:
        say(details, err=True, nl=False)
        where = "the details are above"
    else:
        path = _keep(details, invocation)
        where = f"the details are in {path}" if path else "run it again with -v to see the details"
    say(
        f"tconnectsync failed unexpectedly ({type(error).__name__}{': ' if words else ''}{words}); {where}. Nothing that was "
        "stored is lost.",
        err=True,
    )
    return int(ExitStatus.FAILED)


def _keep(details: str, invocation: CliContext) -> Path | None:
    """Write the details where only the user reads them: into the data folder, else into a temporary file."""
    config = invocation.known_config()
    attempts: list[Callable[[], tuple[int, Path]]] = []
    if config is not None and config.data_dir.is_dir():
        attempts.append(lambda: _open_private(config.data_dir / DETAILS_NAME))
    attempts.append(_open_temporary)
    for attempt in attempts:
        with contextlib.suppress(OSError, RequestRefused):
            descriptor, path = attempt()
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(printable(details))
            return path
    return None


def _open_private(path: Path) -> tuple[int, Path]:
    descriptor = open_own(path, os.O_WRONLY | os.O_CREAT)
    os.ftruncate(descriptor, 0)
    return descriptor, path


def _open_temporary() -> tuple[int, Path]:
    descriptor, name = tempfile.mkstemp(prefix="tconnectsync-failure-", suffix=".txt")
    return descriptor, Path(name)
