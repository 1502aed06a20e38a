"""The messages between a command and the engine: one Request, then Progress and Notice steps, last a Result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import attrs

from tconnectsync.errors import TconnectsyncError
from tconnectsync.exit_status import ExitStatus
from tconnectsync.text.retry_words import without_retries


@attrs.frozen(kw_only=True)
class Request:
    """A command for the process that owns the data folder. ``args`` are JSON values.

    ``config_id`` identifies the configuration that the command has read; empty: do not compare it with the daemon's.
    """

    command: str
    args: Mapping[str, Any] = attrs.field(factory=dict)
    config_id: str = attrs.field(default="", metadata={"json": "mark"})


@attrs.frozen(kw_only=True)
class Progress:
    """The progress of the work. ``total`` 0 means unknown."""

    message: str = attrs.field(metadata={"json": "progress"})
    done: int = 0
    total: int = 0


@attrs.frozen(kw_only=True)
class Result:
    """The end of a request: the exit status and lines for the user."""

    status: int = attrs.field(converter=int)
    lines: tuple[str, ...] = ()

    @classmethod
    def of_error(
        cls, error: TconnectsyncError, *more: str, status: ExitStatus | None = None, is_retried: bool = True
    ) -> Result:
        """Return the result for an error; ``status``: if it is not the error's own. ``is_retried``: by the daemon."""
        remedy = error.remedy if is_retried else without_retries(error.remedy)
        lines = (error.message, *((remedy,) if remedy else ()), *more)
        return cls(status=error.exit_status if status is None else status, lines=lines)


@attrs.frozen(kw_only=True)
class Notice:
    """A message that the user should see before the work continues."""

    words: str = attrs.field(metadata={"json": "notice"})


Step: TypeAlias = Progress | Notice | Result


Job: TypeAlias = Iterator[Step]
