"""Plan which days to fetch, and read from the log which days were fetched.

Days are days in the configured time zone. Every day from the horizon on is fetched once. It is fetched again

- after an upload: back to two days before the newest data, and before the data known then;
- the last days, if they were not fetched for some hours;
- once a day for the last week, once a week for the last four weeks: the phone may hold uploads for long.

The day before is fetched too: its rows tell how a sleep, a suspension or a rate that ends in the morning began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeAlias

import attrs

from tconnectsync import History

Window: TypeAlias = tuple[date, date]
"""First and last day, both inclusive."""

MOST_DAYS = 2
OVERLAP_DAYS = 2
REFRESH = ((timedelta(hours=24), 7), (timedelta(days=7), 26))
"""How long after a fetch a day is fetched again, for days up to this many days ago."""
WINDOWS_READ = 1_000
OPENED_READ = 10_000
_DAY = timedelta(days=1)


@attrs.frozen
class FetchedLegacyDay:
    """When a day was last fetched, the upload known then, and whether it had data."""

    at: datetime
    uploaded_at: datetime | None
    brought: bool


@attrs.frozen(kw_only=True)
class Position:
    """What the log says about one pump. Days before ``whole_before`` count as fetched: they are too old to read."""

    days: Mapping[date, FetchedLegacyDay]
    whole_before: date | None = None


def knows_upload(pump: str, index: Mapping[str, Any], history: History) -> bool:
    """Whether the last known upload had this index."""
    seen = history.facts("upload.seen", pump=pump, limit=1)
    return any((fact.raw or {}).get("maxPumpEventIndex") == index["maxPumpEventIndex"] for fact in seen)


def horizon_of(pump: str, history: History) -> date | None:
    """The first day to deliver, if the log has it."""
    opened = [
        date.fromisoformat(fact.body.first_day)
        for fact in history.facts("history.opened", pump=pump, limit=OPENED_READ)
        if fact.body.last_day is None
    ]
    return opened[-1] if opened else None


def position_of(pump: str, history: History) -> Position:
    """Read the position from the log, the source's only memory."""
    days: dict[date, FetchedLegacyDay] = {}
    facts = history.facts("window.fetched", pump=pump, limit=WINDOWS_READ)
    firsts = []
    for fact in facts:
        try:
            first, last = date.fromisoformat(fact.body.first_day), date.fromisoformat(fact.body.last_day)
        except ValueError:
            continue
        firsts.append(first)
        for day in days_between(first, last):
            days.setdefault(day, FetchedLegacyDay(fact.received_at, fact.body.uploaded_at, fact.body.event_count > 0))
    return Position(
        days=days,
        whole_before=min(firsts) if len(facts) >= WINDOWS_READ and firsts else None,
    )


@attrs.frozen(kw_only=True)
class PlanInputs:
    """The inputs of a plan. ``unasked``: the longest time without fetching the last days."""

    now: datetime
    today: date
    uploaded_at: datetime | None
    unasked: timedelta


def windows(position: Position, start: date, moment: PlanInputs) -> list[Window]:
    """Return the windows to fetch now from ``start`` on, oldest first."""
    brought = [day for day, fetched in position.days.items() if fetched.brought]
    empty_since = max((day for day in brought if day <= moment.today), default=start)
    due = {day for day in days_between(start, moment.today) if _due(day, position, moment, empty_since)}
    due |= {day - _DAY for day in due if day > start}  # there begins what lasts over midnight
    if moment.today in due:
        due.add(moment.today + _DAY)  # users further east
    return split_into_windows(due)


def _due(day: date, position: Position, moment: PlanInputs, empty_since: date) -> bool:
    fetched = position.days.get(day)
    if fetched is None:
        return not (position.whole_before is not None and day < position.whole_before)
    age = moment.now - fetched.at
    if age < timedelta(0):  # written while this clock was ahead: not reliable
        return True
    known = fetched.at.date() - _DAY  # whichever day it was in the user's time zone
    if fetched.uploaded_at != moment.uploaded_at:
        before = known if fetched.uploaded_at is None else min(known, fetched.uploaded_at.date() - _DAY)
        if day >= min(before, empty_since) - OVERLAP_DAYS * _DAY:
            return True
    if age >= moment.unasked and day >= known - OVERLAP_DAYS * _DAY:
        return True
    return any(age >= every and day >= moment.today - back * _DAY for every, back in REFRESH)


def days_between(first: date, last: date) -> list[date]:
    """Every day from ``first`` to ``last``, both inclusive."""
    return [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)]


def split_into_windows(days: Iterable[date]) -> list[Window]:
    """Group days into windows of at most two, oldest first."""
    found: list[Window] = []
    for day in sorted(days):
        if found and (day - found[-1][1]).days == 1 and (day - found[-1][0]).days < MOST_DAYS:
            found[-1] = (found[-1][0], day)
        else:
            found.append((day, day))
    return found


def follows(before: Sequence[Window], window: Window) -> bool:
    """Whether a window begins on the day after the last one."""
    return bool(before) and (window[0] - before[-1][1]).days == 1
