"""Files with saved answers of Tandem's JSON API, read into the events that the source makes of the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from tconnectsync import BadFile, Batch, Event, ImportOptions
from tconnectsync_tandem.envelope import make_event
from tconnectsync_tandem.pumps import is_serial
from tconnectsync_tandem.saved_json import EntryReader

AT_ONCE = 1_000
"""Events in one batch."""
_POSITIONS_SHOWN = 5
_BLANK = b" \t\r\n[\xef\xbb\xbf"


def recognises(head: bytes) -> bool:
    """Whether a file that begins with ``head`` holds such answers: an object with their lists, or a list of some."""
    return head.lstrip(_BLANK)[:1] == b"{" and (b'"events"' in head or b'"clockChanges"' in head)


def read(stream: BinaryIO, options: ImportOptions) -> Iterator[Batch]:
    """The events of every entry, under the same ids as the source's. Errors: BadFile."""
    pump = _pump(options)
    reader = EntryReader(stream=stream, skip_bad=options.skip_bad)
    events: list[Event] = []
    count = 0
    for entry in reader.entries():
        event, _ = make_event(entry.value, pump=pump, received_at=options.received_at)
        events.append(event)
        count += 1
        if len(events) == AT_ONCE:
            yield Batch(events=events, note=_note(pump, count, reader))
            events = []
    yield Batch(events=events, note=_note(pump, count, reader))


def _pump(options: ImportOptions) -> str:
    if options.pump is None:
        raise BadFile(
            "Saved answers do not say of which pump they are.",
            remedy="Give the serial number on the pump's back: `tconnectsync import FILE --pump SERIAL`. A wrong one doubles"
            " doses.",
        )
    if not is_serial(options.pump):
        raise BadFile(
            f'"{options.pump[:40]}" is no serial number of a pump.',
            remedy="Give it as on the pump's back: `--pump SERIAL`.",
        )
    return options.pump


def _note(pump: str, count: int, reader: EntryReader) -> str:
    note = f"pump {pump}, {count:,} entries of {reader.answers:,} saved answers"
    if not reader.skipped:
        return note
    shown = ", ".join(f"{position:,}" for position in reader.skipped[:_POSITIONS_SHOWN])
    more = len(reader.skipped) - _POSITIONS_SHOWN
    return f"{note}; damaged parts were left out at byte {shown}{f' and {more} more places' if more > 0 else ''}"
