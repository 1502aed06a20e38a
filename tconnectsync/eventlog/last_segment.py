"""Appends lines durably to the end of the log, and repairs that end after a crash or a failed write."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog.damage import Damage, Segment, damage_of
from tconnectsync.eventlog.framing import (
    START_CHAIN,
    DamagedRange,
    Line,
    frame,
    header_line,
    position_after,
    position_of,
    read_header,
    walk,
)
from tconnectsync.eventlog.replica import LogEnd, Replica
from tconnectsync.eventlog.segment_continuity import FOREIGN, all_damaged, damaged_end
from tconnectsync.eventlog.segments import Segments
from tconnectsync.filesystem import TEMPORARY, AppendFile

_HEADER_BYTES = 200
"""A header is always shorter."""

_SECTOR = 512
_ZEROS = re.compile(rb"\0+")


class LastSegment:
    """The last segment, open for appending.

    ``end``: the last durable position; ``crc``: the checksum of its line; ``notices``: messages about repairs at opening;
    ``damage``: corrupt lines of this segment, which :func:`tconnectsync.eventlog.repair_log` can repair.
    """

    def __init__(self, segments: Segments, segment_bytes: int, new_log_id: str, replica: Replica | None = None) -> None:
        self._segments = segments
        self.replica = replica
        self._files = segments.files
        self._segment_bytes = segment_bytes
        self._file: AppendFile | None = None
        self._path: Path | None = None
        self._write_failed = False
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
        self._segments.check_release()
        while segments := self._segments.all():
            self._segments.log_id = self._segments.find_log_id()
            if self._open_last(segments[-1]):
                self._sync_existing()
                return
            self._segments.refresh()
        self._begin_segment()
        self._segments.log_id = self.log_id

    def _sync_existing(self) -> None:
        """Make the existing lines durable: a process that was killed may have written them without a sync."""
        if self._path is not None:
            self._file = self._files.open_append(self._path)
            try:
                self._file.sync()
            except BaseException:
                self.close()
                raise
        self._files.sync_folder(self._segments.folder)

    def _open_last(self, segment: Segment) -> bool:
        """Continue ``segment``. Return False if it has no record; then it was moved to a side file."""
        text, problem = self._segments.text(segment)
        if problem and not segment.packed:  # do not write to a disk that cannot read
            raise damage_of(segment, damaged_end(text, segment.first, None, problem)).error()
        header = read_header(text, segment.first)
        if header is not None and header[0].log != self._segments.log_id:
            raise damage_of(segment, all_damaged(text, segment.first, FOREIGN)).error()
        if (
            header is None
            and text.count(b"\n") < 2
            and not any(isinstance(item, Line) for item in walk(text, segment.first))
        ):
            side = self._move_aside(text, segment.first)
            self._files.remove(segment.path)
            self._files.sync_folder(self._segments.folder)
            if len(text) > _HEADER_BYTES:
                self.notices.append(f"{segment.path} was not part of the event log. It was moved to {side}.")
            return False
        if not self._segments.log_id:
            what = "no segment has a header that can be read"
            raise Damage(path=str(segment.path), line=1, position=segment.first, what=what).error()
        self.log_id = self._segments.log_id
        self.end, self.crc, size = segment.first - 1, header[2] if header else START_CHAIN, header[1] if header else 0
        last: Line | None = None
        for item in walk(text, segment.first):
            if isinstance(item, Line):
                last = item
            elif item.last_position is None or (not segment.packed and is_unwritten(text, item)):
                self._cut_torn_end(segment, text, item, last)
                break
            else:
                self.damage.append(damage_of(segment, item))
        if last is not None:
            self.end = position_after(last.position, last.record) - 1
            self.crc = last.crc
            size = text.index(b"\n", last.offset) + 1
        if segment.packed:
            self.size = self._segment_bytes  # sealed: the next line begins a segment
            return True
        self.size = size
        self._path = segment.path
        return True

    def _cut_torn_end(self, segment: Segment, text: bytes, torn: DamagedRange, last: Line | None) -> None:
        """Move the torn end of the log to a side file."""
        if last is None and read_header(text, segment.first) is None:
            raise damage_of(segment, torn).error()
        if segment.packed:
            self.damage.append(damage_of(segment, torn))
            return
        side = self._move_aside(text[torn.offset :], torn.first_position)
        file = self._files.open_append(segment.path)
        try:
            file.truncate(torn.offset)
            file.sync()
        finally:
            file.close()
        self.notices.append(
            f"The last write to the event log was cut short at position {torn.first_position}. The incomplete part was moved to "
            f"{side}. Its events will be fetched again."
        )

    def _move_aside(self, torn: bytes, position: int) -> Path:
        names = set(self._files.names(self._segments.folder))
        name, number = f"torn-{position:012d}.bin", 1
        while name in names:
            name, number = f"torn-{position:012d}-{number}.bin", number + 1
        side = self._segments.folder / name
        if torn:
            self._files.write(side, torn)
            self._files.sync_folder(self._segments.folder)
        return side

    # --- appending --------------------------------------------------------------------------------------------------

    def write(self, records: Iterable[bytes]) -> list[int]:
        """Append ``records`` durably at the next positions, at least one and as many as fit into the segment.

        Return the offset of each written line; the caller then sets ``end``. Errors: OSError, LogCorrupt (somebody else
        shortened the file), ReplicaFailed; then none was written.
        """
        self._check_length()
        self._recover()
        if self.size >= self._segment_bytes or self._path is None:
            self._begin_segment()
        lines, offsets, crc, last = bytearray(), [], self.crc, b""
        for last in records:
            offsets.append(self.size + len(lines))
            line, crc = frame(last, crc)
            lines += line
            if self.size + len(lines) >= self._segment_bytes:
                break
        if self._file is None:
            assert self._path is not None  # noqa: S101 - set by _begin_segment or _open_last
            self._file = self._files.open_append(self._path)
        try:
            self._file.write(lines)
            self._file.sync()
            if self.replica is not None:
                self._replicate(self.replica, bytes(lines), last, crc)
        except BaseException:
            self._write_failed = True
            with contextlib.suppress(OSError):
                self._file.truncate(self.size)
            self.close()
            raise
        self.crc, self.size = crc, self.size + len(lines)
        return offsets

    def _replicate(self, replica: Replica, lines: bytes, last: bytes, crc: int) -> None:
        """Store lines in the replica, with the segment's header if they are its first. ``last`` is the last record."""
        assert self._path is not None  # noqa: S101 - the lines were written there
        header = self._files.read(self._path, 0, self.size) if int(self._path.name[:12]) == self.end + 1 else b""
        replica.append(header + lines, LogEnd(position_after(position_of(last), last) - 1, crc))

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

    def _check_length(self) -> None:
        """Move bytes behind the end to a side file: after them every later record would be where nobody looks for it.

        Only this process writes here, but a copy program or a check of the file system may.
        """
        if self._write_failed or self._path is None or self.size >= self._segment_bytes:
            return
        try:
            length = self._files.size(self._path)
        except FileNotFoundError:
            length = 0
        if length > self.size:
            self._move_aside(self._files.read(self._path, self.size), self.end + 1)
            self._write_failed = True
        elif length < self.size:
            raise LogCorrupt(
                f"{self._path} became shorter, or was deleted, while the daemon ran: its newest records are missing",
                path=str(self._path), line=1, position=self.end,
                remedy="Run `systemctl restart tconnectsync`: the corrupt end is removed and fetched again.",
            )  # fmt: skip

    def _recover(self) -> None:
        """After a failed write: open the file again, cut it to the last durable byte, and verify that. Errors: OSError."""
        if not self._write_failed:
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
        self._write_failed = False

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def is_unwritten(text: bytes, damage: DamagedRange) -> bool:
    """Whether a power cut left sectors in ``damage`` unwritten: complete sectors of zeros.

    Then nothing after them was durable, because a sync would have written these sectors too. Flipped bits look different.
    """
    for zeros in _ZEROS.finditer(text, damage.offset, damage.end):
        begins = zeros.start() == damage.offset or zeros.start() % _SECTOR == 0
        if begins and (zeros.end() % _SECTOR == 0 or zeros.end() == len(text)):
            return True
    return False
