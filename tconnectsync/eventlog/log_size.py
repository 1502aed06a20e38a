"""How much disk the log takes."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from tconnectsync.eventlog.segments import Segments


class LogSize(msgspec.Struct, frozen=True, kw_only=True):
    """``bytes`` on disk without the index, number of ``segments``, last position; ``packed_…``: compressed segments only."""

    bytes: int
    segments: int
    positions: int
    packed_bytes: int = 0
    packed_positions: int = 0

    @classmethod
    def of(cls, files: Segments, end: int) -> LogSize:
        """Return the size of a log with this last position."""
        segments = files.all()
        sizes = files.sizes(segments)
        followed = zip(sizes, pairwise(segments), strict=False)
        packed = [(size, after.first - segment.first) for size, (segment, after) in followed if segment.packed]
        return cls(
            bytes=sum(sizes),
            segments=len(segments),
            positions=end,
            packed_bytes=sum(size for size, _ in packed),
            packed_positions=sum(positions for _, positions in packed),
        )
