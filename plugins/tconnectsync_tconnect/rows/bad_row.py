"""Why a row cannot be taken."""

from __future__ import annotations


class BadRow(Exception):
    """Why a row cannot be taken; ``column`` if one value is to blame. The value itself stays out of the words.

    ``empty``: nothing stands there at all, as in exports that were never changed. Anything else is damage.
    """

    def __init__(self, reason: str, *, column: str | None = None, empty: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.column = column
        self.empty = empty
