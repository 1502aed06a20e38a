"""What repairs took out of the log: where nothing may be taken back for it, and the days that a source fetches again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone

import attrs

from tconnectsync.eventlog import EventLog
from tconnectsync.events import Event
from tconnectsync.outbox import milliseconds

MARGIN = timedelta(days=2)
"""Around what a gap says of its time, which is the pump's wall clock: a zone, and documents that began before the gap."""
MAX_DAYS = 28
"""Days per stretch: after each it is remembered how far fetching again has come."""
_DAY = timedelta(days=1)
_EARLIEST = datetime(2008, 1, 1, tzinfo=timezone.utc)
_MAX_GAPS = 1000


@attrs.frozen(kw_only=True)
class RefetchRange:
    """Pump-local days, both inclusive, of which a gap (``name``) took events."""

    name: str
    first: date
    last: date


def gap_records(events: EventLog) -> list[Event]:
    """The log's gap records, newest first."""
    return events.facts("log.gap", limit=_MAX_GAPS)


def gap_spans_ms(gaps: Sequence[Event]) -> list[tuple[int, int]]:
    """The stretches (ms since 1970, UTC) in which a repaired log forbids withdrawals."""
    spans = [_span(gap) for gap in gaps]
    return [(milliseconds(first), milliseconds(last)) for first, last in spans]


def open_gaps_by_source(
    events: EventLog, refetched_until: Mapping[str, Mapping[str, str]]
) -> Callable[[str], tuple[tuple[int, int], ...]]:
    """By a stream's source: the stretches of those gaps whose days it has not fetched again.

    ``mended`` by source, as :func:`next_missing` takes it. Of a source that is not in it nobody fetches anything: all gaps.
    """
    gaps = gap_records(events)
    opened = {source: events.facts("history.opened", source=source, limit=10_000) for source in refetched_until if gaps}
    everywhere = tuple(gap_spans_ms(gaps))
    waiting = {
        source: tuple(
            gap_spans_ms(
                [
                    gap
                    for gap in gaps
                    if _days_to_fetch(gap, opened[source], refetched_until[source].get(_name(gap), ""))
                ]
            )
        )
        for source in opened
    }
    return lambda source: waiting.get(source, everywhere)


def next_refetch(events: EventLog, source: str, refetched_until: Mapping[str, str]) -> RefetchRange | None:
    """What ``source`` should fetch again next; None when that is done.

    Only days that are wanted (``history.opened``), oldest gap first. ``mended``: the last day (ISO) that was fetched again,
    by the gap's name. LogCorrupt where a record that it needs is damaged.
    """
    gaps = gap_records(events)
    opened = events.facts("history.opened", source=source, limit=10_000) if gaps else []
    for gap in reversed(gaps):
        name = _name(gap)
        days = _days_to_fetch(gap, opened, refetched_until.get(name, ""))
        if days:
            together = [day for number, day in enumerate(days[:MAX_DAYS]) if day == days[0] + number * _DAY]
            return RefetchRange(name=name, first=together[0], last=together[-1])
    return None


def _name(gap: Event) -> str:
    return f"{gap.body.first_position}-{gap.body.last_position}"


def _days_to_fetch(gap: Event, opened: Sequence[Event], done: str) -> list[date]:
    return [day for day in _days(gap, opened) if day.isoformat() > done]


def _span(gap: Event) -> tuple[datetime, datetime]:
    return (gap.body.first_time or _EARLIEST) - MARGIN, (gap.body.last_time or gap.received_at) + MARGIN


def _days(gap: Event, opened: Sequence[Event]) -> list[date]:
    """The days of a gap that are wanted, oldest first; nothing that was lost is later than the repair."""
    first, last = (moment.date() for moment in _span(gap))
    last = min(last, gap.received_at.date() + _DAY)
    wanted = [
        (date.fromisoformat(fact.body.first_day), date.fromisoformat(fact.body.last_day or "9999-12-31"))
        for fact in opened
    ]
    first = max(first, min((begin for begin, _ in wanted), default=last - MAX_DAYS * _DAY))
    days = [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)]
    return [day for day in days if not wanted or any(begin <= day <= end for begin, end in wanted)]
