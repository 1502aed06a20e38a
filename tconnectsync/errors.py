"""Errors, named after the decision that follows from them. Each carries data and the next command to type."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from tconnectsync.exit_status import ExitStatus
from tconnectsync.text.printable import printable


class TconnectsyncError(Exception):
    """What happened, and what to do about it.

    ``remedy`` is a sentence for the person who reads it, naming the next command where there is one. Both may quote what came
    from outside: characters that a terminal would obey, or not show, are written as escapes.
    """

    remedy: str | None
    exit_status: ClassVar[ExitStatus] = ExitStatus.FAILED
    """How a command ends that this error stops."""
    usual_remedy: ClassVar[str | None] = None
    """What to do where whoever raises it knows nothing better."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        self.message = printable(message)
        super().__init__(self.message)
        self.remedy = printable(remedy) if remedy else self.usual_remedy


class ConfigError(TconnectsyncError):
    """The configuration cannot be used. ``problems`` holds every problem, one sentence each. Exit status 2.

    ``data_dir`` is what it says of the data folder, as far as that is known.
    """

    exit_status = ExitStatus.USAGE

    def __init__(self, problems: tuple[str, ...], *, remedy: str | None = None, data_dir: Path | None = None) -> None:
        self.data_dir = data_dir
        self.problems = tuple(map(printable, problems))
        super().__init__("\n".join(self.problems), remedy=remedy)


class MachineNotReady(ConfigError):
    """The configuration may be right: a file or folder that it names cannot be used now, as on a disk that is mounted late.

    Exit status 1, so that a service is started again.
    """

    exit_status = ExitStatus.FAILED


class RequestRefused(TconnectsyncError):
    """What was asked cannot be done as things are; nothing was changed. Exit status 2."""

    exit_status = ExitStatus.USAGE


class MachineTrouble(RequestRefused):
    """What was asked cannot be done because of the disk or a permission, not because of how it was asked. Exit status 1."""

    exit_status = ExitStatus.FAILED


class FileUnreadable(TconnectsyncError):
    """A file cannot be read as what it seems to be; the message says at which line or byte. Exit status 2."""

    exit_status = ExitStatus.USAGE

    usual_remedy = (
        "Save the file anew where it came from; `tconnectsync import --skip-bad FILE` takes what can be read of it, and the"
        " rest is then missing."
    )


class Retryable(TconnectsyncError):
    """Passing trouble: try again later. ``after_s`` is the least wait in seconds, None leaves it to the back-off.

    ``unsure`` is true when the other side may have acted on the request although no answer came, ``narrow`` when its size or
    its time may be the reason: a smaller batch may pass.
    """

    exit_status = ExitStatus.SOURCE

    usual_remedy = "It is tried again by itself; `tconnectsync check` tries everything now and says what is wrong."

    def __init__(
        self,
        message: str,
        *,
        after_s: float | None = None,
        unsure: bool = False,
        narrow: bool = False,
        remedy: str | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.after_s = after_s
        self.in_doubt = unsure
        self.narrow = narrow


class SourceChanged(Retryable):
    """The vendor answered with something this release does not know. Never "no data"; asked again about hourly."""


class Rejected(TconnectsyncError):
    """The receiver will never take this batch as it is. Delivery halves the batch until the culprit is alone.

    ``narrow``: because of its size, which is remembered. ``passing``: it may be the receiver's own trouble; a document that
    fails alone is set aside only after others have passed again and again.
    """

    exit_status = ExitStatus.WAITING

    usual_remedy = "`tconnectsync dead-letters list` shows what was set aside; `tconnectsync check` tries the site."

    def __init__(self, message: str, *, narrow: bool = False, passing: bool = False, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.narrow = narrow
        self.passing = passing


class CredentialsRefused(TconnectsyncError):
    """The account or secret was refused. A source is not asked again until the configuration changes; a receiver seldom."""

    exit_status = ExitStatus.REFUSED


class LogCorrupt(TconnectsyncError):
    """A record of the event log is not what was written. ``path`` and ``line`` (from 1) say where."""

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


class IndexCorrupt(TconnectsyncError):
    """The log's index is no database any more: it was forgotten, and is made anew from the log at the next opening."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The event log's index {path} was harmed; it is made anew from the log. Nothing is lost.",
            remedy="Run the command again; a service starts again by itself. If it happens again, look at the disk's health.",
        )


class DataDirLocked(TconnectsyncError):
    """Another process owns the data folder. ``pid`` is its process id where known."""

    exit_status = ExitStatus.OWNED

    def __init__(self, message: str, *, pid: int | None = None, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.pid = pid
