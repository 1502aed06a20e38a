"""Scales of charts, the hours of the time axis, and rows of labels that do not overlap."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta

import attrs

from tconnectsync import Zones

HOUR = timedelta(hours=1)
LETTER_PX = 6.7
"""About the width of a letter of the labels."""


@attrs.frozen(kw_only=True)
class TimeScale:
    """Where a time lies between ``left`` and ``right``."""

    begin: datetime
    end: datetime
    left: float
    right: float

    def x(self, at: datetime) -> float:
        """The place of a time; times outside are at the edge."""
        share = (at - self.begin) / (self.end - self.begin)
        return self.left + min(1.0, max(0.0, share)) * (self.right - self.left)


@attrs.frozen(kw_only=True)
class ValueScale:
    """Where a value lies between ``bottom`` (``least``) and ``top`` (``most``)."""

    least: float
    most: float
    top: float
    bottom: float

    def y(self, value: float) -> float:
        """The place of a value; values outside are at the edge."""
        share = (value - self.least) / (self.most - self.least)
        return self.bottom - min(1.0, max(0.0, share)) * (self.bottom - self.top)


def hour_ticks(begin: datetime, end: datetime, zones: Zones, every_h: int) -> Iterator[tuple[datetime, datetime]]:
    """Yield (UTC, local time) of the full local hours that are multiples of ``every_h``.

    On the day on which the clock is set back an hour comes twice, and on the other day one is missing.
    """
    wall = zones.wall_of(begin)
    past = timedelta(minutes=wall.minute, seconds=wall.second, microseconds=wall.microsecond)
    at = begin if not past else begin - past + HOUR
    while at <= end:
        local = zones.wall_of(at)
        if local.hour % every_h == 0 and local.minute == 0:
            yield at, local
        at += HOUR


def label_width(words: str) -> float:
    """About the width of a label in the charts' units."""
    return len(words) * LETTER_PX


@attrs.frozen(kw_only=True)
class Placed:
    """A label's left edge, its width, and its row from 0."""

    left: float
    width: float
    row: int


def place(boxes: Iterable[tuple[float, float]], least: float, most: float, gap: float = 4.0) -> Sequence[Placed]:
    """Return a row for each box (left edge, width) so that none overlaps; boxes are shifted to lie in the chart."""
    ends: list[float] = []
    found = []
    for wanted, width in boxes:
        left = max(least, min(wanted, most - width))
        row = next((number for number, end in enumerate(ends) if end + gap <= left), len(ends))
        if row == len(ends):
            ends.append(0.0)
        ends[row] = left + width
        found.append(Placed(left=left, width=width, row=row))
    return found


def rows(placed: Sequence[Placed]) -> int:
    """The number of rows."""
    return max((each.row for each in placed), default=-1) + 1
