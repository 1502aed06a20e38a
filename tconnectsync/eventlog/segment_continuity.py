"""Checks that each segment continues the previous one, and describes what is missing between them."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog.framing import (
    FORMAT,
    START_CHAIN,
    DamagedRange,
    Line,
    SegmentHeader,
    position_after,
    read_header,
)

FOREIGN = "this file belongs to another log"
NEWER = "this file was written by a newer release of tconnectsync"


def all_damaged(text: bytes, first: int, what: str) -> DamagedRange:
    """Return the whole segment as damage."""
    return DamagedRange(
        line=1,
        lines=text.count(b"\n") + (not text.endswith(b"\n") and bool(text)),
        offset=0,
        end=len(text),
        first_position=first,
        what=what,
    )


def missing_start(first: int, chain: int | None) -> DamagedRange:
    """Return the damage of a log whose first segments are missing."""
    return DamagedRange(
        line=1,
        offset=0,
        end=0,
        first_position=1,
        last_position=first - 1,
        next_chain=chain,
        what="the segments before this one are missing",
    )


def damaged_end(text: bytes, first: int, last: Line | None, what: str) -> DamagedRange:
    """Return the damage after the last readable line of a segment."""
    return DamagedRange(
        line=text.count(b"\n") + 1,
        offset=len(text),
        end=len(text),
        first_position=first if last is None else position_after(last.position, last.record),
        what=what,
    )


def ending_at_next(damage: DamagedRange, next_first: int, next_chain: int | None) -> DamagedRange:
    """Return ``damage`` at the end of a segment, limited by the first position of the next one."""
    return msgspec.structs.replace(damage, last_position=next_first - 1, next_chain=next_chain)


def damage_between(
    text: bytes, first: int, last: Line | None, next_first: int, next_chain: int | None
) -> DamagedRange | None:
    """Return the damage between a segment's last line and the next segment; None if the next one continues it."""
    if last is not None:
        expected, crc = position_after(last.position, last.record), last.crc
    else:
        header = read_header(text, first)
        expected, crc = first, header[2] if header else START_CHAIN
    if expected < next_first:
        what = "lines are missing at the end"
    elif expected > next_first or (next_chain is not None and crc != next_chain):
        what = "the next segment does not follow this one"
    else:
        return None
    return ending_at_next(damaged_end(text, first, last, what), next_first, next_chain)


def foreign_reason(header: SegmentHeader, log_id: str) -> str | None:
    """Return why a segment with this header is no readable part of the log ``log_id`` (empty: of any log), else None."""
    if header.format > FORMAT:
        return NEWER
    return FOREIGN if log_id and header.log != log_id else None


def newer_release_error(path: Path) -> LogCorrupt:
    """Return the error for a log that a newer release wrote."""
    return LogCorrupt(
        f"{path} was written by a newer release of tconnectsync. This release does not know its format.",
        path=str(path),
        line=1,
        remedy="Install the newer release again (in its source's folder: `pip install .`).",
    )
