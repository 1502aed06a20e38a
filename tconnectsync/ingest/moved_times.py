"""Notice that a source gives known events other times: the vendor changed what its times mean, such as local time to UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from tconnectsync.errors import SourceChanged
from tconnectsync.eventlog import EventLog
from tconnectsync.events import Event

SAME_WITHIN = timedelta(minutes=1)
"""A time without seconds is up to 59 seconds early."""
MOST = timedelta(hours=26)
"""Between the outermost zones. A larger difference is another event under the same number."""
FEWEST = 3


def check_times(log: EventLog, events: Sequence[Event]) -> None:
    """Raise SourceChanged if most of those ``events`` that the log has already come with another pump time.

    The new ones among them would be as wrong, and stay so: the log keeps the first time of an event.
    """
    numbered: dict[tuple[str, int | None], dict[int, datetime]] = {}
    for event in events:
        if event.seq is not None:
            numbered.setdefault((event.pump, event.group), {})[event.seq] = event.pump_time
    known, moved = 0, []
    for stream in log.streams() if numbered else ():
        told = numbered.get((stream.pump, stream.group)) if stream.numbered else None
        if told is None or stream.last_key < min(told):
            continue
        for number, stored in log.times(stream.id, None, min(told), max(told)):
            if number in told:
                known += 1
                if SAME_WITHIN <= abs(told[number] - stored) <= MOST:
                    moved.append((number, stored, told[number]))
    if len(moved) < FEWEST or 2 * len(moved) <= known:
        return
    number, before, now = moved[0]
    raise SourceChanged(
        f"the times of known records have changed: {len(moved):,} of {known:,} have another time than before"
        f" (record {number} was at {before:%Y-%m-%d %H:%M}, now {now:%Y-%m-%d %H:%M})",
        remedy="Nothing of this answer was stored, because its times may be wrong. It is requested again about once an hour."
        " Look for a newer release of tconnectsync.",
    )
