"""Times at which the pump surely worked. A rate does not last through a silence: the pump may not have been worn."""

from __future__ import annotations

from bisect import bisect_left
from datetime import date, datetime, timedelta

import attrs

from tconnectsync_tconnect.rows.row_event import RowEvent

SILENCE = timedelta(days=1)
"""After a longer time without any row of any table, nobody knows when the pump stopped."""


@attrs.define
class SignsOfLife:
    """First and last sign of each day. Between the two there is no silence."""

    _days: dict[date, tuple[datetime, datetime]] = attrs.field(factory=dict)

    def add(self, at: datetime) -> None:
        """Add a sign."""
        first, last = self._days.get(at.date(), (at, at))
        self._days[at.date()] = min(first, at), max(last, at)

    def add_span(self, first: datetime, last: datetime) -> None:
        """Add signs for all of a time."""
        while first < last:
            self.add(first)
            first += SILENCE
        self.add(last)

    def add_fact(self, fact: RowEvent) -> None:
        """Add a fact of the pump. A row of unknown kind may be of another device."""
        if fact.kind != "unknown":
            self.add(fact.at)

    @property
    def newest(self) -> datetime | None:
        """The newest sign."""
        return max((last for _, last in self._days.values()), default=None)

    def end_of(self, at: datetime, following: datetime) -> datetime:
        """When a rate from ``at`` ends: at the following row, or at the last sign before a silence."""
        if following - at <= SILENCE:
            return following
        known, days = at, sorted(self._days)
        for day in days[bisect_left(days, at.date()) :]:
            first, last = self._days[day]
            if min(first, following) - known > SILENCE:
                return known
            if last >= following:
                return following
            known = max(known, last)
        return following if following - known <= SILENCE else known
