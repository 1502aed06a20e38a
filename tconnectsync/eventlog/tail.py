"""The end of the log: where lines are appended, made durable, and put right after a crash or a failed write."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog.compression import Harmed
from tconnectsync.eventlog.damage import Damage, Segment, damage_of
from tconnectsync.eventlog.framing import (
    START_CHAIN,
    DamagedRange,
    Line,
    frame,
    header_line,
    position_after,
    read_header,
    walk,
)
from tconnectsync.eventlog.segment_continuity import FOREIGN, cut_short, whole
from tconnectsync.eventlog.segments import Segments
from tconnectsync.filesystem import TEMPORARY, AppendFile

_HEADER_BYTES = 200
"""More than a header ever has."""

_SECTOR = 512
_ZEROS = re.compile(rb"\0+")


class Tail:
    """The last segment, open for appending.

    ``end`` is the last durable position and ``crc`` its line's checksum; ``notices`` tell what was put right at opening, and
    ``damage`` what was found harmed before the tail.
    """

    def __init__(self, segments: Segments, segment_bytes: int, new_log_id: str) -> None:
        self._segments = segments
        self._files = segments.files
        self._segment_bytes = segment_bytes
        self._file: AppendFile | None = None
        self._path: Path | None = None
        self._doubtful = False
        self.log_id = new_log_id
        self.end = 0
        self.crc = START_CHAIN
        self.size = 0
        self.notices: list[str] = []
        self.damage: list[Damage] = []
        self._open()

    # --- opening ----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        for name in self._files.names(self._segments.folder):
            if name.endswith(TEMPORARY):
                self._files.remove(self._segments.folder / name)
        newer = self._segments.newer()
        if newer is not None:
            raise newer_format(newer.path)
        while segments := self._segments.all():
            self._segments.log_id = self._segments.owner()
            if self._take(segments[-1]):
                self._confirm()
                return
            self._segments.refresh()
        self._begin_segment()
        self._segments.log_id = self.log_id

    def _confirm(self) -> None:
        """Make durable what was found: a process that was killed may have written it and not lived to sync it."""
        if self._path is not None:
            self._file = self._files.open_append(self._path)
            try:
                self._file.sync()
            except BaseException:
                self.close()
                raise
        self._files.sync_folder(self._segments.folder)

    def _take(self, segment: Segment) -> bool:
        """Take ``segment`` as the last one; False when there is no record in it and it is out of the way."""
        try:
            text = self._segments.text(segment)
        except Harmed as error:
            text = error.text
            if not segment.packed:  # a disk that does not give a file back is nothing to write to
                raise damage_of(segment, cut_short(text, segment.first, None, error.what)).error() from None
        header = read_header(text, segment.first)
        if header is not None and header[0].log != self._segments.log_id:
            raise damage_of(segment, whole(text, segment.first, FOREIGN)).error()
        if (
            header is None
            and text.count(b"\n") < 2
            and not any(isinstance(item, Line) for item in walk(text, segment.first))
        ):
            side = self._set_aside(text, segment.first)
            self._files.remove(segment.path)
            self._files.sync_folder(self._segments.folder)
            if len(text) > _HEADER_BYTES:
                self.notices.append(f"{segment.path} was no part of the event log: it is kept in {side}.")
            return False
        self.log_id = self._segments.log_id or self._no_owner(segment)
        self.end, self.crc, good = segment.first - 1, header[2] if header else START_CHAIN, header[1] if header else 0
        last: Line | None = None
        for item in walk(text, segment.first):
            if isinstance(item, Line):
                last = item
            elif item.last_position is None or (not segment.packed and unwritten(text, item)):
                self._mend(segment, text, item, last)
                break
            else:
                self.damage.append(damage_of(segment, item))
        if last is not None:
            self.end = position_after(last.position, last.record) - 1
            self.crc = last.crc
            good = text.index(b"\n", last.offset) + 1
        if segment.packed:
            self.size = self._segment_bytes  # sealed: the next line begins a segment
            return True
        self.size = good
        self._path = segment.path
        return True

    def _mend(self, segment: Segment, text: bytes, run: DamagedRange, last: Line | None) -> None:
        """Move the torn end of the log to a side file."""
        if last is None and read_header(text, segment.first) is None:
            raise damage_of(segment, run).error()
        if segment.packed:
            self.damage.append(damage_of(segment, run))
            return
        side = self._set_aside(text[run.offset :], run.first_position)
        file = self._files.open_append(segment.path)
        try:
            file.truncate(run.offset)
            file.sync()
        finally:
            file.close()
        self.notices.append(
            f"The last write to the event log was cut short: what was torn from position {run.first_position} on is kept "
            f"in {side}; it will be fetched again."
        )

    def _set_aside(self, torn: bytes, position: int) -> Path:
        names = set(self._files.names(self._segments.folder))
        name, number = f"torn-{position:012d}.bin", 1
        while name in names:
            name, number = f"torn-{position:012d}-{number}.bin", number + 1
        side = self._segments.folder / name
        if torn:
            self._files.write(side, torn)
            self._files.sync_folder(self._segments.folder)
        return side

    def _no_owner(self, harmed: Segment) -> str:
        what = "no segment has a header that can be read"
        raise Damage(path=str(harmed.path), line=1, position=harmed.first, what=what).error()

    # --- appending --------------------------------------------------------------------------------------------------

    def write(self, records: Sequence[bytes]) -> list[int]:
        """Append ``records`` at the next positions, durably, as many as the segment takes (at least one).

        Answers the offset of each line that was written. The caller says where ``end`` is then. OSError: none was written.
        """
        self._settle()
        if self.size >= self._segment_bytes or self._path is None:
            self._begin_segment()
        parts, offsets, crc, size = [], [], self.crc, self.size
        for record in records:
            line, crc = frame(record, crc)
            parts.append(line)
            offsets.append(size)
            size += len(line)
            if size >= self._segment_bytes:
                break
        if self._file is None:
            assert self._path is not None  # noqa: S101 - set by _begin_segment or _take
            self._file = self._files.open_append(self._path)
        try:
            self._file.write(b"".join(parts))
            self._file.sync()
        except BaseException:
            self._doubtful = True
            with contextlib.suppress(OSError):
                self._file.truncate(self.size)
            self.close()
            raise
        self.crc, self.size = crc, size
        return offsets

    def _begin_segment(self) -> None:
        line, crc = header_line(self.end + 1, self.log_id, self.crc)
        path = self._segments.path_for(self.end + 1)
        file = self._files.open_append(path)
        try:
            file.truncate(0)
            file.write(line)
            file.sync()
            self._files.sync_folder(self._segments.folder)
        except BaseException:
            file.close()
            with contextlib.suppress(OSError):
                self._files.remove(path)
            raise
        self.close()
        self._path, self._file, self.crc, self.size = path, file, crc, len(line)
        self._segments.refresh()

    def _settle(self) -> None:
        """After a failed write: open the file anew, cut back to the last durable byte, and read that it is so. OSError: it is not."""
        if not self._doubtful:
            return
        assert self._path is not None  # noqa: S101 - a write failed, so there is one
        self.close()
        self._file = self._files.open_append(self._path)
        self._file.truncate(self.size)
        self._file.sync()
        first = int(self._path.name[:12])
        crc, end = 0, 0
        text = self._files.read(self._path)
        header = read_header(text, first)
        if header is not None:
            end, crc = header[1], header[2]
        for item in walk(text, first):
            if isinstance(item, Line):
                crc, end = item.crc, text.index(b"\n", item.offset) + 1
        if end != self.size or len(text) != self.size or crc != self.crc:
            raise OSError(
                errno.EIO, f"{os.strerror(errno.EIO)}: the log does not read back as written", str(self._path)
            )
        self._doubtful = False

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None


def unwritten(text: bytes, run: DamagedRange) -> bool:
    """Whether ``run`` holds what a power cut kept from the disk while it wrote what stands behind: whole sectors of zeros.

    Nothing from there on was ever durable, because a sync would have written these sectors too. No flipped bit looks so.
    """
    for zeros in _ZEROS.finditer(text, run.offset, run.end):
        begins = zeros.start() == run.offset or zeros.start() % _SECTOR == 0
        if begins and (zeros.end() % _SECTOR == 0 or zeros.end() == len(text)):
            return True
    return False


def newer_format(path: Path) -> LogCorrupt:
    """The error for a log that a later release wrote."""
    return LogCorrupt(
        f"{path} was written by a newer release of tconnectsync, whose format this one does not know.",
        path=str(path),
        line=1,
        remedy="Install the newer release again (in its source's folder: `pip install .`).",
    )
