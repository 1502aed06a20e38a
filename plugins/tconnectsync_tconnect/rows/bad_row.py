"""Why a row cannot be used."""

from __future__ import annotations


class BadRow(Exception):
    """Why a row cannot be used; ``column`` if one value is the cause. The value itself is not in the message.

    ``empty``: the value is empty, as in unmodified exports. Anything else is corrupt.
    """

    def __init__(self, reason: str, *, column: str | None = None, empty: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column
        self.empty = empty
