"""Convert one 26-byte record to the entry of the JSON API."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any, NamedTuple

import attrs

from tconnectsync_tandem.files.binary.layouts import LAYOUTS

SIZE = 26
HEADER_BYTES = 10
EPOCH = datetime(2008, 1, 1)
"""The start of the pump's count of seconds, on its own wall clock."""

_HEADER = struct.Struct(">HII")
_PAYLOAD_BYTES = SIZE - HEADER_BYTES
_ID_BITS = 12
_SOURCES = (0, 1)
_HIGHEST_ID = 1023
"""No code above 566 was ever published."""
_HIGHEST_SEQ = 99_999_999
"""A pump writes a few hundred records a day."""
_SMALL = 2.0**53
_SINGLE = struct.Struct(">f")
_NUMBERS = {"u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "f32": "f"}
_NUMBERS.update({"bits8": "B", "bits16": "H", "bits32": "I"})
_REST = "rest"


class RecordHeader(NamedTuple):
    """The first ten bytes. ``seconds`` count from 2008 on the pump's own clock."""

    code: int
    seconds: int
    seq: int


def header_error(content: bytes, latest_s: int, at: int = 0) -> str | None:
    """Return why the record at ``at`` is invalid; ``latest_s`` is the latest time that it can have."""
    first, seconds, seq = _HEADER.unpack_from(content, at)
    if first >> _ID_BITS not in _SOURCES or first & 0xFFF > _HIGHEST_ID:
        return f"no pump record begins with {first:04x}"
    if not 0 < seconds <= latest_s:
        return f"a record of {EPOCH + timedelta(seconds=seconds):%Y-%m-%d %H:%M}"
    return f"a record with the number {seq:,}" if seq > _HIGHEST_SEQ else None


def header_of(content: bytes, at: int = 0) -> RecordHeader:
    """Read the header at ``at``. Its first four bits (the sender) are ignored."""
    first, seconds, seq = _HEADER.unpack_from(content, at)
    return RecordHeader(first & 0xFFF, seconds, seq)


def entry_of(record: bytes) -> dict[str, Any]:
    """Return the entry of a record.

    Bytes that belong to no property are added as ``payload`` in hexadecimal; a record without a layout has no
    properties.
    """
    header = header_of(record)
    properties: dict[str, Any] | None = None
    payload = record[HEADER_BYTES:]
    whole = False
    layout = _layout(header.code)
    if layout is not None:
        properties, whole = layout.read(payload)
    entry: dict[str, Any] = {
        "eventCode": header.code,
        "sequenceGroup": 0,
        "sequenceNumber": header.seq,
        "pumpDateTime": (EPOCH + timedelta(seconds=header.seconds)).isoformat(),
        "eventProperties": properties,
    }
    if not whole:
        entry["payload"] = payload.hex()
    return entry


def is_partial(entry: Mapping[str, Any]) -> bool:
    """Whether the JSON API may have more data about this record than :func:`entry_of`."""
    return "payload" in entry


@attrs.frozen(eq=False)
class _Layout:
    """A line of the table, prepared: one ``unpack`` and the converters of its values, in the JSON's order."""

    unpack: Callable[[bytes], tuple[Any, ...]]
    makers: tuple[tuple[str, int, Callable[[Any], Any] | None], ...]
    """Property, its index in the unpacked values, and its converter."""
    unplaced: tuple[str, ...]
    open_bits: int
    """A mask of the bits that belong to no property."""

    def read(self, payload: bytes) -> tuple[dict[str, Any], bool]:
        """Return the properties, and whether they include all bytes that are not 0."""
        numbers = self.unpack(payload)
        found = {name: numbers[place] if make is None else make(numbers[place]) for name, place, make in self.makers}
        whole = not int.from_bytes(payload, "big") & self.open_bits
        if whole and self.unplaced:
            found.update(dict.fromkeys(self.unplaced, 0))
        return found, whole


@cache
def _layout(code: int) -> _Layout | None:
    line = LAYOUTS.get(code)
    if line is None:
        return None
    fields = [field.split() for field in line.split(",")] if line else []
    placed = sorted((int(field[2]), field[1], field[0]) for field in fields if field[1] != _REST)
    still_open = bytearray(b"\xff" * _PAYLOAD_BYTES)
    pattern, end = ">", 0
    for offset, kind, name in placed:
        size = struct.calcsize(_NUMBERS[kind])
        if offset < end:
            raise ValueError(f"record {code}: {name} overlaps the one before")
        pattern += "x" * (offset - end) + _NUMBERS[kind]
        end = offset + size
        still_open[offset:end] = bytes(size)
    places = {name: place for place, (_, _, name) in enumerate(placed)}
    return _Layout(
        unpack=struct.Struct(pattern + "x" * (_PAYLOAD_BYTES - end)).unpack,
        makers=tuple((field[0], places[field[0]], _maker(field[1])) for field in fields if field[1] != _REST),
        unplaced=tuple(field[0] for field in fields if field[1] == _REST),
        open_bits=int.from_bytes(still_open, "big"),
    )


def _maker(kind: str) -> Callable[[Any], Any] | None:
    if kind == "f32":
        return short
    return _set_bits if kind.startswith("bits") else None


@lru_cache(maxsize=4096)
def short(single: float) -> float | int | str:
    """Format a 32-bit float as the JSON API does: the shortest digits, and no fraction for a whole number.

    NaN and infinity become text, because JSON has no such numbers.
    """
    if not abs(single) < float("inf"):
        return str(single)
    number = single
    stored = _SINGLE.pack(single)
    for digits in range(6, 10):
        number = float(f"{single:.{digits}g}")
        if _SINGLE.pack(number) == stored:
            break
    return int(number) if number.is_integer() and abs(number) < _SMALL else number


def _set_bits(mask: int) -> list[int]:
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
