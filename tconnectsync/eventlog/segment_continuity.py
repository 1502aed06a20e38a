"""How the segments of a log follow each other: what is wrong between one and the next, as a run of damage like any other."""

from __future__ import annotations

import attrs

from tconnectsync.eventlog.framing import START_CHAIN, DamagedRange, Line, SegmentHeader, position_after, read_header

FOREIGN = "this file belongs to another log"
NEWER = "this file was written by a newer release of tconnectsync"


def whole(text: bytes, first: int, what: str) -> DamagedRange:
    """All of a segment as damage."""
    return DamagedRange(
        line=1,
        lines=text.count(b"\n") + (not text.endswith(b"\n") and bool(text)),
        offset=0,
        end=len(text),
        first_position=first,
        last_position=None,
        next_chain=None,
        what=what,
    )


def missing_before(first: int, chain: int | None) -> DamagedRange:
    """The log does not begin with its first segment."""
    return DamagedRange(
        line=1,
        lines=0,
        offset=0,
        end=0,
        first_position=1,
        last_position=first - 1,
        next_chain=chain,
        what="the segments before this one are missing",
    )


def cut_short(text: bytes, first: int, last: Line | None, what: str) -> DamagedRange:
    """A file whose harm begins behind all that can be read of it."""
    return DamagedRange(
        line=text.count(b"\n") + 1,
        lines=0,
        offset=len(text),
        end=len(text),
        first_position=first if last is None else position_after(last.position, last.record),
        last_position=None,
        next_chain=None,
        what=what,
    )


def bounded(run: DamagedRange, next_first: int, next_chain: int | None) -> DamagedRange:
    """A run that reaches to the end of a segment, with what the next segment says of it."""
    return attrs.evolve(run, last_position=next_first - 1, next_chain=next_chain)


def between(text: bytes, first: int, last: Line | None, next_first: int, next_chain: int | None) -> DamagedRange | None:
    """What is wrong behind the last line of a segment; None when the next one follows it."""
    if last is not None:
        expected, crc = position_after(last.position, last.record), last.crc
    else:
        header = read_header(text, first)
        expected, crc = first, header[2] if header else START_CHAIN
    what = None
    if expected < next_first:
        what = "lines are missing at the end"
    elif expected > next_first or (next_chain is not None and crc != next_chain):
        what = "the next segment does not follow this one"
    if what is None:
        return None
    end = cut_short(text, first, last, what)
    return bounded(end, next_first, next_chain)


def stranger(header: SegmentHeader, log_id: str, format_known: int) -> str | None:
    """Why a segment with this header cannot be read as a part of the log ``log_id`` (empty: of any)."""
    if header.format > format_known:
        return NEWER
    return FOREIGN if log_id and header.log != log_id else None
