"""Print errors for people: what happened and what to do, never a traceback. Each function returns the exit status."""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable
from pathlib import Path

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.errors import (
    ConfigError,
    MachineNotReady,
    NotConfigured,
    RequestRefused,
    TconnectsyncError,
)
from tconnectsync.exit_status import ExitStatus
from tconnectsync.folder_owner import is_own, open_own
from tconnectsync.text.plural import counted
from tconnectsync.text.printable import printable

DETAILS_NAME = "last-failure.txt"


def report_error(error: TconnectsyncError) -> int:
    """Print an expected error to stderr and return the exit status."""
    if isinstance(error, ConfigError) and not isinstance(error, NotConfigured):
        count = len(error.problems)
        noun = counted(count, "problem")
        not_ready = isinstance(error, MachineNotReady)
        about = (
            "A file or folder that the configuration names cannot be used now"
            if not_ready
            else f"The configuration has {noun}"
        )
        say(f"{about}. Nothing was done:", err=True)
        for problem in error.problems:
            say(f"  {problem}", err=True)
    else:
        say(error.message, err=True)
    if error.remedy:
        say(error.remedy, err=True)
    return int(error.exit_status)


def report_storage_error(error: Exception, invocation: Invocation) -> int | None:
    """Print why the disk, a file or a database cannot be used, and return the exit status 1: systemd restarts the service.

    None for errors of other kinds.
    """
    from tconnectsync.storage_errors import disk_steps, storage_error, storage_remedy

    config = invocation.known_config()
    data_dir = None if config is None else config.data_dir
    found = storage_error(error, data_dir)
    if found is None:
        return None
    if isinstance(found, PermissionError) and found.filename:
        return _report_permission_denied(found, error, invocation)
    remedy = disk_steps(found) if data_dir is None else storage_remedy(found, data_dir)
    if remedy is None:
        return None
    where = f" ({found.filename})" if found.filename else ""
    say(f"The disk cannot be used: {found.strerror}{where}. {remedy}", err=True)
    return int(ExitStatus.FAILED)


def _report_permission_denied(found: PermissionError, error: Exception, invocation: Invocation) -> int:
    from tconnectsync.storage_errors import storage_remedy

    say(f"Permission denied: this user may not use {found.filename}.", err=True)
    config = invocation.known_config()
    remedy = None
    if config is not None and is_own(config.data_dir):
        say(f"No stored data is lost; {_keep_details(error, invocation)}.", err=True)
        remedy = storage_remedy(found, config.data_dir)
    if remedy is None:
        remedy = "If tconnectsync runs as a service, put `sudo` before the command. Otherwise run it as the owner of the data folder."
    say(remedy, err=True)
    return int(ExitStatus.FAILED)


def report_unexpected(error: BaseException, invocation: Invocation) -> int:
    """Print one line about an unexpected failure and where its details are, and return the exit status."""
    words = " ".join(_redacted(str(error), invocation).split())
    where = _keep_details(error, invocation)
    say(
        f"tconnectsync failed unexpectedly ({type(error).__name__}{': ' if words else ''}{words}); {where}. No stored data is lost.",
        err=True,
    )
    return int(ExitStatus.FAILED)


def _keep_details(error: BaseException, invocation: Invocation) -> str:
    """Print the traceback if verbose, else save it; return where it is, in words."""
    details = _redacted("".join(traceback.format_exception(type(error), error, error.__traceback__)), invocation)
    if invocation.verbose:
        say(details, err=True, nl=False)
        return "the details are above"
    path = _save_details(details, invocation)
    return f"the details are in {path}" if path else "run the command again with -v to see the details"


def _redacted(text: str, invocation: Invocation) -> str:
    """Return ``text`` without secrets."""
    return invocation.logs.redactor(text) if invocation.logs else text


def _save_details(details: str, invocation: Invocation) -> Path | None:
    """Write the details into a private file: in the data folder, else in the folder for temporary files."""
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
    import tempfile

    descriptor, name = tempfile.mkstemp(prefix="tconnectsync-failure-", suffix=".txt")
    return descriptor, Path(name)
