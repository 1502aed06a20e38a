"""One line of the log and the chain of checksums through the lines: writing, checking, and walking over damage.

A line is ``{"crc":"<8 hex digits>","rec":<record>}`` and a newline. The checksum is the CRC-32 of the record's bytes, started
with the checksum of the line before, and is compared as text: no bit of a line can change unnoticed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple, TypeAlias
from zlib import crc32

import attrs
import msgspec

FORMAT = 1
"""The version in a segment's header. Every version ever written stays readable."""

START_CHAIN = 0
"""What the first line of the first segment is chained to."""

RECORD_AT = 24
"""Where the record starts in a line."""

_FRAME = re.compile(rb'\{"crc":"([0-9a-f]{8})","rec":')
_POSITION = re.compile(rb'\{"pos":(\d{1,18}),')
_MOST_CHAINS = 64


class SegmentHeader(msgspec.Struct, kw_only=True, frozen=True):
    """A segment's first record: format version, first position, the log's id, the last checksum of the segment before."""

    format: int
    first: int
    log: str
    chain: str


class _GapBody(msgspec.Struct):
    last_position: int


class _Gap(msgspec.Struct):
    kind: str
    body: _GapBody


_read_gap = msgspec.json.Decoder(_Gap).decode


class Line(NamedTuple):
    """A line that is what was written. ``offset`` is where it starts in the segment's text."""

    position: int
    offset: int
    record: bytes
    crc: int


@attrs.frozen(kw_only=True)
class DamagedRange:
    """Neighbouring lines that are not what was written: ``text[offset:end]``, from ``line`` (from 1) on.

    ``first_position`` to ``last_position`` are missing (none, where only a header is harmed; ``last_position`` is None at
    the end of the text). ``next_chain`` is what the next good line is chained to. ``what`` says what is wrong.
    """

    line: int
    lines: int
    offset: int
    end: int
    first_position: int
    last_position: int | None
    next_chain: int | None
    what: str


Item: TypeAlias = Line | DamagedRange


def frame(record: bytes, chain: int) -> tuple[bytes, int]:
    """The line that holds ``record`` after a line with checksum ``chain``, and its own checksum."""
    crc = crc32(record, chain)
    return b'{"crc":"%08x","rec":%b}\n' % (crc, record), crc


def holds(line: bytes, chain: int) -> bool:
    """Whether ``line``, its newline included, is what was written after a line with checksum ``chain``."""
    return frame(line[RECORD_AT:-2], chain)[0] == line


def written_crc(line: bytes) -> int | None:
    """The checksum as it stands in ``line``; None where there is none."""
    match = _FRAME.match(line)
    return int(match[1], 16) if match else None


def header_line(first: int, log_id: str, chain: int) -> tuple[bytes, int]:
    """The first line of the segment that starts at position ``first``, and its checksum."""
    header = SegmentHeader(format=FORMAT, first=first, log=log_id, chain=f"{chain:08x}")
    return frame(msgspec.json.encode(header), chain)


def read_header(text: bytes, first: int) -> tuple[SegmentHeader, int, int] | None:
    """The header of a segment's text, where its line ends, and its checksum; None when it is not what was written."""
    end = text.find(b"\n") + 1
    try:
        header = msgspec.json.decode(text[RECORD_AT : end - 2], type=SegmentHeader)
        chain = int(header.chain, 16)
    except (msgspec.MsgspecError, ValueError):
        return None
    if header.first != first or not 0 <= chain < 1 << 32 or not holds(text[:end], chain):
        return None
    return header, end, crc32(text[RECORD_AT : end - 2], chain)


def position_after(position: int, record: bytes) -> int:
    """The position that follows ``record``: the next one, or the one behind the gap that it tells of."""
    if b'"kind":"log.gap"' in record:  # also where a vendor's record says so
        try:
            found = _read_gap(record)
        except msgspec.MsgspecError:
            return position + 1
        if found.kind == "log.gap":
            return max(position, found.body.last_position) + 1
    return position + 1


def walk(text: bytes, first: int) -> Iterator[Item]:
    """Every record of a segment in order, and every run of damage between them. Reads all of it, checks all of it."""
    header = read_header(text, first)
    offset, crc = (header[1], header[2]) if header else (0, 0)
    expected, number, last = first, 2 if header else 1, b""
    run = None if header else _Damage(1, 0, "the header is not what was written")
    size = len(text)
    while offset < size:
        end = text.find(b"\n", offset) + 1 or size
        line = text[offset:end]
        if run is None:
            record = line[RECORD_AT:-2]
            framed, found = frame(record, crc)
            if framed == line:
                if not record.startswith(b'{"pos":%d,' % expected):
                    position = _position(record)
                    if position > expected:
                        if position != position_after(expected - 1, last):
                            yield DamagedRange(
                                line=number,
                                lines=0,
                                offset=offset,
                                end=offset,
                                first_position=expected,
                                last_position=position - 1,
                                next_chain=crc,
                                what="lines are missing here",
                            )
                        expected = position
                    else:
                        run = _Damage(number, offset, "the position is not the next one")
                if run is None:
                    crc, last = found, record
                    yield Line(expected, offset, record, crc)
                    expected += 1
            else:
                run = _Damage(number, offset, _what(line))
                run.chains += [crc, found]  # something was put in between, or only the text of the checksum is harmed
        else:
            match = run.resumes(line, expected)
            if match is not None:
                position, chain, crc = match
                yield run.closed(offset, expected, position - 1, chain)
                run, last = None, line[RECORD_AT:-2]
                yield Line(position, offset, last, crc)
                expected = position + 1
        if run is not None:
            run.extend(line)
        offset, number = end, number + 1
    if run is not None:
        yield run.closed(size, expected, None, None)


class _Damage:
    """A run of damage while its end is being looked for."""

    def __init__(self, line: int, offset: int, what: str) -> None:
        self.line, self.offset, self.what = line, offset, what
        self.lines = 0
        self.chains: list[int] = []

    def extend(self, line: bytes) -> None:
        """Count ``line`` in, and remember what a later line may be chained to."""
        self.lines += 1
        if len(self.chains) < _MOST_CHAINS:
            self.chains += [int(crc, 16) for crc in _FRAME.findall(line)]
            if self.offset == 0 and self.lines == 1:
                self.chains += _header_crc(line)
        elif crcs := _FRAME.findall(line):
            self.chains[-1] = int(crcs[-1], 16)

    def resumes(self, line: bytes, expected: int) -> tuple[int, int, int] | None:
        """Position, chain and checksum of ``line`` if it holds after one of the chains seen in the damage."""
        record = line[RECORD_AT:-2]
        for chain in self.chains:
            framed, crc = frame(record, chain)
            if framed == line and (position := _position(record)) >= expected:
                return position, chain, crc
        return None

    def closed(self, end: int, expected: int, last_position: int | None, chain: int | None) -> DamagedRange:
        return DamagedRange(
            line=self.line,
            lines=self.lines,
            offset=self.offset,
            end=end,
            first_position=expected,
            last_position=last_position,
            next_chain=chain,
            what=self.what,
        )


def _position(record: bytes) -> int:
    match = _POSITION.match(record)
    return int(match[1]) if match else -1


def _header_crc(line: bytes) -> list[int]:
    """The checksum that a harmed header line should have, where its record can still be read."""
    try:
        header = msgspec.json.decode(line[RECORD_AT:-2], type=SegmentHeader)
        return [crc32(line[RECORD_AT:-2], int(header.chain, 16) & 0xFFFFFFFF)]
    except (msgspec.MsgspecError, ValueError):
        return []


def _what(line: bytes) -> str:
    if not line.endswith(b"\n"):
        return "the line ends in the middle"
    if written_crc(line) is None or not line.endswith(b"}\n"):
        return "this is not a line of a log"
    return "the checksum does not match"
