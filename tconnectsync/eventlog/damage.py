"""A file of the log (a segment), and a damaged place in it with its error."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog.framing import DamagedRange, Line

PLAIN = ".jsonl"
PACKED = ".jsonl.gz"


@attrs.frozen(kw_only=True)
class Segment:
    """A segment: one file of the log, with the position of its first record."""

    first: int
    path: Path

    @property
    def packed(self) -> bool:
        """Whether the file is compressed."""
        return self.path.name.endswith(PACKED)


@attrs.frozen(kw_only=True)
class Damage:
    """A damaged place in the log. ``line`` counts from 1; ``position`` is the first missing position."""

    path: str
    line: int
    position: int | None
    what: str
    last_position: int | None = None

    def error(self) -> LogCorrupt:
        """Return the error to raise if the damaged records are needed."""
        where = f"position {self.position}" if self.position is not None else "unknown position"
        return LogCorrupt(
            f"The event log is damaged: {self.path}, line {self.line} ({where}): {self.what}. "
            "These records cannot be used; all other records can.",
            path=self.path,
            line=self.line,
            position=self.position,
        )


class IndexMismatch(LogCorrupt):
    """The log is correct, but a record is not where the index says."""


def damages(segment: Segment, items: Iterator[Line | DamagedRange]) -> Iterator[Damage]:
    """Yield the damage among ``items`` of ``segment``."""
    for item in items:
        if isinstance(item, DamagedRange):
            yield damage_of(segment, item)


def damage_of(segment: Segment, run: DamagedRange) -> Damage:
    """Describe a range of damaged lines."""
    return Damage(
        path=str(segment.path),
        line=run.line,
        position=run.first_position,
        last_position=run.last_position,
        what=run.what,
    )
