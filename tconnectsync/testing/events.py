"""Events, a clock and a context for the tests of a plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs

from tconnectsync import events as vocabulary
from tconnectsync.clock import Clock
from tconnectsync.events import Event
from tconnectsync.plugin.spec import Context

KIND_OF: Mapping[type[Any], str] = {body: kind for kind, body in vocabulary.BODIES.items()}
NOON = datetime(2026, 5, 14, 12, 0, tzinfo=timezone.utc)
"""When the events of these tests begin."""


@attrs.define
class ManualClock:
    """A clock that moves only when somebody sleeps or sets ``time``."""

    time: datetime = NOON

    def now(self) -> datetime:
        """Return ``time``."""
        return self.time

    def monotonic(self) -> float:
        """Return ``time`` in seconds."""
        return self.time.timestamp()

    def sleep(self, seconds: float) -> None:
        """Move ``time`` forward at once."""
        self.time += timedelta(seconds=seconds)


def plugin_context(
    folder: Path, *, clock: Clock | None = None, sections: Mapping[str, Any] | None = None, zone: str = "Etc/UTC"
) -> Context:
    """Return what the engine gives a plugin when it opens a source or a sink."""
    return Context(
        clock=clock or ManualClock(), folder=folder, version="0", sections=sections or {}, zone_of=lambda _day: zone
    )


def make_event(body: Any, seconds: float, seq: int | None, *, pump: str = "90556643", group: int | None = 0) -> Event:
    """Return ``body`` as a fold sees it, ``seconds`` after :data:`NOON` UTC, from a pump whose clock is two hours ahead.

    Without ``seq`` it is an event of a source that has no sequence numbers.
    """
    at, kind = NOON + timedelta(seconds=seconds), KIND_OF[type(body)]
    return Event(
        id=f"test:{pump}:{group}:{seq}" if seq is not None else f"test:{pump}:{seconds}:{kind}",
        kind=kind,
        pump=pump,
        group=group if seq is not None else None,
        seq=seq,
        pump_time=(at + timedelta(hours=2)).replace(tzinfo=None),
        source="test",
        received_at=at,
        body=body,
        at=at,
    )


def example_events(kinds: Iterable[str] | None = None) -> list[Event]:
    """Return two hours of a pump's life in its own order, or those of its events that are of these ``kinds``."""
    from tconnectsync.testing.example import EXAMPLE

    wanted = frozenset(vocabulary.BODIES if kinds is None else kinds)
    made = [make_event(body, 60 * minute, seq) for seq, (minute, body) in enumerate(EXAMPLE, start=1000)]
    return [event for event in made if event.kind in wanted]
