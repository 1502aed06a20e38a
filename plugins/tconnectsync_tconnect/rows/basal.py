"""Merge the basal of two services: the timeline's rows, and the CSV export's for times between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import attrs

from tconnectsync_tconnect.rows import timeline
from tconnectsync_tconnect.rows.csv_rows import basal_start
from tconnectsync_tconnect.rows.csv_tables import BASAL, CsvRow
from tconnectsync_tconnect.rows.decoder import CSV_BASAL, READERS
from tconnectsync_tconnect.rows.provenance import ProvenancedRow, with_row
from tconnectsync_tconnect.rows.signs_of_life import SignsOfLife
from tconnectsync_tconnect.rows.timeline import BasalTimelineRow, Suspension

_SHORTEST_S = 60
"""A shorter gap between two rows of the timeline is a rounding error."""


_NEVER = datetime(9999, 1, 1)


@attrs.frozen(kw_only=True)
class CsvBasal:
    """A row of the Basal table: the rate from ``at`` on; not ``known`` if the row has no rate."""

    at: datetime
    cells: Mapping[str, Any]
    known: bool = True

    @classmethod
    def of(cls, cells: Mapping[str, Any]) -> CsvBasal:
        """Raises BadRow."""
        start = basal_start(CsvRow(table=BASAL, line=0, cells=cells))
        return cls(at=start.at, cells=cells)


@attrs.frozen(kw_only=True)
class OpenRow:
    """The last row of the Basal table: its length is not known yet."""

    start: CsvBasal


def with_segment(segment: BasalTimelineRow, suspended: str | None) -> ProvenancedRow:
    """Return a row of the timeline as a fact, with the reason of the suspension that begins with it."""
    around = {} if suspended is None else {"suspended": suspended}
    (one,) = with_row(timeline.BASAL, segment.row, READERS[timeline.BASAL](segment.row, around), **around)
    return one


def without_covered(
    rows: Sequence[CsvBasal],
    segments: Sequence[BasalTimelineRow],
    suspensions: Sequence[Suspension],
    alive: SignsOfLife,
) -> tuple[list[ProvenancedRow], OpenRow | None]:
    """Return the parts of CSV rows that the timeline does not cover, and the last row if its end is unknown.

    ``rows`` and ``segments`` are in time order. A row ends at the next one, where the timeline begins, or before a silence.
    """
    covered = _covered(segments, suspensions)
    found: list[ProvenancedRow] = []
    for row, following in pairwise(rows):
        found += _pieces(row, alive.end_of(row.at, following.at), covered)
    if not rows:
        return found, None
    last = rows[-1]
    after = next((begin for begin, end in covered if end > last.at), None)
    until = after or max(last.at, alive.newest or last.at)
    worn_until = alive.end_of(last.at, until)
    if worn_until == until and after is None:
        return found, OpenRow(start=last) if last.known else None
    found += _pieces(last, worn_until, covered)
    return found, None


def _covered(
    segments: Sequence[BasalTimelineRow], suspensions: Sequence[Suspension]
) -> list[tuple[datetime, datetime]]:
    spans = [(one.at, one.end) for one in segments]
    for stop in suspensions:
        following = next((one.at for one in segments if one.at > stop.at), None)
        spans.append((stop.at, _NEVER if following is None else following))
    return sorted(spans)


def _pieces(row: CsvBasal, end: datetime, covered: Sequence[tuple[datetime, datetime]]) -> list[ProvenancedRow]:
    found: list[ProvenancedRow] = []
    if not row.known:
        return found
    at = row.at
    for begin, over in (*covered, (end, end)):
        stop = min(begin, end)
        length_s = round((stop - at).total_seconds())
        if length_s >= _SHORTEST_S or (length_s > 0 and at == row.at and stop == end):
            around = {"at": at.isoformat(), "span_s": length_s}
            found += with_row(CSV_BASAL, row.cells, READERS[CSV_BASAL](row.cells, around), **around)
        at = max(at, over)
        if at >= end:
            break
    return found
