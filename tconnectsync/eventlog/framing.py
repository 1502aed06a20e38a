"""Writes and checks lines of the log, and walks over a segment, corrupt lines included.

A line is ``{"crc":"<8 hex digits>","rec":<record>}`` and a newline. The checksum is the CRC-32 of the record's bytes, started
with the checksum of the previous line. It is compared as text, so every changed bit of a line is detected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias
from zlib import crc32

import msgspec

FORMAT = 1
"""The format version in a segment's header. Every released version stays readable."""

START_CHAIN = 0
"""The checksum that the first line of the log continues."""

RECORD_OFFSET = 24
"""Byte offset of the record in its line."""

_FRAME = re.compile(rb'\{"crc":"([0-9a-f]{8})","rec":')
_POSITION = re.compile(rb'\{"pos":(\d{1,18}),')
_BEGIN = b'{"crc":"%08x","rec":{"pos":%d,'
_MAX_CHAINS = 64


class SegmentHeader(msgspec.Struct, kw_only=True, frozen=True):
    """A segment's first record: format version, first position, the log's id, the last checksum of the previous segment."""

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


class Line(msgspec.Struct, frozen=True, gc=False):
    """A correct line. ``offset`` is its start in the text that was read, in bytes."""

    position: int
    offset: int
    record: bytes
    crc: int

    @property
    def end(self) -> int:
        """Where the next line begins."""
        return self.offset + RECORD_OFFSET + len(self.record) + 2


class DamagedRange(msgspec.Struct, frozen=True, kw_only=True):
    """Corrupt lines next to each other: ``text[offset:end]``, starting at line number ``line`` (from 1).

    Positions ``first_position`` to ``last_position`` are missing. If only a header is corrupt, there are none; at the end of
    the text ``last_position`` is None. The next correct line continues the checksum ``next_chain``. ``what`` describes the
    problem.
    """

    line: int
    lines: int = 0
    offset: int
    end: int
    first_position: int
    last_position: int | None = None
    next_chain: int | None = None
    what: str


Item: TypeAlias = Line | DamagedRange


def frame(record: bytes, chain: int) -> tuple[bytes, int]:
    """Return the line for ``record`` after a line with checksum ``chain``, and its own checksum."""
    crc = crc32(record, chain)
    return b'{"crc":"%08x","rec":' % crc + record + b"}\n", crc  # formatting the record too takes twice as long


def line_at(text: bytes, offset: int, position: int, chain: int) -> Line | None:
    """Return the line at ``offset`` if it is correct, has this position, and follows a line with checksum ``chain``; else None."""
    end = text.find(b"\n", offset)
    record = text[offset + RECORD_OFFSET : end - 1]
    crc = crc32(record, chain)
    if text.startswith(_BEGIN % (crc, position), offset) and text.startswith(b"}\n", end - 1):
        return Line(position, offset, record, crc)
    return None


def is_intact(line: bytes, chain: int) -> bool:
    """Whether ``line`` (with its newline) is correct after a line with checksum ``chain``."""
    return frame(line[RECORD_OFFSET:-2], chain)[0] == line


def stored_crc(text: bytes, start: int = 0) -> int | None:
    """Return the checksum that the line at ``start`` contains; None if it has none."""
    match = _FRAME.match(text, start)
    return int(match[1], 16) if match else None


def header_line(first: int, log_id: str, chain: int) -> tuple[bytes, int]:
    """Return the first line of the segment that starts at position ``first``, and its checksum."""
    header = SegmentHeader(format=FORMAT, first=first, log=log_id, chain=f"{chain:08x}")
    return frame(msgspec.json.encode(header), chain)


def read_header(text: bytes, first: int) -> tuple[SegmentHeader, int, int] | None:
    """Return the header of a segment's text, the offset where its line ends, and its checksum; None if it is corrupt."""
    end = text.find(b"\n") + 1
    header = parse_header(text[RECORD_OFFSET : end - 2])
    if header is None:
        return None
    chain = int(header.chain, 16)
    if header.first != first or not 0 <= chain < 1 << 32 or not is_intact(text[:end], chain):
        return None
    return header, end, crc32(text[RECORD_OFFSET : end - 2], chain)


def parse_header(record: bytes) -> SegmentHeader | None:
    """Return the header that a segment's first record contains, without checking it; None if it is no header."""
    try:
        header = msgspec.json.decode(record, type=SegmentHeader)
        int(header.chain, 16)
    except (msgspec.MsgspecError, ValueError):
        return None
    return header


def position_after(position: int, record: bytes) -> int:
    """Return the position of the line after ``record``: a gap record covers several positions."""
    if b'"kind":"log.gap"' in record:  # a vendor's record may contain this text too
        try:
            found = _read_gap(record)
        except msgspec.MsgspecError:
            return position + 1
        if found.kind == "log.gap":
            return max(position, found.body.last_position) + 1
    return position + 1


def walk(text: bytes, first: int) -> Iterator[Item]:
    """Yield every correct line of a segment and every range of corrupt lines, in order."""
    header = read_header(text, first)
    offset, crc = (header[1], header[2]) if header else (0, 0)
    expected, number, last = first, 2 if header else 1, b""
    damage = None if header else _OpenRange(1, 0, "the header is corrupt")
    size = len(text)
    while offset < size:
        correct = line_at(text, offset, expected, crc) if damage is None else None
        if correct is not None:  # almost every line
            yield correct
            crc, last = correct.crc, correct.record
            offset += RECORD_OFFSET + len(last) + 2
            expected, number = expected + 1, number + 1
            continue
        end = text.find(b"\n", offset) + 1 or size
        line = text[offset:end]
        if damage is None:
            record = line[RECORD_OFFSET:-2]
            framed, found = frame(record, crc)
            if framed == line:
                if not record.startswith(b'{"pos":%d,' % expected):
                    position = position_of(record)
                    if position > expected:
                        if position != position_after(expected - 1, last):
                            yield DamagedRange(
                                line=number,
                                offset=offset,
                                end=offset,
                                first_position=expected,
                                last_position=position - 1,
                                next_chain=crc,
                                what="lines are missing here",
                            )
                        expected = position
                    else:
                        damage = _OpenRange(number, offset, "the position is not the next one")
                if damage is None:
                    crc, last = found, record
                    yield Line(expected, offset, record, crc)
                    expected += 1
            else:
                damage = _OpenRange(number, offset, _problem_of(line))
                damage.chains += [crc, found]  # a line was inserted, or only the text of the checksum is corrupt
        else:
            match = damage.resumes(line, expected)
            if match is not None:
                position, chain, crc = match
                yield damage.close(offset, expected, position - 1, chain)
                damage, last = None, line[RECORD_OFFSET:-2]
                yield Line(position, offset, last, crc)
                expected = position + 1
        if damage is not None:
            damage.extend(line)
        offset, number = end, number + 1
    if damage is not None:
        yield damage.close(size, expected, None, None)


class _OpenRange:
    """A range of corrupt lines whose end is not known yet."""

    def __init__(self, line: int, offset: int, what: str) -> None:
        self.line, self.offset, self.what = line, offset, what
        self.lines = 0
        self.chains: list[int] = []

    def extend(self, line: bytes) -> None:
        """Add ``line``, and remember the checksums that a later correct line may continue."""
        self.lines += 1
        if len(self.chains) < _MAX_CHAINS:
            self.chains += [int(crc, 16) for crc in _FRAME.findall(line)]
            if self.offset == 0 and self.lines == 1:
                self.chains += _header_crc(line)
        elif crcs := _FRAME.findall(line):
            self.chains[-1] = int(crcs[-1], 16)

    def resumes(self, line: bytes, expected: int) -> tuple[int, int, int] | None:
        """Return position, chain and checksum of ``line`` if it is correct after one of the remembered checksums."""
        record = line[RECORD_OFFSET:-2]
        for chain in self.chains:
            framed, crc = frame(record, chain)
            if framed == line and (position := position_of(record)) >= expected:
                return position, chain, crc
        return None

    def close(self, end: int, expected: int, last_position: int | None, chain: int | None) -> DamagedRange:
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


def position_of(record: bytes) -> int:
    """Return the position that a record contains; -1 if it has none."""
    match = _POSITION.match(record)
    return int(match[1]) if match else -1


def _header_crc(line: bytes) -> list[int]:
    """Return the checksum that a corrupt header line should have, if its record can still be read."""
    try:
        header = msgspec.json.decode(line[RECORD_OFFSET:-2], type=SegmentHeader)
        return [crc32(line[RECORD_OFFSET:-2], int(header.chain, 16) & 0xFFFFFFFF)]
    except (msgspec.MsgspecError, ValueError):
        return []


def _problem_of(line: bytes) -> str:
    if not line.endswith(b"\n"):
        return "the line ends in the middle"
    if stored_crc(line) is None or not line.endswith(b"}\n"):
        return "this is not a line of an event log"
    return "the checksum does not match"
