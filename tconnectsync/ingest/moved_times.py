"""Notices that a source sends known events with other times.

Either the vendor changed the meaning of times, such as local time to UTC, or the pump uses its numbers again for other events.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

from tconnectsync.errors import SourceChanged
from tconnectsync.eventlog import EventLog
from tconnectsync.events import Event

SAME_WITHIN = timedelta(minutes=1)
"""A time without seconds is up to 59 seconds early."""
MAX_SHIFT = timedelta(hours=26)
"""The largest difference of two zones. If the times differ by more, these are other events with the same numbers."""
MIN_MOVED = 3
MAX_GAP = 512
"""Numbers further apart are looked up apart: some answers repeat the clock changes of years beside the newest events."""


def check_times(log: EventLog, events: Sequence[Event]) -> None:
    """Raise SourceChanged if most of the ``events`` that the log has already have another pump time now.

    The new events would have wrong times too, for good: the log keeps the first time of an event. Other events with the same
    numbers would replace those of the log, or be dropped.
    """
    numbered: dict[tuple[str, int | None], dict[int, datetime]] = {}
    for event in events:
        if event.seq is not None:
            numbered.setdefault((event.pump, event.group), {})[event.seq] = event.pump_time
    known, moved = 0, []
    for stream in log.streams() if numbered else ():
        received = numbered.get((stream.pump, stream.group)) if stream.numbered else None
        if received is None or stream.last_key < min(received):
            continue
        for first, last in _ranges(received):
            for number, stored in log.times(stream.id, None, first, last):
                if number in received:
                    known += 1
                    if abs(received[number] - stored) >= SAME_WITHIN:
                        moved.append((number, stored, received[number]))
    if len(moved) < MIN_MOVED or 2 * len(moved) <= known:
        return
    number, before, now = moved[0]
    if abs(now - before) > MAX_SHIFT:
        raise SourceChanged(
            f"the pump's record numbers begin again: {len(moved):,} of {known:,} known numbers have another record than before"
            f" (record {number} was at {before:%Y-%m-%d %H:%M}, now {now:%Y-%m-%d %H:%M})",
            remedy="Nothing from this answer was stored, because it would replace other records. Please report this as a bug. If the"
            " pump was repaired or reset, a new, empty data folder with history_days that begin after that day reads its records.",
        )
    raise SourceChanged(
        f"the times of known records have changed: {len(moved):,} of {known:,} have a different time than before"
        f" (record {number} was at {before:%Y-%m-%d %H:%M}, now {now:%Y-%m-%d %H:%M})",
        remedy="Nothing from this answer was stored, because its times may be wrong. It is requested again about once an hour."
        " Check for a newer release of tconnectsync.",
    )


def _ranges(numbers: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of the ranges that hold all the numbers, without the large gaps between them."""
    ordered = sorted(numbers)
    first = ordered[0]
    for before, number in pairwise(ordered):
        if number - before > MAX_GAP:
            yield first, before
            first = number
    yield first, ordered[-1]
