"""Compresses a sealed segment to a gzip file that ``zcat`` can read and in which every changed bit is detected.

gzip does not verify some bits: the date, the name of the system, the padding after the last symbol. Therefore the header is
constant, and an extra field (``TC``) has the CRC-32 of all bytes after it. A file that another tool compressed has no such
field; it is accepted if its lines are correct.
"""

from __future__ import annotations

import zlib

_HEAD = b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\x08\0TC\x04\0"
_HEADER_SIZE, _FLAGS_AT, _HAS_EXTRA = 10, 3, 4
_FIRST_STEP = 4096


class SegmentCorrupt(Exception):
    """A segment's file is corrupt. ``text`` is the readable part; ``what`` describes the problem."""

    def __init__(self, text: bytes, what: str) -> None:
        super().__init__(what)
        self.text = text
        self.what = what


def pack(text: bytes) -> bytes:
    """Return ``text`` compressed."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    rest = (packer.compress(text) + packer.flush())[_HEADER_SIZE:]
    return _HEAD + zlib.crc32(rest).to_bytes(4, "big") + rest


def unpack(data: bytes) -> bytes:
    """Return the text of a compressed segment. Errors: SegmentCorrupt, with all text before the corrupt byte."""
    text, complete = _decompress(data, _FIRST_STEP)
    if not complete:  # again byte by byte, to get all text before the corrupt byte
        raise SegmentCorrupt(_decompress(data, 1)[0], "the compressed file is corrupt from here on")
    if data[_FLAGS_AT] & _HAS_EXTRA:
        rest = len(_HEAD) + 4
        if data[: len(_HEAD)] != _HEAD or zlib.crc32(data[rest:]) != int.from_bytes(data[len(_HEAD) : rest], "big"):
            raise SegmentCorrupt(text, "the compressed file was changed, but all its lines can be read")
    return text


def unpack_head(data: bytes, size: int) -> bytes:
    """Return the first ``size`` bytes of the text from the start of a compressed segment; empty if it is corrupt."""
    try:
        return zlib.decompressobj(31).decompress(data, size)
    except zlib.error:
        return b""


def _decompress(data: bytes, step: int) -> tuple[bytes, bool]:
    """Return the text that can be decompressed, and whether it is complete."""
    unpacker = zlib.decompressobj(31)
    parts = []
    try:
        for start in range(0, len(data), step):
            parts.append(unpacker.decompress(data[start : start + step]))  # noqa: PERF401 - parts outlive the error
    except zlib.error:
        return b"".join(parts), False
    return b"".join(parts), unpacker.eof and not unpacker.unused_data
