"""How many pump events a request brought: new ones, and those that the log held before, each counted once."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from tconnectsync.eventlog import Appended
from tconnectsync.events import FACTS
from tconnectsync.text.plural import counted


@attrs.define
class EventCount:
    """Counts over all parts of one request. Its days overlap, so that a source may give an event several times.

    ``held``: the last position of the log when the request began.
    """

    end_before: int = 0
    new: int = 0
    known: int = 0
    _seen: bytearray = attrs.field(init=False, repr=False)
    """One bit for each of the log's positions."""

    def __attrs_post_init__(self) -> None:
        self._seen = bytearray(self.end_before // 8 + 1)

    def count(self, appended: Appended) -> None:
        """Add what came of one append."""
        self.new += sum(event.kind not in FACTS for event in appended.events)
        self.count_known(appended.known)

    def count_known(self, positions: Iterable[int]) -> None:
        """Add events that were given and stand there already."""
        for position in positions:
            byte, bit = position >> 3, 1 << (position & 7)
            if position <= self.end_before and not self._seen[byte] & bit:
                self._seen[byte] |= bit
                self.known += 1

    def words(self) -> str:
        """Both numbers, for people."""
        return f"{counted(self.new, 'new pump event')}, {counted(self.known, 'was', 'were')} in the log already"
