"""Counts the pump events of one request: new ones, and ones that the log had before, each once."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from tconnectsync.eventlog import Appended
from tconnectsync.events import FACTS
from tconnectsync.text.plural import counted


@attrs.define
class EventCount:
    """Counts over all parts of one request. Their days overlap, so a source may send an event several times.

    ``end_before``: the last position of the log before the request.
    """

    end_before: int = 0
    new: int = 0
    known: int = 0
    _seen: bytearray = attrs.field(init=False, repr=False)
    """One bit for each position of the log."""

    def __attrs_post_init__(self) -> None:
        self._seen = bytearray(self.end_before // 8 + 1)

    def count(self, appended: Appended) -> None:
        """Add the result of one append."""
        self.new += sum(event.kind not in FACTS for event in appended.events)
        self.count_known(appended.known)

    def count_known(self, positions: Iterable[int]) -> None:
        """Add events that the log has at these positions."""
        for position in positions:
            byte, bit = position >> 3, 1 << (position & 7)
            if position <= self.end_before and not self._seen[byte] & bit:
                self._seen[byte] |= bit
                self.known += 1

    def words(self) -> str:
        """Return both numbers as text."""
        return f"{counted(self.new, 'new pump event')}, {counted(self.known, 'was', 'were')} in the log already"
