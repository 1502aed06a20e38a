"""`log repair`: keeps damaged lines in a side file and writes a gap record in their place. No other line changes."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import attrs

from tconnectsync.clock import Clock
from tconnectsync.eventlog.check import SegmentSurvey, survey
from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.damage import Damage, Segment, damage_of
from tconnectsync.eventlog.framing import (
    FORMAT,
    RECORD_AT,
    START_CHAIN,
    DamagedRange,
    SegmentHeader,
    header_line,
    position_after,
    written_crc,
)
from tconnectsync.eventlog.gap_record import bridge_line, gap_event
from tconnectsync.eventlog.gap_times import neighbouring_times, remembered_times
from tconnectsync.eventlog.index import meta
from tconnectsync.eventlog.index_build import INDEX_NAME, disown_index, remove_index
from tconnectsync.eventlog.segments import HARM, Segments
from tconnectsync.eventlog.tail import newer_format
from tconnectsync.events import Event
from tconnectsync.filesystem import Files, OsFiles, replace_file
from tconnectsync.folder_owner import require_own_database

_MOST_MENDS = 4
"""Of one segment, in one repair: neighbours may wait for each other."""


@attrs.frozen(kw_only=True)
class Gap:
    """One repaired place: positions ``first_position`` to ``last_position`` are missing now (none: only a header was harmed).

    ``side_file`` keeps the segment as it was.
    """

    path: str
    first_position: int
    last_position: int
    side_file: str


@attrs.frozen(kw_only=True)
class RepairReport:
    """The result of :func:`repair_log`: repaired gaps, and damage that could not be repaired."""

    gaps: tuple[Gap, ...]
    unrepaired: tuple[Damage, ...]


class _Unmendable(Exception):
    """No replacement of a damaged range would fit the lines after it."""

    def __init__(self, run: DamagedRange) -> None:
        super().__init__()
        self.run = run


def repair_log(data_dir: Path, files: Files | None = None, *, clock: Clock) -> RepairReport:
    """Put the log of ``data_dir`` right. The caller holds the folder's lock and has no log open.

    Harmed segments are kept whole under ``<name>.damaged-<n>``. In the log a gap record stands for what is missing; every
    other line stays as it was written. The index is forgotten, so that what is missing counts as absent and is fetched again.
    Nothing is deleted. OSError: run it again.
    """
    segments = Segments(data_dir / "log", files or OsFiles())
    newer = next((each for each in segments.all() if _is_newer(segments.header(each))), None)
    if newer is not None:
        raise newer_format(newer.path)
    segments.log_id = log_id = segments.owner()
    repair = _Repair(segments, log_id, data_dir / INDEX_NAME, clock.now())
    gaps: list[Gap] = []
    unmended = [] if log_id else _all_damage(segments)
    while log_id:  # again after every pass: what was put right may be what a neighbour waited for
        found, unmended = repair.pass_over()
        gaps += found
        if not found:
            break
    if gaps or _remembers_damage(data_dir / INDEX_NAME):
        remove_index(data_dir / INDEX_NAME)
    return RepairReport(gaps=tuple(gaps), unrepaired=tuple(unmended))


class _Repair:
    def __init__(self, segments: Segments, log_id: str, index_path: Path, now: datetime) -> None:
        self._segments = segments
        self._files = segments.files
        self._log_id = log_id
        self._index_path = index_path
        self._known_end = _index_end(index_path, log_id)
        self._now = now
        self._codec = Codec()
        self._mends: Counter[int] = Counter()

    def pass_over(self) -> tuple[list[Gap], list[Damage]]:
        """Repair segment by segment; return the gaps, and the damage that could not be repaired."""
        gaps: list[Gap] = []
        unmended: list[Damage] = []
        for surveyed in survey(self._segments):
            if surveyed.runs:
                first = surveyed.segment.first
                self._mends[first] += 1
                if self._mends[first] > _MOST_MENDS:  # what was written does not read back: the disk is failing
                    unmended += [damage_of(surveyed.segment, run) for run in surveyed.runs]
                    continue
                try:
                    gaps += self.mend(surveyed)
                except _Unmendable as error:
                    unmended.append(damage_of(surveyed.segment, error.run))
        return gaps, unmended

    def mend(self, surveyed: SegmentSurvey) -> list[Gap]:
        """Rewrite the segment without its damage."""
        segment = surveyed.segment
        runs = list(surveyed.runs)
        if runs[0].first_position < segment.first:
            before, runs = runs[0], runs[1:]
            if before.next_chain is not None or not runs:
                return [self._missing_segment(before)]  # the rest in the next pass
        side = self._side_file(segment)
        text, gaps = self._mended(surveyed, runs, side.name)
        moved = self._keep(segment.path, side)
        self._put(self._segments.path_for(segment.first), text)
        if segment.packed and not moved:
            self._files.remove(segment.path)  # its copy is the side file
        self._segments.refresh()
        return gaps

    def _keep(self, path: Path, side: Path) -> bool:
        """Keep what is at ``path`` under the name ``side``: a copy, or, where it cannot be read, itself."""
        try:
            content = self._files.read(path)
        except OSError as error:
            if error.errno not in HARM:
                raise
            self._files.rename(path, side)
            self._files.sync_folder(self._segments.folder)
            return True
        self._files.write(side, content)
        self._files.sync_folder(self._segments.folder)
        return False

    def _mended(self, surveyed: SegmentSurvey, runs: Sequence[DamagedRange], side: str) -> tuple[bytes, list[Gap]]:
        segment, text = surveyed.segment, surveyed.text
        parts: list[bytes] = []
        gaps: list[Gap] = []
        at = 0
        for run in runs:
            parts.append(text[at : run.offset])
            at = run.end
            if run.offset == 0:
                line, chain, run = self._header_over(segment, text, run)  # noqa: PLW2901 - it may have grown
                at = run.end
                parts.append(line)
            else:
                chain = _last_crc(text[: run.offset])
            last = run.last_position
            if last is None:  # the end of the log: none of these positions is ever given again
                last = max(self._known_end, run.first_position + max(run.lines - (run.offset == 0), 0) - 1)
            if last >= run.first_position:
                next_chain = START_CHAIN if run.last_position is None else run.next_chain
                if next_chain is None:
                    raise _Unmendable(run)
                event = self._gap(run.first_position, last, side)
                parts.append(bridge_line(event, self._codec, chain, next_chain))
            elif run.next_chain is not None and chain != run.next_chain:
                raise _Unmendable(run)
            gaps.append(
                Gap(path=str(segment.path), first_position=run.first_position, last_position=last, side_file=side)
            )
        parts.append(text[at:])
        return b"".join(parts), gaps

    def _header_over(self, segment: Segment, text: bytes, run: DamagedRange) -> tuple[bytes, int, DamagedRange]:
        """The header, its checksum, and the run that it stands before, which may have to take in a line more."""
        try:
            return *self._header(segment, text[: run.end], run), run
        except _Unmendable:  # what the first line follows is nowhere to be found: it is given up too
            run = _widened(text, run)
            return *self._header(segment, text[: run.end], run), run

    def _header(self, segment: Segment, harmed: bytes, run: DamagedRange) -> tuple[bytes, int]:
        """The header as it was: all that it says is known from elsewhere."""
        chains = [self._crc_before(segment)]
        with contextlib.suppress(ValueError):
            at = harmed.index(b'"chain":"') + 9
            chains.append(int(harmed[at : at + 8], 16))
        lost = run.last_position is None or run.last_position >= run.first_position
        for chain in chains:
            if chain is not None:
                line, crc = header_line(segment.first, self._log_id, chain)
                if lost or crc == run.next_chain:
                    return line, crc
        if lost:  # the segment before is harmed too, and will be made to fit this one
            return header_line(segment.first, self._log_id, START_CHAIN)
        raise _Unmendable(run)

    def _crc_before(self, segment: Segment) -> int | None:
        before = [each for each in self._segments.all() if each.first < segment.first]
        if not before:
            return START_CHAIN if segment.first == 1 else None
        crc = None
        for item in self._segments.walk(before[-1]):
            crc = None if isinstance(item, DamagedRange) else item.crc
        return crc

    def _missing_segment(self, run: DamagedRange) -> Gap:
        """A segment of one gap record in place of segments that are gone."""
        if run.next_chain is None or run.last_position is None:
            raise _Unmendable(run)
        header, chain = header_line(run.first_position, self._log_id, START_CHAIN)
        event = self._gap(run.first_position, run.last_position, "")
        line = bridge_line(event, self._codec, chain, run.next_chain)
        path = self._segments.path_for(run.first_position)
        self._put(path, header + line)
        self._segments.refresh()
        return Gap(path=str(path), first_position=run.first_position, last_position=run.last_position, side_file="")

    def _put(self, path: Path, text: bytes) -> None:
        """Write a segment anew. From its first byte on no index counts what is missing as known."""
        disown_index(self._index_path)
        replace_file(self._files, path, text)

    def _gap(self, first: int, last: int, side: str) -> Event:
        times = remembered_times(self._index_path, self._log_id, first, last)
        times = times or neighbouring_times(self._segments, self._codec, first, last)
        return gap_event(self._log_id, first, last, side_file=side, now=self._now, times=times)

    def _side_file(self, segment: Segment) -> Path:
        names = set(self._files.names(self._segments.folder))
        number = 1
        while f"{segment.path.name}.damaged-{number}" in names:
            number += 1
        return segment.path.with_name(f"{segment.path.name}.damaged-{number}")


def _widened(text: bytes, run: DamagedRange) -> DamagedRange:
    """``run`` with the good line behind it, if there is one."""
    end = text.find(b"\n", run.end) + 1
    line = text[run.end : end]
    if not line or run.last_position is None:
        raise _Unmendable(run)
    last = position_after(run.last_position + 1, line[RECORD_AT:-2]) - 1
    return attrs.evolve(run, lines=run.lines + 1, end=end, last_position=last, next_chain=written_crc(line))


def _last_crc(text: bytes) -> int:
    """The checksum of the last line of a good text."""
    line = text[text.rfind(b"\n", 0, len(text) - 1) + 1 :]
    return written_crc(line) or 0


def _is_newer(header: SegmentHeader | None) -> bool:
    return header is not None and header.format > FORMAT


def _all_damage(segments: Segments) -> list[Damage]:
    return [damage_of(each.segment, run) for each in survey(segments) for run in each.runs]


def _remembers_damage(path: Path) -> bool:
    """Whether the index speaks of damage: of a disk that could not be read for a while, perhaps."""
    if not path.exists():
        return False
    require_own_database(path)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as database:
            return database.execute("SELECT 1 FROM damage LIMIT 1").fetchone() is not None
    except sqlite3.Error:
        return False


def _index_end(path: Path, log_id: str) -> int:
    """The last position that the index has seen; 0 when it cannot say."""
    if not path.exists():
        return 0
    require_own_database(path)
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=10)) as database:
            return int(meta(database, "end") or 0) if meta(database, "log") == log_id else 0
    except sqlite3.Error:
        return 0
