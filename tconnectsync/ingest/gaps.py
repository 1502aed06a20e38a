"""Gaps that repairs left in the log: days to fetch again, and periods in which nothing is withdrawn until then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone

import msgspec

from tconnectsync.clock import milliseconds
from tconnectsync.eventlog import EventLog
from tconnectsync.events import Event

MARGIN = timedelta(days=2)
"""Added around a gap's times: they are the pump's wall clock, and documents may begin before the gap."""
MAX_DAYS = 28
"""Days per fetch; the progress is stored after each."""
_DAY = timedelta(days=1)
_EARLIEST = datetime(2008, 1, 1, tzinfo=timezone.utc)
_MAX_GAPS = 1000


class RefetchRange(msgspec.Struct, frozen=True, kw_only=True):
    """Pump-local days, both inclusive, that may lack events because of the gap ``name``."""

    name: str
    first: date
    last: date


def open_gaps_by_source(
    events: EventLog, refetched_until: Mapping[str, Mapping[str, str]]
) -> Callable[[str], tuple[tuple[int, int], ...]]:
    """Return a function from a source's name to its open gaps: periods (ms since 1970, UTC) in which nothing is withdrawn.

    A gap is open until the source has fetched its days again. ``refetched_until`` by source: see :func:`next_refetch`. For a
    source that is not in it, all gaps are open.
    """
    gaps = _gaps(events)
    opened = {source: _opened(events, source) for source in refetched_until if gaps}
    open_gaps = {
        source: _periods_ms(gap for gap in gaps if _days_to_fetch(gap, facts, refetched_until[source]))
        for source, facts in opened.items()
    }
    all_gaps = _periods_ms(gaps)
    return lambda source: open_gaps.get(source, all_gaps)


def next_refetch(events: EventLog, source: str, refetched_until: Mapping[str, str]) -> RefetchRange | None:
    """Return the days that ``source`` should fetch again next; None if there are none.

    Only wanted days (``history.opened``), oldest gap first. ``refetched_until``: the last day (ISO) that was fetched again, by
    the gap's name. Errors: LogCorrupt if a record that it needs is corrupt.
    """
    gaps = _gaps(events)
    opened = _opened(events, source) if gaps else []
    for gap in reversed(gaps):
        days = _days_to_fetch(gap, opened, refetched_until)
        if days:
            consecutive = [day for number, day in enumerate(days[:MAX_DAYS]) if day == days[0] + number * _DAY]
            return RefetchRange(name=_name(gap), first=consecutive[0], last=consecutive[-1])
    return None


def _gaps(events: EventLog) -> list[Event]:
    return events.facts("log.gap", limit=_MAX_GAPS)


def _opened(events: EventLog, source: str) -> list[Event]:
    return events.facts("history.opened", source=source, limit=10_000)


def _name(gap: Event) -> str:
    return f"{gap.body.first_position}-{gap.body.last_position}"


def _period(gap: Event) -> tuple[datetime, datetime]:
    return (gap.body.first_time or _EARLIEST) - MARGIN, (gap.body.last_time or gap.received_at) + MARGIN


def _periods_ms(gaps: Iterable[Event]) -> tuple[tuple[int, int], ...]:
    return tuple((milliseconds(first), milliseconds(last)) for first, last in map(_period, gaps))


def _days_to_fetch(gap: Event, opened: Sequence[Event], refetched_until: Mapping[str, str]) -> list[date]:
    """Return the wanted days of a gap that were not fetched again, oldest first. No lost event is later than the repair."""
    first, last = (moment.date() for moment in _period(gap))
    last = min(last, gap.received_at.date() + _DAY)
    wanted = [
        (date.fromisoformat(fact.body.first_day), date.fromisoformat(fact.body.last_day or "9999-12-31"))
        for fact in opened
    ]
    first = max(first, min((begin for begin, _ in wanted), default=last - MAX_DAYS * _DAY))
    days = [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)]
    done = refetched_until.get(_name(gap), "")
    return [
        day
        for day in days
        if day.isoformat() > done and (not wanted or any(begin <= day <= end for begin, end in wanted))
    ]
