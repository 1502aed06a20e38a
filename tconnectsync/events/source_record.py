"""The record that a value comes from, as folds store it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from tconnectsync.events.envelope import Event


class SourceRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record and its UTC time. ``key`` names it within its stream: the sequence number, else the event's id."""

    pump: str
    group: int | None
    seq: int | None
    key: str
    at: datetime

    @property
    def name(self) -> int | str:
        """The sequence number, else the event's id."""
        return self.key if self.seq is None else self.seq


def record_of(event: Event) -> SourceRecord:
    """Return record and time of ``event``."""
    key = event.id if event.seq is None else str(event.seq)
    return SourceRecord(pump=event.pump, group=event.group, seq=event.seq, key=key, at=utc_of(event))


def utc_of(event: Event) -> datetime:
    """Return the event's UTC time, which the engine always sets for folds."""
    if event.at is None:
        raise ValueError(f"event {event.id} reached a fold without its UTC time")
    return event.at
