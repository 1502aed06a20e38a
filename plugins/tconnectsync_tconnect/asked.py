"""What whoever reads a file says about it, and the error of a file that cannot be taken."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from tconnectsync import TconnectsyncError


class Options(Protocol):
    """What the command line says about a file.

    ``pump``: the serial number to use where the file has none. ``skip_bad``: leave damaged rows out instead of refusing the
    file. ``received_at``: aware UTC, when the file was read.
    """

    @property
    def pump(self) -> str | None: ...
    @property
    def skip_bad(self) -> bool: ...
    @property
    def received_at(self) -> datetime: ...


class BadFile(TconnectsyncError):
    """A file, or a row of it, cannot be read as what it seems to be. Nothing of the file was handed over."""


class BadRow(Exception):
    """Why a row cannot be taken; ``column`` where one value is to blame. The value itself stays out of the words."""

    def __init__(self, reason: str, *, column: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column
