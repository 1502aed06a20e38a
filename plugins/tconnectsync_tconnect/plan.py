"""Which days to ask for, and what the log says was asked already.

Days are the wearer's own, as far as known: the configured zone's. Every day from the horizon on is fetched once; the last days
again when something was uploaded since, else when they were not asked for during some hours; the last week once a day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, TypeAlias

import attrs

from tconnectsync import Event, History

Window: TypeAlias = tuple[date, date]
"""First and last day, both inclusive."""

MOST_DAYS = 2
OVERLAP_DAYS = 2
REFRESH_DAYS = 7
REFRESH = timedelta(hours=24)
WINDOWS_READ = 1_000
_DAY = timedelta(days=1)


@attrs.frozen
class Fetched:
    """When a day was fetched last, and the upload that was known then."""

    at: datetime
    uploaded_at: datetime | None


@attrs.frozen(kw_only=True)
class Position:
    """What the log says of one pump's past. Days before ``whole_before`` count as fetched: that is too long ago to look at."""

    days: Mapping[date, Fetched]
    horizon: date | None
    upload: Event | None
    whole_before: date | None = None

    @property
    def uploaded_at(self) -> datetime | None:
        return None if self.upload is None else self.upload.body.uploaded_at

    def knows(self, index: Mapping[str, Any]) -> bool:
        """Whether the upload that was seen last had this index."""
        seen = None if self.upload is None else self.upload.raw
        return seen is not None and seen.get("maxPumpEventIndex") == index["maxPumpEventIndex"]


def position_of(pump: str, history: History) -> Position:
    """Read from the log: it is the source's only memory."""
    days: dict[date, Fetched] = {}
    facts = history.facts("window.fetched", pump=pump, limit=WINDOWS_READ)
    firsts = []
    for fact in facts:
        try:
            first, last = date.fromisoformat(fact.body.first_day), date.fromisoformat(fact.body.last_day)
        except ValueError:
            continue
        firsts.append(first)
        for day in days_between(first, last):
            days.setdefault(day, Fetched(fact.received_at, fact.body.uploaded_at))
    opened = [
        date.fromisoformat(fact.body.first_day)
        for fact in history.facts("history.opened", pump=pump)
        if fact.body.last_day is None
    ]
    uploads = history.facts("upload.seen", pump=pump, limit=1)
    return Position(
        days=days,
        horizon=opened[-1] if opened else None,
        upload=uploads[0] if uploads else None,
        whole_before=min(firsts) if len(facts) >= WINDOWS_READ and firsts else None,
    )


def windows(
    position: Position, start: date, now: datetime, today: date, uploaded_at: datetime | None, unasked: timedelta
) -> list[Window]:
    """What to ask for now, oldest first. ``unasked``: the longest time without asking for the last days."""
    due = {day for day in days_between(start, today) if _due(day, position, now, today, uploaded_at, unasked)}
    if today in due:
        due.add(today + _DAY)  # wearers east of here
    return cut(due)


def _due(
    day: date, position: Position, now: datetime, today: date, uploaded_at: datetime | None, unasked: timedelta
) -> bool:
    fetched = position.days.get(day)
    if fetched is None:
        return not (position.whole_before is not None and day < position.whole_before)
    age = now - fetched.at
    if age < timedelta(0):  # written by a clock that was ahead: worth nothing
        return True
    known = fetched.at.date() - (OVERLAP_DAYS + 1) * _DAY
    if day >= known and (fetched.uploaded_at != uploaded_at or age >= unasked):
        return True
    return age >= REFRESH and day >= today - REFRESH_DAYS * _DAY


def days_between(first: date, last: date) -> list[date]:
    """Every day from ``first`` to ``last``, both inclusive."""
    return [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)]


def cut(days: Iterable[date]) -> list[Window]:
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
