"""The content of the report over 14, 30 or 90 days."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import attrs

from tconnectsync import Summary, add_up
from tconnectsync_web.pages.reader import PageReader

DAY = timedelta(days=1)
LENGTHS = (14, 30, 90)
USUAL_LENGTH = 14


@attrs.frozen(kw_only=True)
class ReportPage:
    """The complete days up to yesterday. ``days``: those with data; ``whole``: all of them. None: there are no data in them."""

    first: date
    last: date
    days: Sequence[Summary]
    whole: Summary | None

    @property
    def incomplete_days(self) -> int:
        """The number of days of which basal insulin is missing in the log."""
        return sum(day.is_basal_incomplete for day in self.days)


def report(reader: PageReader, length: int) -> ReportPage:
    """Return the report of the last ``length`` days that are over."""
    last = reader.zones.wall_of(reader.now()).date() - DAY
    first = last - (length - 1) * DAY
    every = reader.summaries(first, last)
    days = [summary for summary in every if summary.days_with_data]
    return ReportPage(first=first, last=last, days=days, whole=add_up(every) if days else None)
