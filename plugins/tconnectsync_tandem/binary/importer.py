"""Files of history-log records, read into the events that the source makes of the JSON API's entries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from typing import BinaryIO

from tconnectsync import Batch, Event, ImportOptions
from tconnectsync_tandem.binary.record import EPOCH, entry_of
from tconnectsync_tandem.binary.splitting import RecordReader, holds_records, is_text
from tconnectsync_tandem.envelope import make_event
from tconnectsync_tandem.saved import AT_ONCE, left_out, pump_of

_FUTURE = timedelta(days=366)
"""So far a pump's clock may be ahead; what is later is damage."""
_CHUNK = 1 << 16

recognises = holds_records


def read(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    """The events of every record, under the same ids as the source's. Errors: BadFile."""
    pump = pump_of(options)
    head = stream.read(_CHUNK)
    latest = options.received_at.replace(tzinfo=None) + _FUTURE - EPOCH
    reader = RecordReader(
        chunks=chain([head], iter(lambda: stream.read(_CHUNK), b"")),
        text=is_text(head),
        latest_s=int(latest.total_seconds()),
        skip_bad=options.skip_bad,
    )
    events: list[Event] = []
    count = 0
    for record in reader.records():
        event, _ = make_event(entry_of(record), pump=pump, received_at=options.received_at)
        events.append(event)
        count += 1
        if len(events) == AT_ONCE:
            yield Batch(events=events, note=_note(pump, count, reader))
            events = []
    yield Batch(events=events, note=_note(pump, count, reader))


def _note(pump: str, count: int, reader: RecordReader) -> str:
    return f"pump {pump}, {count:,} records of its history log{left_out(reader.skipped)}"
