"""Shared by the importers of Tandem's files: the serial number, batches of events, and notes about skipped parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from tconnectsync import Batch, Event, FileUnreadable, ImportOptions
from tconnectsync_tandem.api.pumps import is_serial
from tconnectsync_tandem.decode.event_factory import make_event

AT_ONCE = 2_000
"""Entries in one batch."""
_LOOKED_AT = 400
"""If a file is only scanned, one of this many entries is decoded, and the first of each device."""
_POSITIONS_SHOWN = 5

Entry = TypeVar("Entry")


def batches(
    entries: Iterable[Entry],
    options: ImportOptions,
    note: Callable[[int], str],
    *,
    entry_of: Callable[[Entry], Any],
    device_of: Callable[[Entry], object],
) -> Iterator[Batch]:
    """Yield the events of the entries in batches; ``note`` describes the first entries so far.

    Errors: FileUnreadable.
    """
    pump = pump_of(options)
    events: list[Event] = []
    devices: set[object] = set()
    count = 0
    for count, one in enumerate(entries, start=1):
        device = device_of(one)
        if not options.check_only or count % _LOOKED_AT == 1 or device not in devices:
            devices.add(device)
            events.append(make_event(entry_of(one), pump=pump, received_at=options.received_at)[0])
        if count % AT_ONCE == 0:
            yield Batch(events=events, note=note(count))
            events = []
    yield Batch(events=events, note=note(count))


def pump_of(options: ImportOptions) -> str:
    """Return the serial number given to the command, for files that have none. Errors: FileUnreadable."""
    if options.pump is None:
        raise FileUnreadable(
            "This file does not contain the pump's serial number.",
            remedy="Give the serial number on the pump's back: `tconnectsync import FILE --pump SERIAL`. A wrong one duplicates"
            " doses.",
        )
    if not is_serial(options.pump):
        raise FileUnreadable(
            f'"{options.pump[:40]}" is not a serial number of a pump.',
            remedy="Give it as printed on the back of the pump: `--pump SERIAL`.",
        )
    return options.pump


def left_out(skipped: Sequence[int]) -> str:
    """Text for the end of a note: where in the file corrupt parts are."""
    if not skipped:
        return ""
    shown = ", ".join(f"{position:,}" for position in skipped[:_POSITIONS_SHOWN])
    more = len(skipped) - _POSITIONS_SHOWN
    return f"; corrupt parts were skipped at byte {shown}{f' and {more} more places' if more > 0 else ''}"
