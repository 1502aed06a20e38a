"""Intervals of a pump's order, and which invalid ones are folded together."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence

from tconnectsync.eventlog.codec import micros
from tconnectsync.events import Event
from tconnectsync.outbox.checkpoints import Checkpoints

NUMBERED_INTERVAL = 512
"""Sequence numbers per interval: about four hours of a pump."""
UNNUMBERED_INTERVAL = 6 * 3600 * 1000
"""Milliseconds of pump time per interval, for sources without numbers."""
IN_A_ROW = 8
"""How many intervals are folded together at most. More are hardly faster, and their events are in memory together."""


def order_key(event: Event) -> int:
    """Return the order key of an event: its number, else the pump's time in milliseconds."""
    return micros(event.pump_time) // 1000 if event.seq is None else event.seq


def interval_of(key: int, *, numbered: bool) -> int:
    """Return the interval of an order key."""
    return key // (NUMBERED_INTERVAL if numbered else UNNUMBERED_INTERVAL)


def keys_of(first: int, last: int, *, numbered: bool) -> tuple[int, int]:
    """Return the first order key of one interval and the last order key of another."""
    width = NUMBERED_INTERVAL if numbered else UNNUMBERED_INTERVAL
    return first * width, (last + 1) * width - 1


def next_rows(checkpoints: Checkpoints, blocked: Container[tuple[str, str]]) -> tuple[str, dict[str, list[int]]] | None:
    """Return a stream, and for each fold the invalid intervals that can be folded in a row, from the first one on.

    None: nothing is invalid, without the pairs ``blocked`` (stream, fold). A row ends where the state before the next interval
    is that of a valid checkpoint in between.
    """
    found = checkpoints.first_invalid(except_for=blocked)
    if found is None:
        return None
    stream, first, _ = found
    last = first
    rows: dict[str, list[int]] = {}
    for interval, fold in checkpoints.invalid_between(stream, first, first + IN_A_ROW - 1):
        if interval > last + 1:
            break
        last = interval
        if (stream, fold) not in blocked:
            rows.setdefault(fold, []).append(interval)
    return stream, {
        fold: _until_valid(row, checkpoints.folded(fold, stream, row[0], row[-1])) for fold, row in rows.items()
    }


def _until_valid(row: Sequence[int], folded: Iterable[int]) -> list[int]:
    """Return the intervals up to the first one in between that has a valid checkpoint."""
    valid = next((interval for interval in folded if interval not in row), row[-1] + 1)
    return [interval for interval in row if interval < valid]
