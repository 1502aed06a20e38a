"""The part of the event log that a source may use, in memory: for tests of one source without a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs

from tconnectsync import Event


@attrs.define
class MemoryLog:
    """Appends once per id and content; answers newest first. An event that the real log could not write raises ValueError."""

    events: list[Event] = attrs.field(factory=list)
    duplicates: int = 0
    _known: dict[str, list[Event]] = attrs.field(factory=dict)
    _by_kind: dict[tuple[str, str | None], list[Event]] = attrs.field(factory=dict)

    def append(self, events: Sequence[Event]) -> None:
        """Add those that are new, and count the others."""
        for event in events:
            same = self._known.setdefault(event.id, [])
            if not any(one.raw == event.raw for one in same):
                json.dumps(event.raw, allow_nan=False, ensure_ascii=False).encode()
            if any((one.kind, one.body) == (event.kind, event.body) for one in same):
                self.duplicates += 1
                continue
            same.append(event)
            self.events.append(event)
            for pump in (None, event.pump):
                self._by_kind.setdefault((event.kind, pump), []).append(event)

    def facts(self, kind: str, *, pump: str | None = None, limit: int = 100) -> Sequence[Event]:
        """Events of a kind, the newest first: what a source may ask for."""
        return self._by_kind.get((kind, pump), [])[: -limit - 1 : -1]

    def of(self, kind: str) -> list[Event]:
        """All events of a kind, in order of arrival."""
        return [event for event in self.events if event.kind == kind]

    def numbered(self) -> list[int]:
        """The known sequence numbers, in order."""
        return sorted(event.seq for event in self.events if event.seq is not None)
