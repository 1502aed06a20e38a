"""Reads the newest facts about the data, and remembers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from tconnectsync.eventlog.index_queries import IndexReader
from tconnectsync.events import FACTS, Event

MOST_REMEMBERED = 1_500
"""Facts in memory: about a megabyte, and much less as a rule. Each poll asks for the last 200 uploads, which lie all over the log;
if the phone uploads every few minutes, for the last 1,200.
"""

Location: TypeAlias = tuple[int, int]


class FactReader:
    """Reads records of one kind by position. A written line never changes, so a fact that was read once is not read again."""

    def __init__(self, index: IndexReader) -> None:
        self._index = index
        self._remembered: dict[Location, Event] = {}

    def newest(
        self, kind: str, read: Callable[[Location], Event], *, source: str | None, pump: str | None, limit: int
    ) -> list[Event]:
        """See :meth:`tconnectsync.eventlog.EventLog.facts`. ``read`` returns the event at (position, offset). Errors: those of ``read``."""
        is_fact = kind in FACTS
        locations = self._index.fact_locations(kind, pump) if is_fact else self._index.kind_locations(kind, pump)
        found: list[Event] = []
        for location in locations:
            if len(found) >= limit:
                break
            event = self._fact(location, read) if is_fact else read(location)
            if source is None or event.source == source:
                found.append(event)
        return found

    def _fact(self, location: Location, read: Callable[[Location], Event]) -> Event:
        event = self._remembered.get(location)
        if event is None:
            event = self._remembered[location] = read(location)
            if len(self._remembered) > MOST_REMEMBERED:
                for old in sorted(self._remembered)[: max(1, MOST_REMEMBERED // 2)]:
                    del self._remembered[old]
        return event
