"""Why a row cannot be taken."""

from __future__ import annotations


class BadRow(Exception):
    """Why a row cannot be taken; ``column`` where one value is to blame. The value itself stays out of the words."""

    def __init__(self, reason: str, *, column: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column
