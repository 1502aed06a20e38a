"""What brings pump events in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import attrs

from tconnectsync.events import Body, Event
from tconnectsync.plugin.receiver import CheckResult


@attrs.frozen(kw_only=True)
class Batch:
    """What one request brought. The engine makes ``events`` durable before it asks for the next batch.

    ``note`` says in words what was read ("pump 123, 1 to 28 October"); ``done`` of ``total`` drives a progress bar.
    """

    events: Sequence[Event] = ()
    note: str = ""
    done: int = 0
    total: int = 0


class History(Protocol):
    """What a source may know of the log: the source's position derives from it."""

    def facts(self, kind: str, *, pump: str | None = None, limit: int = 100) -> Sequence[Event]:
        """Newest first (by log position) events of ``kind`` from this source; meant for rare kinds and for facts."""
        ...


class Source(Protocol):
    """A vendor's data. Errors: Retryable, SourceChanged, CredentialsRefused."""

    decoder: int
    """Version of ``decode``; raising it makes the engine read every ``raw`` again."""

    def poll(self, history: History) -> Iterator[Batch]:
        """Fetch what is new; yields after every request, so that nothing else starves. Ends when all is fetched."""
        ...

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        """Fetch these pump-local days again, both inclusive, whatever was fetched before."""
        ...

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, Body]:
        """The kind and body of a vendor record; never raises for odd data but answers ``unknown``."""
        ...

    def check(self) -> Iterator[CheckResult]:
        """Login, pumps found and their newest data; nothing secret in the words."""
        ...
