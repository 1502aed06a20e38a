"""Sources: the interface to a vendor that has pump events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Protocol

import attrs

from tconnectsync.events import Body, Event
from tconnectsync.plugin.receiver import CheckResult


@attrs.frozen(kw_only=True)
class Batch:
    """The events of one request. The engine writes them to the disk before it asks for the next batch.

    ``note`` says in words what was read ("pump 123, 1 to 28 October"); ``done`` of ``total`` drives a progress bar.
    """

    events: Sequence[Event] = ()
    note: str = ""
    done: int = 0
    total: int = 0


class History(Protocol):
    """The part of the log that a source can read. It derives its position from there."""

    def facts(self, kind: str, *, pump: str | None = None, limit: int = 100) -> Sequence[Event]:
        """Return events of ``kind`` from this source, newest log position first. Use it for rare kinds and for facts."""
        ...


class Source(Protocol):
    """A vendor's data. Errors: Retryable, SourceChanged, CredentialsRefused."""

    decoder: int
    """Version of ``decode``; raising it makes the engine read every ``raw`` again."""

    def poll(self, history: History) -> Iterator[Batch]:
        """Fetch new events. Yields after every request, so that others get their turn. Ends when all is fetched."""
        ...

    def backfill(self, history: History, first: date, last: date) -> Iterator[Batch]:
        """Fetch these pump-local days again, both inclusive, whatever was fetched before."""
        ...

    def decode(self, raw: Mapping[str, Any]) -> tuple[str, Body]:
        """Return the kind and body of a vendor record: ``unknown`` if it makes no sense. Never raises."""
        ...

    def check(self) -> Iterator[CheckResult]:
        """Test login, pumps and their newest data. Yields results without secrets."""
        ...
