"""One request to a source: a poll, a backfill, or days that a gap in the log lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from enum import Enum

import attrs
import msgspec

from tconnectsync.eventlog import EventLog
from tconnectsync.events import Event
from tconnectsync.ingest.event_count import EventCount
from tconnectsync.ingest.gaps import RefetchRange
from tconnectsync.plugin.source import Batch


class FetchState(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@attrs.define(eq=False)
class Fetch:
    """One fetch. ``is_poll``: it reads everything new. ``gap``: the days of a gap that it fetches again.

    ``days``: the first and the last day that a user asked for. ``unread``: why some of them could not be read, if the rest could.
    """

    start: Callable[[], Iterator[Batch]]
    is_poll: bool = False
    gap: RefetchRange | None = None
    days: tuple[date, date] | None = None
    unread: str = ""
    state: FetchState = FetchState.QUEUED
    began: datetime | None = None
    event_count: EventCount = attrs.field(factory=EventCount)

    @property
    def is_over(self) -> bool:
        """Whether it has ended, successfully or not."""
        return self.state in (FetchState.DONE, FetchState.FAILED)


class SourceHistory(msgspec.Struct, frozen=True):
    """The part of the log that one source may read."""

    events: EventLog
    source: str

    def facts(self, kind: str, *, pump: str | None = None, limit: int = 100) -> Sequence[Event]:
        """See :class:`tconnectsync.plugin.source.History`."""
        return self.events.facts(kind, source=self.source, pump=pump, limit=limit)
