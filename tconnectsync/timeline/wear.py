"""Which of several pumps is worn: the one that last showed a bolus, a fill or a glucose reading."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TypeVar

import attrs

from tconnectsync.timeline.spans import Span

WearSpan = Span
"""A stretch in which a stream is the worn one; None is open."""

BEFORE_ALL = datetime(1970, 1, 1, tzinfo=timezone.utc)
"""Before any event: where a stream that is not worn from its beginning says so."""

Name = TypeVar("Name", bound=Hashable)


@attrs.frozen(kw_only=True)
class WearRange:
    """Wear marks of a stream from ``first`` to ``last``, both inclusive, UTC; no other range of the stream overlaps it.

    ``between(begin, end)`` answers the marks with begin <= time <= end, ``after(at)`` the first one later than ``at``. They are
    only called where ranges of several streams overlap, so a pump that followed another costs nothing.
    """

    first: datetime
    last: datetime
    between: Callable[[datetime, datetime], Iterable[datetime]]
    after: Callable[[datetime], datetime | None]


def active_spans(ranges: Mapping[Name, Sequence[WearRange]]) -> dict[Name, tuple[WearSpan, ...]]:
    """When each stream is the worn one: at any time the one with the latest mark at or before it; before all marks, the first.

    Of marks at the same instant the stream that comes last in ``ranges`` wins, so callers give a stable order. Where nobody
    has a mark, the first stream counts as worn: drawing two pumps' insulin would double it.
    """
    order = {name: place for place, name in enumerate(ranges)}
    spans: dict[Name, list[WearSpan]] = {name: [] for name in ranges}
    changes = _hand_overs(ranges, order)
    if not changes:
        changes = [(BEFORE_ALL, next(iter(ranges)))] if ranges else []
    for i, (begin, name) in enumerate(changes):
        end = changes[i + 1][0] if i + 1 < len(changes) else None
        spans[name].append(Span(begin=None if i == 0 else begin, end=end))
    return {name: tuple(found) for name, found in spans.items()}


def wear_changes(spans: Sequence[WearSpan]) -> tuple[tuple[datetime, str], ...]:
    """A stream's hand-overs in order of time: (UTC, "wear.began" or "wear.ended").

    A fold takes a pump for worn until it hears otherwise, so a stream that is not worn first begins with an end.
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
    """(UTC, stream) wherever another stream's mark follows, the first mark of all included."""
    marks: list[tuple[datetime, int, Name]] = []
    for name, each in ranges.items():
        for range_ in each:
            found = {range_.first, range_.last}
            for begin, end in _overlaps(name, range_, ranges):
                found.update(range_.between(begin, end))
                found.add(range_.after(end) or range_.last)
            marks += [(at, order[name], name) for at in found]
    worn: Name | None = None
    changes: list[tuple[datetime, Name]] = []
    for at, _, name in sorted(marks, key=lambda mark: mark[:2]):
        if worn is None or name != worn:
            if changes and changes[-1][0] == at:
                changes.pop()
            if not changes or changes[-1][1] != name:
                changes.append((at, name))
            worn = name
    return changes


def _overlaps(
    name: Name, range_: WearRange, ranges: Mapping[Name, Sequence[WearRange]]
) -> list[tuple[datetime, datetime]]:
    """Where this range's own marks decide, because another stream's range overlaps it."""
    return _merge(
        (max(rival.first, range_.first), min(rival.last, range_.last))
        for other, each in ranges.items()
        if other != name
        for rival in each
        if rival.last >= range_.first and rival.first <= range_.last
    )


def _merge(stretches: Iterable[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    joined: list[tuple[datetime, datetime]] = []
    for begin, end in sorted(stretches):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((begin, end))
    return joined
