"""A segment (one file of the log), and a corrupt place in it with the error that it causes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog.framing import DamagedRange, Line

PLAIN = ".jsonl"
PACKED = ".jsonl.gz"


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment: one file of the log, with the position of its first record."""

    first: int
    folder: Path
    name: str

    @property
    def path(self) -> Path:
        """The file. A path is made only when it is needed: a log of ten years has thousands of segments."""
        return self.folder / self.name

    @property
    def packed(self) -> bool:
        """Whether the file is compressed."""
        return self.name.endswith(PACKED)


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """A corrupt place in the log. ``line`` counts from 1; ``position`` to ``last_position`` are missing."""

    path: str
    line: int
    position: int | None
    what: str
    last_position: int | None = None

    def error(self) -> LogCorrupt:
        """Return the error to raise if these records are needed."""
        where = f"position {self.position}" if self.position is not None else "unknown position"
        return LogCorrupt(
            f"The event log is corrupt: {self.path}, line {self.line} ({where}): {self.what}. "
            "These records cannot be used; all other records can.",
            path=self.path,
            line=self.line,
            position=self.position,
        )


class IndexMismatch(LogCorrupt):
    """The log is correct, but a record is not where the index says."""


def damages(segment: Segment, items: Iterable[Line | DamagedRange]) -> Iterator[Damage]:
    """Yield the damage among ``items`` of ``segment``."""
    for item in items:
        if isinstance(item, DamagedRange):
            yield damage_of(segment, item)


def damage_of(segment: Segment, lines: DamagedRange) -> Damage:
    """Describe a range of corrupt lines of ``segment``."""
    return Damage(
        path=str(segment.path),
        line=lines.line,
        position=lines.first_position,
        last_position=lines.last_position,
        what=lines.what,
    )
