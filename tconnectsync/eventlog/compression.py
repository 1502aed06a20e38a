"""A sealed segment as a gzip file that ``zcat`` reads and in which no bit can change unnoticed.

gzip alone leaves bits that nobody compares (a date, the name of a system, the padding behind the last symbol). So the header
is always the same, and an extra field (``TC``) holds the CRC-32 of everything behind it. Files that somebody compressed with
another tool have no such field and are fine when what they hold is.
"""

from __future__ import annotations

import zlib

_HEAD = b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\x08\0TC\x04\0"
_HEADER_SIZE, _FLAGS_AT, _HAS_EXTRA = 10, 3, 4
_FIRST_STEP = 4096


class Harmed(Exception):
    """A segment's file that is not what was written. ``text`` is what can still be read; ``what`` says what is wrong."""

    def __init__(self, text: bytes, what: str) -> None:
        super().__init__(what)
        self.text = text
        self.what = what


def pack(text: bytes) -> bytes:
    """``text`` compressed."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    rest = (packer.compress(text) + packer.flush())[_HEADER_SIZE:]
    return _HEAD + zlib.crc32(rest).to_bytes(4, "big") + rest


def unpack(data: bytes) -> bytes:
    """The text of a compressed segment. Errors: Harmed, with everything before the harm."""
    text, whole = _inflated(data, _FIRST_STEP)
    if not whole:  # bit by bit, so that nothing before the harm is lost
        raise Harmed(_inflated(data, 1)[0], "the compressed file is harmed from here on")
    if data[_FLAGS_AT] & _HAS_EXTRA:
        rest = len(_HEAD) + 4
        if data[: len(_HEAD)] != _HEAD or zlib.crc32(data[rest:]) != int.from_bytes(data[len(_HEAD) : rest], "big"):
            raise Harmed(text, "the compressed file is not what was written, though all its lines can be read")
    return text


def unpack_head(data: bytes, size: int) -> bytes:
    """The first ``size`` bytes of the text, from the beginning of a compressed segment; fewer where it is harmed."""
    try:
        return zlib.decompressobj(31).decompress(data, size)
    except zlib.error:
        return b""


def _inflated(data: bytes, step: int) -> tuple[bytes, bool]:
    """What can be decompressed, and whether that is all."""
    unpacker = zlib.decompressobj(31)
    parts = []
    try:
        for start in range(0, len(data), step):
            parts.append(unpacker.decompress(data[start : start + step]))  # noqa: PERF401 - parts outlive the error
    except zlib.error:
        return b"".join(parts), False
    return b"".join(parts), unpacker.eof and not unpacker.unused_data
