"""Moves a whole log into a replica, and out of it into a backup file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tconnectsync.clock import Clock
from tconnectsync.errors import RequestRefused
from tconnectsync.eventlog.backup import Backup, back_up
from tconnectsync.eventlog.compression import unpack
from tconnectsync.eventlog.framing import RECORD_OFFSET, Line, position_after, walk
from tconnectsync.eventlog.replica import LogEnd, Replica, follow
from tconnectsync.eventlog.snapshot import copy_of_log
from tconnectsync.filesystem import OsFiles

BATCH_BYTES = 256 << 10
"""A batch is at least this long, if there is so much."""


def batches_after(data_dir: Path, end: LogEnd, *, remedy: str) -> Iterator[tuple[bytes, LogEnd]]:
    """Yield what the log of ``data_dir`` has after ``end``, in batches for a replica, and where each ends.

    Errors: RequestRefused with ``remedy`` before the first batch, if the log does not contain ``end``; LogCorrupt, OSError.
    """
    copy = copy_of_log(data_dir)
    if copy is None:
        raise RequestRefused(f"There is no event log in {data_dir}. Nothing was changed.", remedy=remedy)
    begun = end == LogEnd()
    for name, content in copy.contents():
        if not name.endswith((".jsonl", ".jsonl.gz")):
            continue
        text = unpack(content) if name.endswith(".gz") else content
        start = stop = 0
        here = LogEnd()
        for line in walk(text, int(name[:12])):
            if not isinstance(line, Line):
                raise RuntimeError("contents() has verified this segment")
            stop = line.offset + RECORD_OFFSET + len(line.record) + len(b"}\n")
            here = LogEnd(position_after(line.position, line.record) - 1, line.crc)
            if not begun:
                begun, start = here == end, stop
            elif stop - start >= BATCH_BYTES:
                yield text[start:stop], here
                start = stop
        if begun and stop > start:
            yield text[start:stop], here
    if not begun:
        raise RequestRefused(
            f"The log in {data_dir} is not the one of the stored copy, or it is older than the copy. Nothing was changed.",
            remedy=remedy,
        )


def back_up_replica(replica: Replica, target: Path, *, clock: Clock) -> Backup:
    """Write the log of a replica to a backup file: see :func:`tconnectsync.eventlog.backup.back_up`.

    Errors: ReplicaFailed, LogCorrupt, RequestRefused, MachineTrouble.
    """
    with tempfile.TemporaryDirectory(prefix="tconnectsync-") as temporary:
        folder, files = Path(temporary), OsFiles()
        files.make_folder(folder / "log")
        follow(replica, folder / "log", folder / "index.sqlite", files)
        return back_up(folder, target, clock=clock)
