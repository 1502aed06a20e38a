"""Errors, named after the decision that follows from them. Each carries a remedy and the exit status of a command."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tconnectsync.exit_status import ExitStatus
from tconnectsync.text.printable import printable


class TconnectsyncError(Exception):
    """Base class: ``message`` says what happened, ``remedy`` what to do.

    ``remedy`` is a sentence for the user. It names the next command if there is one. Both texts may quote data from outside, so
    control characters and invisible characters in them are escaped.
    """

    remedy: str | None
    exit_status: ClassVar[ExitStatus] = ExitStatus.FAILED
    """The exit status of a command that fails with this error."""
    usual_remedy: ClassVar[str | None] = None
    """The remedy if the raising code gives none."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        self.message = printable(message)
        super().__init__(self.message)
        self.remedy = printable(remedy) if remedy else self.usual_remedy


class ConfigError(TconnectsyncError):
    """The configuration cannot be used. ``problems`` holds every problem, one sentence each. Exit status 2.

    ``data_dir`` is the configured data folder, if it could be read.
    """

    exit_status = ExitStatus.USAGE

    def __init__(self, problems: tuple[str, ...], *, remedy: str | None = None, data_dir: Path | None = None) -> None:
        self.data_dir = data_dir
        self.problems = tuple(map(printable, problems))
        super().__init__("\n".join(self.problems), remedy=remedy)


class NotConfigured(ConfigError):
    """There is no configuration yet: no file, and nothing in the environment. The only problem says what to do. Exit status 2."""


class MachineNotReady(ConfigError):
    """The configuration may be correct, but a file or folder that it names cannot be used now. Example: a disk that mounts late.

    Exit status 1, so that systemd starts the service again.
    """

    exit_status = ExitStatus.FAILED


class RequestRefused(TconnectsyncError):
    """The request cannot be done in the current state. Nothing was changed. Exit status 2."""

    exit_status = ExitStatus.USAGE


class MachineTrouble(RequestRefused):
    """The request cannot be done because of the disk or a permission. The request itself may be correct. Exit status 1."""

    exit_status = ExitStatus.FAILED


class FileUnreadable(TconnectsyncError):
    """A file is corrupt or has a wrong format. The message names the line or byte. Exit status 2."""

    exit_status = ExitStatus.USAGE

    usual_remedy = (
        "Download or save the file again. Or run `tconnectsync import --skip-bad FILE`: it imports the readable part, and the rest"
        " is missing."
    )


class Retryable(TconnectsyncError):
    """A temporary failure: the caller retries later. ``after_s`` is the minimum wait in seconds; None leaves it to the back-off.

    ``in_doubt``: no answer came, but the other side may have acted on the request. ``narrow``: the size of the request may be
    the reason, so a smaller batch may succeed. ``partial``: a source could not read some days or one of its pumps, but the rest:
    the other parts of a backfill are still asked for.
    """

    exit_status = ExitStatus.SOURCE

    usual_remedy = (
        "Nothing is lost: the daemon retries. `tconnectsync check` tests everything now and shows what is wrong."
    )

    def __init__(
        self,
        message: str,
        *,
        after_s: float | None = None,
        in_doubt: bool = False,
        narrow: bool = False,
        partial: bool = False,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.after_s = after_s
        self.in_doubt = in_doubt
        self.narrow = narrow
        self.partial = partial


class SourceChanged(Retryable):
    """The vendor's answer has a format that this release does not know. It is never treated as "no data". Retried about hourly."""


class Rejected(TconnectsyncError):
    """The receiver will never accept this batch. Delivery halves the batch until the refused document is alone.

    ``narrow``: the batch was too large; the accepted size is remembered. ``receiver_fault``: the receiver may be at fault, so a document
    that fails alone becomes a dead letter only after other documents were accepted several times.
    """

    exit_status = ExitStatus.WAITING

    usual_remedy = "`tconnectsync dead-letters list` shows the refused documents. `tconnectsync check` tests the site."

    def __init__(
        self, message: str, *, narrow: bool = False, receiver_fault: bool = False, remedy: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.narrow = narrow
        self.receiver_fault = receiver_fault


class CredentialsRefused(TconnectsyncError):
    """The login or the secret was refused. A source is not polled until the configuration changes; a receiver is retried rarely.

    If not ``asked``, this is an earlier refusal that the receiver remembers, without a new request: it does not count as one more.
    """

    exit_status = ExitStatus.REFUSED

    def __init__(self, message: str, *, asked: bool = True, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.asked = asked


class LogCorrupt(TconnectsyncError):
    """A record of the event log is corrupt. ``path`` and ``line`` (from 1) name the record."""

    exit_status = ExitStatus.DAMAGED

    def __init__(
        self, message: str, *, path: str, line: int, position: int | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(
            message,
            remedy=remedy or "Run `tconnectsync log check`, then stop the daemon and run `tconnectsync log repair`.",
        )
        self.path = path
        self.line = line
        self.position = position


class ReplicaFailed(TconnectsyncError):
    """The shared copy of the event log was not reached, or another process owns it now. Nothing more may be delivered.

    The log must be opened again before it is used. Exit status 8.
    """

    exit_status = ExitStatus.OWNED


class IndexCorrupt(TconnectsyncError):
    """The index of the event log is corrupt. The file was deleted; the next open rebuilds it from the log."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The index of the event log, {path}, was corrupt. Nothing is lost: it will be rebuilt from the log.",
            remedy="Run the command again; the service restarts automatically. If this happens again, check the disk: `dmesg | tail`.",
        )


class DataDirLocked(TconnectsyncError):
    """Another process has locked the data folder. ``pid`` is its process id, if known."""

    exit_status = ExitStatus.OWNED

    def __init__(self, message: str, *, pid: int | None = None, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.pid = pid
