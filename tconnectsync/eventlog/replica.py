"""The port for a copy of the log elsewhere, and how a local log follows it. Without a replica, none of this runs."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog.damage import Segment
from tconnectsync.eventlog.framing import (
    FORMAT,
    RECORD_OFFSET,
    START_CHAIN,
    Line,
    is_intact,
    parse_header,
    position_after,
    position_of,
    stored_crc,
)
from tconnectsync.eventlog.index_build import remove_index
from tconnectsync.eventlog.segments import Segments
from tconnectsync.filesystem import AppendFile, Files

log = logging.getLogger("tconnectsync.eventlog")
MOVED_ASIDE = "not-in-replica-"
"""The beginning of the names of segments that the replica did not have."""


class LogEnd(NamedTuple):
    """The end of a log: its last position and the checksum of the line there, which covers all lines before it."""

    position: int = 0
    crc: int = START_CHAIN


class Replica(Protocol):
    """A copy of the log that several processes share, and that decides which of them may append.

    A batch is the bytes of complete lines, exactly as they are in the segments, with the header of a segment that begins in it.
    Errors of every method: ReplicaFailed; then the log must be closed and opened again.
    """

    def end(self) -> LogEnd:
        """Return the end of the copy. Called when the log is opened."""
        ...

    def tail(self, after: int) -> Iterator[bytes]:
        """Yield the batches that end after this position, oldest first."""
        ...

    def append(self, lines: bytes, end: LogEnd) -> None:
        """Store a batch durably, only if nobody else has appended since :meth:`end` or the last append. It ends at ``end``."""
        ...

    def fence(self, oldest: datetime) -> None:
        """Check that this process still owns the log. Called before each delivery of documents from ``oldest`` (UTC) on."""
        ...


def follow(replica: Replica, folder: Path, index: Path, files: Files) -> None:
    """Make the log in ``folder`` equal to the replica: read what is missing, and move aside first what the replica does not have.

    A segment that is moved aside gets another name and is never read again: the replica itself may be what was lost.

    Errors: ReplicaFailed, OSError, LogCorrupt if the replica itself is corrupt, or of a newer release.
    """
    wanted = replica.end()
    segments = Segments(folder, files)
    while True:
        local = _local_end(segments)
        if local == wanted:
            return
        if local is not None and local.position < wanted.position:
            with contextlib.suppress(_Differs):
                _copy(replica, segments, files, local)
                segments.refresh()
                if _local_end(segments) == wanted:
                    return
                _refuse_newer(segments, files)
        if local == LogEnd():
            segments.refresh()
            for (
                copied
            ) in segments.all():  # it is in the replica; without this, each attempt leaves another set of files
                files.remove(copied.path)
            raise LogCorrupt(
                "the stored copy of the event log does not fit together",
                path=str(folder), line=1, position=wanted.position,
                remedy='What to do: "A corrupt log" in docs/user/fleet-trouble.md.',
            )  # fmt: skip
        remove_index(index)
        last = segments.all()[-1]
        if _is_without_records(segments, last):  # of a log that nothing was appended to yet
            files.remove(last.path)
        else:
            _move_aside(last.path, files)
        segments.refresh()


def _refuse_newer(segments: Segments, files: Files) -> None:
    """Remove what was copied of a newer release: it is still in the replica. Errors: LogCorrupt if there is any."""
    try:
        segments.check_release()
    except LogCorrupt:
        for segment in segments.all():
            header = segments.header(segment)
            if header is not None and header.format > FORMAT:
                files.remove(segment.path)
        raise


def has_all_of(replica: Replica, end: LogEnd, folder: Path, files: Files) -> bool:
    """Whether the replica, which ends at ``end``, has every line of the log in ``folder``, also of segments that were moved aside.

    False, too, if the local log is corrupt. Nothing is changed. Errors: ReplicaFailed, OSError.
    """
    if not folder.exists():
        return True
    if any(name.startswith(MOVED_ASIDE) for name in files.names(folder)):
        return False
    segments = Segments(folder, files)
    try:
        local = _local_end(segments)
    except LogCorrupt:
        return False
    is_empty = len(segments.all()) == 1 and _is_without_records(segments, segments.all()[0])
    if is_empty or local in (LogEnd(), end):
        return True
    if local is None or local.position > end.position:
        return False
    lines = (line for batch in replica.tail(local.position - 1) for line in batch.splitlines(keepends=True))
    return any(stored_crc(line) == local.crc and _end_position(line) == local.position for line in lines)


def _end_position(line: bytes) -> int:
    record = line[RECORD_OFFSET:-2]
    return position_after(position_of(record), record) - 1


def _move_aside(path: Path, files: Files) -> None:
    names, number = set(files.names(path.parent)), 1
    while (name := f"{MOVED_ASIDE}{number}-{path.name}") in names:
        number += 1
    files.rename(path, path.with_name(name))
    files.sync_folder(path.parent)
    log.warning("%s is not in the stored copy of the event log. It was renamed to %s.", path, name)


class _Differs(Exception):
    """The next line of the replica does not continue the local log."""


def _local_end(segments: Segments) -> LogEnd | None:
    """Return the end of the local log; None if its last segment is corrupt, or has only a header."""
    found = segments.all()
    if not found:
        return LogEnd()
    segments.log_id = segments.find_log_id()
    last: Line | None = None
    for item in segments.walk(found[-1]):
        if not isinstance(item, Line):
            return None
        last = item
    return None if last is None else LogEnd(position_after(last.position, last.record) - 1, last.crc)


def _is_without_records(segments: Segments, segment: Segment) -> bool:
    """Whether a segment has a header only, which is intact."""
    return segments.header(segment) is not None and next(segments.walk(segment), None) is None


def _copy(replica: Replica, segments: Segments, files: Files, local: LogEnd) -> None:
    """Append the replica's lines after ``local``. Errors: _Differs if one does not continue the line before."""
    known = segments.all()
    crc = local.crc
    with contextlib.ExitStack() as stack:
        file: AppendFile | None = None
        if known and not known[-1].packed:
            file = files.open_append(known[-1].path)
            stack.callback(file.close)
        for batch in replica.tail(local.position):
            for line in batch.splitlines(keepends=True):
                if not is_intact(line, crc):
                    raise _Differs
                crc = stored_crc(line) or 0
            first = _begins_segment(batch)
            if first is not None:
                stack.close()
                file = files.open_append(segments.path_for(first))
                stack.callback(file.close)
            if file is None:
                raise _Differs
            file.write(batch)
            file.sync()
        files.sync_folder(segments.folder)


def _begins_segment(batch: bytes) -> int | None:
    """Return the first position of the segment that begins with this batch; None: it continues one."""
    header = parse_header(batch[RECORD_OFFSET : batch.index(b"\n") - 1])
    return None if header is None else header.first
