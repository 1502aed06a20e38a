"""`log repair`: moves corrupt lines to a side file and writes a gap record in their place. No other line changes."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import attrs
import msgspec

from tconnectsync.clock import Clock
from tconnectsync.eventlog.check import SegmentSurvey, survey
from tconnectsync.eventlog.codec import Codec
from tconnectsync.eventlog.damage import Damage, Segment, damage_of, damages
from tconnectsync.eventlog.framing import (
    FORMAT,
    RECORD_OFFSET,
    START_CHAIN,
    DamagedRange,
    SegmentHeader,
    header_line,
    position_after,
    stored_crc,
)
from tconnectsync.eventlog.gap_record import gap_event, gap_line
from tconnectsync.eventlog.gap_times import neighbouring_times, remembered_times
from tconnectsync.eventlog.index import get_meta
from tconnectsync.eventlog.index_build import (
    INDEX_NAME,
    Progress,
    discard_index,
    no_progress,
    query_index,
    remove_index,
)
from tconnectsync.eventlog.segment_continuity import newer_release_error
from tconnectsync.eventlog.segments import UNREADABLE, Segments
from tconnectsync.events import Event
from tconnectsync.filesystem import Files, OsFiles, replace_file

_MAX_REPAIRS = 4
"""How often one segment is repaired in one call: a repair may need that of a neighbour."""


@attrs.frozen(kw_only=True)
class Gap:
    """One repaired place: positions ``first_position`` to ``last_position`` are missing now.

    None is missing if only a header was corrupt. ``side_file`` has the segment as it was.
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


class _Unrepairable(Exception):
    """No replacement of ``damage`` would fit the lines after it."""

    def __init__(self, damage: DamagedRange) -> None:
        super().__init__()
        self.damage = damage


def repair_log(
    data_dir: Path, files: Files | None = None, *, clock: Clock, progress: Progress = no_progress
) -> RepairReport:
    """Repair the log of ``data_dir``. The caller holds the folder's lock and has no log open.

    Damaged segments are copied to ``<name>.damaged-<n>``. In the log, a gap record replaces the missing records; all other lines
    stay unchanged. The index is deleted, so that missing events count as absent and are fetched again. No data is deleted.
    ``progress`` is called with the number of segments that were read, and of all; it begins again after a repair.
    Errors: OSError (run it again), LogCorrupt if a newer release wrote the log.
    """
    segments = Segments(data_dir / "log", files or OsFiles())
    newer = next((each for each in segments.all() if _is_newer(segments.header(each))), None)
    if newer is not None:
        raise newer_release_error(newer.path)
    segments.log_id = log_id = segments.find_log_id()
    repair = _Repair(segments, log_id, data_dir / INDEX_NAME, clock.now())
    gaps: list[Gap] = []
    unrepaired = [] if log_id else _all_damage(segments)
    while log_id:  # again after every repair, because a neighbour may have needed it
        found, unrepaired = repair.run_once(progress)
        gaps += found
        if not found:
            break
    if gaps or _index_has_damage(data_dir / INDEX_NAME):
        remove_index(data_dir / INDEX_NAME)
    return RepairReport(gaps=tuple(gaps), unrepaired=tuple(unrepaired))


class _Repair:
    def __init__(self, segments: Segments, log_id: str, index_path: Path, now: datetime) -> None:
        self._segments = segments
        self._files = segments.files
        self._log_id = log_id
        self._index_path = index_path
        self._known_end = _index_end(index_path, log_id)
        self._now = now
        self._codec = Codec()
        self._repairs: Counter[int] = Counter()

    def run_once(self, progress: Progress) -> tuple[list[Gap], list[Damage]]:
        """Repair segment by segment; return the gaps, and the damage that could not be repaired."""
        gaps: list[Gap] = []
        unrepaired: list[Damage] = []
        for surveyed in survey(self._segments, progress):
            if surveyed.damage:
                first = surveyed.segment.first
                self._repairs[first] += 1
                if self._repairs[first] > _MAX_REPAIRS:  # repairs cannot be read back: the disk is failing
                    unrepaired += damages(surveyed.segment, surveyed.damage)
                    continue
                try:
                    gaps += self.repair_segment(surveyed)
                except _Unrepairable as error:
                    unrepaired.append(damage_of(surveyed.segment, error.damage))
        return gaps, unrepaired

    def repair_segment(self, surveyed: SegmentSurvey) -> list[Gap]:
        """Rewrite the segment without its damage."""
        segment = surveyed.segment
        ranges = list(surveyed.damage)
        if ranges[0].first_position < segment.first:
            before, ranges = ranges[0], ranges[1:]
            if before.next_chain is not None or not ranges:
                return [self._replace_missing_segments(before)]  # the next call repairs the rest
        side = self._side_file(segment)
        text, gaps = self._repaired_text(surveyed, ranges, side.name)
        moved = self._keep(segment.path, side)
        self._write_segment(self._segments.path_for(segment.first), text)
        if segment.packed and not moved:
            self._files.remove(segment.path)  # its copy is the side file
        self._segments.refresh()
        return gaps

    def _keep(self, path: Path, side: Path) -> bool:
        """Copy the file at ``path`` to ``side``. If it cannot be read, move it and return True."""
        try:
            content = self._files.read(path)
        except OSError as error:
            if error.errno not in UNREADABLE:
                raise
            self._files.rename(path, side)
            self._files.sync_folder(self._segments.folder)
            return True
        self._files.write(side, content)
        self._files.sync_folder(self._segments.folder)
        return False

    def _repaired_text(
        self, surveyed: SegmentSurvey, ranges: Sequence[DamagedRange], side: str
    ) -> tuple[bytes, list[Gap]]:
        segment, text = surveyed.segment, surveyed.text
        parts: list[bytes] = []
        gaps: list[Gap] = []
        at = 0
        for damage in ranges:
            parts.append(text[at : damage.offset])
            at = damage.end
            if damage.offset == 0:
                line, chain, damage = self._header_before(segment, text, damage)  # noqa: PLW2901 - it may have grown
                at = damage.end
                parts.append(line)
            else:
                chain = _last_crc(text[: damage.offset])
            first, last = damage.first_position, damage.last_position
            if last is None:  # the end of the log: these positions are never used again
                last = max(self._known_end, first + max(damage.lines - (damage.offset == 0), 0) - 1)
            if last >= first:
                next_chain = START_CHAIN if damage.last_position is None else damage.next_chain
                if next_chain is None:
                    raise _Unrepairable(damage)
                event = self._gap(first, last, side)
                parts.append(gap_line(event, self._codec, chain, next_chain))
            elif damage.next_chain is not None and chain != damage.next_chain:
                raise _Unrepairable(damage)
            gaps.append(Gap(path=str(segment.path), first_position=first, last_position=last, side_file=side))
        parts.append(text[at:])
        return b"".join(parts), gaps

    def _header_before(self, segment: Segment, text: bytes, damage: DamagedRange) -> tuple[bytes, int, DamagedRange]:
        """Return the header, its checksum, and the damage after it, which may include one more line."""
        try:
            return *self._rebuild_header(segment, text[: damage.end], damage), damage
        except _Unrepairable:  # it is unknown which checksum the first line continues: give up that line too
            damage = _extended(text, damage)
            return *self._rebuild_header(segment, text[: damage.end], damage), damage

    def _rebuild_header(self, segment: Segment, corrupt: bytes, damage: DamagedRange) -> tuple[bytes, int]:
        """Return the header as it was, and its checksum. Its values are known from the other segments and the log."""
        chains = [self._crc_before(segment)]
        with contextlib.suppress(ValueError):
            at = corrupt.index(b'"chain":"') + 9
            chains.append(int(corrupt[at : at + 8], 16))
        has_gap = damage.last_position is None or damage.last_position >= damage.first_position
        for chain in chains:
            if chain is not None:
                line, crc = header_line(segment.first, self._log_id, chain)
                if has_gap or crc == damage.next_chain:
                    return line, crc
        if has_gap:  # the previous segment is corrupt too, and its repair will fit this header
            return header_line(segment.first, self._log_id, START_CHAIN)
        raise _Unrepairable(damage)

    def _crc_before(self, segment: Segment) -> int | None:
        before = [each for each in self._segments.all() if each.first < segment.first]
        if not before:
            return START_CHAIN if segment.first == 1 else None
        crc = None
        for item in self._segments.walk(before[-1]):
            crc = None if isinstance(item, DamagedRange) else item.crc
        return crc

    def _replace_missing_segments(self, damage: DamagedRange) -> Gap:
        """Write a segment with one gap record in place of missing segments."""
        first, last = damage.first_position, damage.last_position
        if damage.next_chain is None or last is None:
            raise _Unrepairable(damage)
        header, chain = header_line(first, self._log_id, START_CHAIN)
        line = gap_line(self._gap(first, last, ""), self._codec, chain, damage.next_chain)
        path = self._segments.path_for(first)
        self._write_segment(path, header + line)
        self._segments.refresh()
        return Gap(path=str(path), first_position=first, last_position=last, side_file="")

    def _write_segment(self, path: Path, text: bytes) -> None:
        """Replace a segment. The index is discarded first, so that it never counts the missing records as present."""
        discard_index(self._index_path)
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


def _extended(text: bytes, damage: DamagedRange) -> DamagedRange:
    """Return ``damage`` with the correct line after it. Errors: _Unrepairable if there is none."""
    end = text.find(b"\n", damage.end) + 1
    line = text[damage.end : end]
    if not line or damage.last_position is None:
        raise _Unrepairable(damage)
    last = position_after(damage.last_position + 1, line[RECORD_OFFSET:-2]) - 1
    return msgspec.structs.replace(
        damage, lines=damage.lines + 1, end=end, last_position=last, next_chain=stored_crc(line)
    )


def _last_crc(text: bytes) -> int:
    """Return the checksum of the last line of a correct text."""
    line = text[text.rfind(b"\n", 0, len(text) - 1) + 1 :]
    return stored_crc(line) or 0


def _is_newer(header: SegmentHeader | None) -> bool:
    return header is not None and header.format > FORMAT


def _all_damage(segments: Segments) -> list[Damage]:
    return [damage for each in survey(segments) for damage in damages(each.segment, each.damage)]


def _index_has_damage(path: Path) -> bool:
    """Whether the index has damage that the log does not have any more: perhaps the disk was unreadable for a while."""
    return query_index(path, lambda index: index.execute("SELECT 1 FROM damage LIMIT 1").fetchone() is not None, False)


def _index_end(path: Path, log_id: str) -> int:
    """Return the last position that the index covers; 0 if it is missing, corrupt, or of another log."""
    return query_index(
        path, lambda index: int(get_meta(index, "end") or 0) if get_meta(index, "log") == log_id else 0, 0
    )
