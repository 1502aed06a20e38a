"""Decides which of several pumps is the active one: the pump with the latest bolus, fill or glucose reading."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TypeVar

import msgspec

from tconnectsync.timeline.spans import Span

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=timezone.utc)
"""Before any event. A stream that is not active from its start has its first ``wear.ended`` here."""

Name = TypeVar("Name", bound=Hashable)


class WearRange(msgspec.Struct, frozen=True, kw_only=True):
    """Wear marks of a stream from ``first`` to ``last``, both inclusive, UTC. No other range of the stream overlaps it.

    ``between(begin, end)`` returns the marks with begin <= time <= end, ``after(at)`` the first one later than ``at``. They are
    called only if ranges of several streams overlap, so pumps that follow each other cost nothing.
    """

    first: datetime
    last: datetime
    between: Callable[[datetime, datetime], Iterable[datetime]]
    after: Callable[[datetime], datetime | None]


def active_spans(ranges: Mapping[Name, Sequence[WearRange]]) -> dict[Name, tuple[Span, ...]]:
    """Return when each stream is the active one: it has the latest mark so far. Before all marks, the first mark's stream is.

    For marks at the same time the last stream in ``ranges`` wins, so the order must be stable. If there are no marks, the first
    stream is active: delivering the insulin of two pumps would double it.
    """
    order = {name: number for number, name in enumerate(ranges)}
    spans: dict[Name, list[Span]] = {name: [] for name in ranges}
    changes = _hand_overs(ranges, order)
    if not changes:
        changes = [(BEFORE_ALL, next(iter(ranges)))] if ranges else []
    for i, (begin, name) in enumerate(changes):
        end = changes[i + 1][0] if i + 1 < len(changes) else None
        spans[name].append(Span(begin=None if i == 0 else begin, end=end))
    return {name: tuple(found) for name, found in spans.items()}


def wear_changes(spans: Sequence[Span]) -> tuple[tuple[datetime, str], ...]:
    """Return a stream's hand-overs in order of time: (UTC, "wear.began" or "wear.ended").

    A fold assumes that a pump is active until ``wear.ended``. So a stream that is not active at its start begins with that.
    """
    changes: list[tuple[datetime, str]] = []
    if not spans or spans[0].begin is not None:
        changes.append((BEFORE_ALL, "wear.ended"))
    for span in spans:
        if span.begin is not None:
            changes.append((span.begin, "wear.began"))
        if span.end is not None:
            changes.append((span.end, "wear.ended"))
    return tuple(changes)


def _hand_overs(ranges: Mapping[Name, Sequence[WearRange]], order: Mapping[Name, int]) -> list[tuple[datetime, Name]]:
    """Return (UTC, stream) for the first mark of all, and for each mark that follows one of another stream."""
    marks: list[tuple[datetime, int, Name]] = []
    for name, each in ranges.items():
        for range_ in each:
            found = {range_.first, range_.last}
            for begin, end in _overlaps(name, range_, ranges):
                found.update(range_.between(begin, end))
                found.add(range_.after(end) or range_.last)
            marks += [(at, order[name], name) for at in found]
    active: Name | None = None
    changes: list[tuple[datetime, Name]] = []
    for at, _, name in sorted(marks, key=lambda mark: mark[:2]):
        if active is None or name != active:
            if changes and changes[-1][0] == at:
                changes.pop()
            if not changes or changes[-1][1] != name:
                changes.append((at, name))
            active = name
    return changes


def _overlaps(
    name: Name, range_: WearRange, ranges: Mapping[Name, Sequence[WearRange]]
) -> list[tuple[datetime, datetime]]:
    """Return the periods in which other streams' ranges overlap this one, so that single marks decide."""
    return _merge(
        (max(rival.first, range_.first), min(rival.last, range_.last))
        for other, each in ranges.items()
        if other != name
        for rival in each
        if rival.last >= range_.first and rival.first <= range_.last
    )


def _merge(periods: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    joined: list[tuple[datetime, datetime]] = []
    for begin, end in sorted(periods):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
