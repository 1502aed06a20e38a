"""Plan which days to fetch, from earlier fetches, upload times and the current time. Pure functions.

Days are days in the configured time zone. Every day from the horizon on is fetched once. It is fetched again

- after an upload of the phone: back to two days before the data known so far (late batches may be older than the newest
  event; a phone that was away sends its backlog in several uploads); otherwise every six hours, whatever the upload
  times are (daily for pumps that are not in use);
- once a day for the last week, once a week for the last four weeks: the phone may hold batches for long;
- if it could not be read, until it can; if only few of its records could not, for a week;
- if the pump was there with a wrong date.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import attrs
import msgspec

from tconnectsync import Event
from tconnectsync_tandem.api.pumps import Pump

Window: TypeAlias = tuple[date, date]
"""First and last day, both inclusive."""

OVERLAP_DAYS = 2
LEAD_IN_DAYS = 1
UNASKED_FOR = timedelta(hours=6)
UNASKED_FOR_UNUSED = timedelta(hours=24)
UNUSED_AFTER = timedelta(days=7)
REFRESH = ((timedelta(hours=24), 7), (timedelta(days=7), 26))
"""How long after a fetch a day is fetched again, for days up to this many days ago.

So a batch that is two weeks late is found within a week, even if no upload time shows it.
"""

MOST_DAYS_AHEAD = 31
MOST_STRAY_DAYS = 31
_JOINED_GAP = 3
_DAY = timedelta(days=1)


class FetchedDay(msgspec.Struct, frozen=True):
    """When a day was last fetched, and the upload known then."""

    at: datetime
    uploaded_at: datetime | None


class Coverage(msgspec.Struct, frozen=True, kw_only=True):
    """Which days were fetched. Days before ``whole_before`` count as fetched: their events are too old to read.

    ``newest_of``: the newest time of the pump in each upload, by the time of the upload.
    """

    days: Mapping[date, FetchedDay]
    whole_before: date | None = None
    newest_of: Mapping[datetime, datetime] = {}


def coverage_of(facts: Sequence[Event], *, limit: int) -> Coverage:
    """Read the coverage from at most ``limit`` ``window.fetched`` events, newest first."""
    days: dict[date, FetchedDay] = {}
    first_days = []
    for fact in facts:
        try:
            first, last = date.fromisoformat(fact.body.first_day), date.fromisoformat(fact.body.last_day)
        except ValueError:
            continue
        first_days.append(first)
        fetched = FetchedDay(fact.received_at, fact.body.uploaded_at)
        for day in days_between(first, last):
            days.setdefault(day, fetched)
    return Coverage(days=days, whole_before=min(first_days) if len(facts) >= limit and first_days else None)


def newest_of_uploads(facts: Iterable[Event]) -> dict[datetime, datetime]:
    """The pump's newest time in each upload, by the time of the upload, from ``upload.seen`` events."""
    return {
        fact.body.uploaded_at: fact.body.newest_pump_time for fact in facts if fact.body.newest_pump_time is not None
    }


def local_day(at: datetime, zone_of: Callable[[Any], str]) -> date:
    """Return the day of a UTC time in the configured zone."""
    return at.astimezone(ZoneInfo(zone_of(at.astimezone(timezone.utc).date()))).date()


def in_use(pump: Pump, newest: Pump, now: datetime) -> bool:
    """Whether a pump is in use: it was used last, or has uploaded recently."""
    return pump.serial == newest.serial or (pump.uploaded_at is not None and now - pump.uploaded_at < UNUSED_AFTER)


@attrs.frozen
class StrayDays:
    """Days on which the pump ran, or runs, by another date; known since ``known_at``."""

    first: date
    last: date
    known_at: datetime
    still_there: bool = False


@attrs.frozen(kw_only=True)
class Planner:
    """Plan the windows of one pump. ``start``: first day to fetch, with the lead-in."""

    pump: Pump
    start: date
    now: datetime
    zone_of: Callable[[Any], str]
    used: bool = True

    def windows(
        self,
        coverage: Coverage,
        strays: Iterable[StrayDays] = (),
        *,
        most_days: int,
        unread: Set[date] = frozenset(),
        paused: Set[date] = frozenset(),
    ) -> list[Window]:
        """Return the windows to fetch now, oldest first, of at most ``most_days``.

        ``unread``: days that are due in any case.
        """
        today = local_day(self.now, self.zone_of)
        last = self._last_day(today)
        due = {day for day in days_between(self.start, today) if self._due(day, today, coverage)}
        due.update(day for day in unread if self.start <= day <= last)
        if today in due:
            due.update(days_between(today, last))
        for stray in strays:
            due.update(
                day
                for day in days_between(stray.first, stray.last)
                if self._stray_due(day, stray, coverage.days.get(day))
            )
        newest = self.pump.newest
        if newest is not None and newest.date() > last:
            # the pump's clock is years ahead, or a date is wrong: these days are fetched and affect nothing else
            for day in (newest.date() - _DAY, newest.date()):
                fetched = coverage.days.get(day)
                if fetched is None or self._has_new_upload(fetched):
                    due.add(day)
        return split_into_windows(due - paused, most_days)

    def _last_day(self, today: date) -> date:
        """Tomorrow, for pumps further east; or the pump's newest day if its clock is days ahead."""
        newest = today if self.pump.newest is None else self.pump.newest.date()
        return max(today, newest if newest <= today + MOST_DAYS_AHEAD * _DAY else today) + _DAY

    def _due(self, day: date, today: date, coverage: Coverage) -> bool:
        fetched = coverage.days.get(day)
        if fetched is None:
            return not (coverage.whole_before is not None and day < coverage.whole_before)
        age = self.now - fetched.at
        if age < timedelta(0):  # written while this clock was ahead: not reliable
            return True
        known = local_day(fetched.at, self.zone_of)
        if self._has_new_upload(fetched):
            before = known if fetched.uploaded_at is None else min(known, local_day(fetched.uploaded_at, self.zone_of))
            if day >= before - OVERLAP_DAYS * _DAY or self._may_be_in_new_upload(day, fetched, coverage):
                return True
        if age >= (UNASKED_FOR if self.used else UNASKED_FOR_UNUSED) and day >= known - OVERLAP_DAYS * _DAY:
            return True
        return self.used and any(age >= every and day >= today - back * _DAY for every, back in REFRESH)

    def _has_new_upload(self, fetched: FetchedDay) -> bool:
        return self.pump.uploaded_at is not None and self.pump.uploaded_at != fetched.uploaded_at

    def _may_be_in_new_upload(self, day: date, fetched: FetchedDay, coverage: Coverage) -> bool:
        """Whether a day lies between the newest data that was known at its fetch and the newest now.

        The days after a first part of a backlog were empty when they were fetched.
        """
        then = None if fetched.uploaded_at is None else coverage.newest_of.get(fetched.uploaded_at)
        if then is None or then == self.pump.newest:
            return False
        newest = day if self.pump.newest is None else self.pump.newest.date()
        return then.date() - OVERLAP_DAYS * _DAY <= day <= newest

    def _stray_due(self, day: date, stray: StrayDays, fetched: FetchedDay | None) -> bool:
        if fetched is None or fetched.at < stray.known_at <= self.now:
            return True
        if not stray.still_there or not self._has_new_upload(fetched):
            return False
        passed = local_day(fetched.at, self.zone_of) - local_day(stray.known_at, self.zone_of)
        return day >= stray.first + passed - OVERLAP_DAYS * _DAY


def is_date_right(pump: Pump, newest_of: Mapping[datetime, datetime], since: datetime) -> bool:
    """Whether the pump's newest time fits its last upload and has advanced in the uploads after ``since``.

    After a date was set back, the newest time stands still: it stays at the later date.
    """
    if pump.newest is None or pump.uploaded_at is None or abs(pump.newest.date() - pump.uploaded_at.date()) >= 2 * _DAY:
        return False
    return any(newest < pump.newest for at, newest in newest_of.items() if at > since)


def stray_days(
    changes: Iterable[Event], start: date, today: date, is_right: Callable[[datetime], bool]
) -> list[StrayDays]:
    """Days on which the pump ran before the wearer changed its date, and those on which it runs by a wrong date.

    ``changes``: ``clock.changed`` events. If both dates of a change are outside the history, it is ignored.
    ``is_right``: see :func:`is_date_right`; a right date is often received late, as in the first sync.
    """
    last = today + MOST_DAYS_AHEAD * _DAY
    numbered = (event for event in changes if event.kind == "clock.changed" and event.body.part == "date")
    dates = sorted(numbered, key=lambda event: (event.group or 0, event.seq or 0))
    found: list[StrayDays] = []
    for index, event in enumerate(dates):
        after = event.pump_time.date()
        try:
            before = after - timedelta(seconds=event.body.step_s)
            earliest = before - (MOST_STRAY_DAYS - 1) * _DAY
        except OverflowError:
            continue
        if abs(before - after) < 2 * _DAY or not (start <= after <= last or start <= before <= last):
            continue
        since = dates[index - 1].pump_time.date() if index else before - LEAD_IN_DAYS * _DAY
        found.append(StrayDays(max(min(since, before), earliest), before, event.received_at))
        right = abs(after - event.received_at.date()) < 2 * _DAY or is_right(event.received_at)
        if index + 1 == len(dates) and not right:
            end = after + (MOST_STRAY_DAYS - 1) * _DAY
            end = end if after > last else min(end, today + _DAY)
            found.append(StrayDays(after, end, event.received_at, still_there=True))
    return found


def days_between(first: date, last: date) -> list[date]:
    """Every day from ``first`` to ``last``, both inclusive."""
    return [date.fromordinal(number) for number in range(first.toordinal(), last.toordinal() + 1)]


def split_into_windows(days: Iterable[date], most_days: int) -> list[Window]:
    """Group days into windows, oldest first, of at most ``most_days``. Gaps of a few days are included."""
    windows: list[Window] = []
    for day in sorted(days):
        if windows:
            first, last = windows[-1]
            if (day - last).days <= _JOINED_GAP and (day - first).days < most_days:
                windows[-1] = (first, day)
                continue
        windows.append((day, day))
    return windows
