"""Import files of history-log records. The events are those of the JSON API."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from typing import BinaryIO

from tconnectsync import Batch, ImportOptions, counted
from tconnectsync_tandem.files.binary.record import EPOCH, entry_of
from tconnectsync_tandem.files.binary.record_reader import RecordReader, holds_records, is_text
from tconnectsync_tandem.files.imported import batches, left_out

_FUTURE = timedelta(days=366)
"""A pump's clock may be this far ahead; later times are corrupt."""
_CHUNK = 1 << 16

recognises = holds_records


def read(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    """Yield the events of every record, with the same ids as the source's. Errors: FileUnreadable."""
    head = stream.read(_CHUNK)
    latest = options.received_at.replace(tzinfo=None) + _FUTURE - EPOCH
    reader = RecordReader(
        chunks=chain([head], iter(lambda: stream.read(_CHUNK), b"")),
        text=is_text(head),
        latest_s=int(latest.total_seconds()),
        skip_bad=options.skip_bad,
    )

    def note(count: int) -> str:
        return f"pump {options.pump}, {counted(count, 'record')} of its history log{left_out(reader.skipped)}"

    return batches(reader.records(), options, note, entry_of=entry_of, device_of=lambda _record: None)
