"""`log check`: verifies every line and the order of the segments. Needs no lock and no index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import msgspec

from tconnectsync.eventlog.damage import Segment, damages
from tconnectsync.eventlog.framing import DamagedRange, Line
from tconnectsync.eventlog.index_build import Progress, no_progress
from tconnectsync.eventlog.segments import Segments
from tconnectsync.filesystem import Files, OsFiles
from tconnectsync.text.plural import counted

_ATTEMPTS = 3


@attrs.frozen(kw_only=True)
class SegmentSurvey:
    """One segment: its ``text``, the number of correct ``records``, the first and last of them, and its ``damage``.

    ``last_position`` of a damage is None only at the end of the log.
    """

    segment: Segment
    text: bytes
    records: int
    first_line: Line | None
    last_line: Line | None
    damage: tuple[DamagedRange, ...]


@attrs.frozen(kw_only=True)
class CheckLine:
    """One result of :func:`check_log`: a correct segment (``good``), or one damage.

    ``line`` counts from 1; ``position`` to ``last_position`` are the positions of the segment's records or of the damage.
    """

    good: bool
    path: str
    what: str
    line: int | None = None
    position: int | None = None
    last_position: int | None = None


def check_log(data_dir: Path, files: Files | None = None, *, progress: Progress = no_progress) -> Iterator[CheckLine]:
    """Yield a line for every segment of the log of ``data_dir``, and for every damage in it. Needs no lock.

    ``progress`` is called with the number of segments that were read, and of all.
    """
    segments = Segments(data_dir / "log", files or OsFiles(), follow=True)
    segments.log_id = segments.find_log_id()
    for surveyed in survey(segments, progress):
        for damage in damages(surveyed.segment, surveyed.damage):
            yield CheckLine(good=False, **msgspec.structs.asdict(damage))
        if not surveyed.damage:
            first, last = surveyed.first_line, surveyed.last_line
            yield CheckLine(
                good=True,
                path=str(surveyed.segment.path),
                what=counted(surveyed.records, "record"),
                position=first.position if first else None,
                last_position=last.position if last else None,
            )


def survey(segments: Segments, progress: Progress = no_progress) -> Iterator[SegmentSurvey]:
    """Yield every segment with its damage, oldest first."""
    everything = segments.all()
    for number, segment in enumerate(everything):
        progress(number, len(everything))
        surveyed = _survey_segment(segments, segment)
        # another process may be writing the last line
        attempts = _ATTEMPTS if number == len(everything) - 1 else 0
        while attempts and surveyed.damage and not surveyed.text.endswith(b"\n"):
            surveyed, attempts = _survey_segment(segments, segment), attempts - 1
        yield surveyed


def _survey_segment(segments: Segments, segment: Segment) -> SegmentSurvey:
    text, _ = segments.text(segment)
    first = last = None
    damage: list[DamagedRange] = []
    records = 0
    for item in segments.walk(segment):
        if isinstance(item, DamagedRange):
            damage.append(item)
        else:
            records += 1
            first, last = first or item, item
    return SegmentSurvey(
        segment=segment,
        text=text,
        records=records,
        first_line=first,
        last_line=last,
        damage=tuple(damage),
    )
