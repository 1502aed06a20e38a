"""Which lines of a segment are read from the disk at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

MARGIN = 16 << 10
"""Bytes that are read before and after the wanted lines: longer than almost every line."""
_LONGEST = 80 << 10
"""Bytes between the first and the last line of a piece. With the margins it is no block that is mapped apart (:mod:`tconnectsync.runtime.memory_limit`)."""


def pieces(locations: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Split sorted locations (position, offset) of one segment: lines that are far apart are read without what is between them."""
    piece: list[tuple[int, int]] = []
    for location in locations:
        if piece and (location[1] - piece[-1][1] > 2 * MARGIN or location[1] - piece[0][1] > _LONGEST):
            yield piece
            piece = []
        piece.append(location)
    yield piece
