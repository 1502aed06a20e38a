"""Files with saved answers of Tandem's JSON API, read into the events that the source makes of the same answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    pump = pump_of(options)
    reader = EntryReader(stream=stream, skip_bad=options.skip_bad)
    events: list[Event] = []
    count = 0
    for entry in reader.entries():
        event, _ = make_event(entry, pump=pump, received_at=options.received_at)
        events.append(event)
        count += 1
        if len(events) == AT_ONCE:
            yield Batch(events=events, note=_note(pump, count, reader))
            events = []
    yield Batch(events=events, note=_note(pump, count, reader))


def pump_of(options: ImportOptions) -> str:
    """The serial number that the command names, for files that name none. Errors: BadFile."""
    if options.pump is None:
        raise BadFile(
            "Such a file does not say of which pump it is.",
            remedy="Give the serial number on the pump's back: `tconnectsync import FILE --pump SERIAL`. A wrong one doubles"
            " doses.",
        )
    if not is_serial(options.pump):
        raise BadFile(
            f'"{options.pump[:40]}" is no serial number of a pump.',
            remedy="Give it as on the pump's back: `--pump SERIAL`.",
        )
    return options.pump


def left_out(skipped: Sequence[int]) -> str:
    """For the end of a note: where in the file the damaged parts are."""
    if not skipped:
        return ""
    shown = ", ".join(f"{position:,}" for position in skipped[:_POSITIONS_SHOWN])
    more = len(skipped) - _POSITIONS_SHOWN
    return f"; damaged parts were left out at byte {shown}{f' and {more} more places' if more > 0 else ''}"


def _note(pump: str, count: int, reader: EntryReader) -> str:
    return f"pump {pump}, {count:,} entries of {reader.answers:,} saved answers{left_out(reader.skipped)}"
