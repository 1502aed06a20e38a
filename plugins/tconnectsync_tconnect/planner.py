"""Which days to ask for, and what the log says was asked already.

Days are the wearer's own, as far as known: the configured zone's. Every day from the horizon on is fetched once; then again

- when something was uploaded since: back to two days before the newest data that came, and before what was known then;
- the last days when they were not asked for during some hours, whatever was uploaded;
- once a day the last week, once a week the last four: uploads that the phone kept for long.

The day before goes with each: only its rows tell what a sleep, a suspension or a rate that ends in the morning began as.
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
"""How long after it was fetched a day is fetched again, for days up to so many days ago."""
WINDOWS_READ = 1_000
_DAY = timedelta(days=1)


@attrs.frozen
class FetchedLegacyDay:
    """When a day was fetched last, the upload that was known then, and whether anything came."""

    at: datetime
    uploaded_at: datetime | None
    brought: bool


@attrs.frozen(kw_only=True)
class Position:
    """What the log says of one pump's past. Days before ``whole_before`` count as fetched: that is too long ago to look at."""

    days: Mapping[date, FetchedLegacyDay]
    whole_before: date | None = None


def knows_upload(pump: str, index: Mapping[str, Any], history: History) -> bool:
    """Whether the upload that was seen last had this index."""
    seen = history.facts("upload.seen", pump=pump, limit=1)
    return any((fact.raw or {}).get("maxPumpEventIndex") == index["maxPumpEventIndex"] for fact in seen)


def horizon_of(pump: str, history: History) -> date | None:
    """The first day that is wanted for good, if the log says so already."""
    opened = [
        date.fromisoformat(fact.body.first_day)
        for fact in history.facts("history.opened", pump=pump)
        if fact.body.last_day is None
    ]
    return opened[-1] if opened else None


def position_of(pump: str, history: History) -> Position:
    """Read from the log: it is the source's only memory."""
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
    """What is known when it is planned. ``unasked``: the longest time without asking for the last days."""

    now: datetime
    today: date
    uploaded_at: datetime | None
    unasked: timedelta


def windows(position: Position, start: date, moment: PlanInputs) -> list[Window]:
    """What to ask for now from ``start`` on, oldest first."""
    brought = [day for day, fetched in position.days.items() if fetched.brought]
    empty_since = max((day for day in brought if day <= moment.today), default=start)
    due = {day for day in days_between(start, moment.today) if _due(day, position, moment, empty_since)}
    due |= {day - _DAY for day in due if day > start}  # there began what lasts over midnight
    if moment.today in due:
        due.add(moment.today + _DAY)  # wearers east of here
    return split_into_windows(due)


def _due(day: date, position: Position, moment: PlanInputs, empty_since: date) -> bool:
    fetched = position.days.get(day)
    if fetched is None:
        return not (position.whole_before is not None and day < position.whole_before)
    age = moment.now - fetched.at
    if age < timedelta(0):  # written by a clock that was ahead: worth nothing
        return True
    known = fetched.at.date() - _DAY  # whichever day that was for the wearer
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
    """Days as windows of at most two, oldest first."""
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
