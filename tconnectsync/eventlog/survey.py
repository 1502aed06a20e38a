"""Reading all of a log against itself, without lock or index: every line, and how the segments follow each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

from tconnectsync.eventlog.files import Files, OsFiles
from tconnectsync.eventlog.lines import START_CHAIN, Header, Line, Run, position_after, read_header
from tconnectsync.eventlog.segments import PackedDamage, Segment, Segments

_HEADER_BYTES = 4096
_LOOKS = 3


@attrs.frozen(kw_only=True)
class Surveyed:
    """One segment: its ``text``, how many good ``records`` (the first and last of them), and its ``runs`` of damage.

    ``last_position`` of a run is None only at the end of the log.
    """

    segment: Segment
    text: bytes
    header: Header | None
    records: int
    first_line: Line | None
    last_line: Line | None
    runs: tuple[Run, ...]


@attrs.frozen(kw_only=True)
class CheckLine:
    """One finding of :func:`check_log`: about a whole segment when it is good, about one place when it is not.

    ``line`` counts from 1; ``position`` to ``last_position`` are the positions that it is about.
    """

    good: bool
    path: str
    what: str
    line: int | None = None
    position: int | None = None
    last_position: int | None = None


def check_log(data_dir: Path, files: Files | None = None) -> Iterator[CheckLine]:
    """Every segment of the log of ``data_dir``, and everything in it that is not what was written. Needs no lock."""
    segments = Segments(data_dir / "log", files or OsFiles(), follow=True)
    log_id = None
    for surveyed in survey(segments):
        path = str(surveyed.segment.path)
        runs = list(surveyed.runs)
        if surveyed.header is not None:
            log_id = log_id or surveyed.header.log
            if surveyed.header.log != log_id:
                yield CheckLine(good=False, path=path, what=f"this belongs to another log than {log_id}", line=1)
        for run in runs:
            yield CheckLine(
                good=False,
                path=path,
                what=run.what,
                line=run.line,
                position=run.first_position,
                last_position=run.last_position,
            )
        if not runs:
            first, last = surveyed.first_line, surveyed.last_line
            yield CheckLine(
                good=True,
                path=path,
                what=f"{surveyed.records} records",
                position=first.position if first else None,
                last_position=last.position if last else None,
            )


def survey(segments: Segments) -> Iterator[Surveyed]:
    """Every segment with its damage, oldest first."""
    everything = segments.all()
    for number, segment in enumerate(everything):
        following = everything[number + 1] if number + 1 < len(everything) else None
        surveyed = _surveyed(segments, segment, following)
        # the last line may still be on its way to the disk
        looks = _LOOKS
        while following is None and looks and surveyed.runs and not surveyed.text.endswith(b"\n"):
            surveyed, looks = _surveyed(segments, segment, None), looks - 1
        if number == 0 and segment.first != 1:
            surveyed = attrs.evolve(surveyed, runs=(_missing_before(surveyed), *surveyed.runs))
        yield surveyed


def _surveyed(segments: Segments, segment: Segment, following: Segment | None) -> Surveyed:
    try:
        text = segments.text(segment)
    except PackedDamage as error:
        text = error.text
    header = read_header(text, segment.first)
    first = last = None
    runs: list[Run] = []
    records = 0
    for item in segments.walk(segment):
        if isinstance(item, Run):
            runs.append(item)
        else:
            records += 1
            first, last = first or item, item
    if following is not None:
        runs = _joined(segments, segment, following, text, runs, last, header)
    return Surveyed(
        segment=segment,
        text=text,
        header=header[0] if header else None,
        records=records,
        first_line=first,
        last_line=last,
        runs=tuple(runs),
    )


def _joined(
    segments: Segments,
    segment: Segment,
    following: Segment,
    text: bytes,
    runs: list[Run],
    last: Line | None,
    header: tuple[Header, int, int] | None,
) -> list[Run]:
    """The runs of ``segment``, with what is wrong at its seam to the ``following`` one."""
    next_chain = _chain_of(segments, following)
    missing_to = following.first - 1
    if runs and runs[-1].last_position is None:
        return [*runs[:-1], attrs.evolve(runs[-1], last_position=missing_to, next_chain=next_chain)]
    if last is not None:
        expected, crc = position_after(last.position, last.record), last.crc
    else:
        expected, crc = segment.first, header[2] if header else START_CHAIN
    what = None
    if expected <= missing_to:
        what = "lines are missing at the end"
    elif expected > missing_to + 1 or (next_chain is not None and crc != next_chain):
        what = "the next segment does not follow this one"
    if what is None:
        return runs
    seam = Run(
        line=text.count(b"\n") + 1,
        lines=0,
        offset=len(text),
        end=len(text),
        first_position=expected,
        last_position=missing_to,
        next_chain=next_chain,
        what=what,
    )
    return [*runs, seam]


def _chain_of(segments: Segments, segment: Segment) -> int | None:
    """What the segment's header says that it follows; None when the header is harmed."""
    try:
        text = segments.text(segment) if segment.packed else segments.files.read(segment.path, 0, _HEADER_BYTES)
    except PackedDamage as error:
        text = error.text
    except FileNotFoundError:  # compressed meanwhile
        return None
    header = read_header(text, segment.first)
    return int(header[0].chain, 16) if header else None


def _missing_before(surveyed: Surveyed) -> Run:
    return Run(
        line=1,
        lines=0,
        offset=0,
        end=0,
        first_position=1,
        last_position=surveyed.segment.first - 1,
        next_chain=int(surveyed.header.chain, 16) if surveyed.header else None,
        what="the segments before this one are missing",
    )
