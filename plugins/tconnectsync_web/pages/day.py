"""The content of one day's page: chart, figures, and tables of what was given."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import attrs

from tconnectsync import Bolus, Summary, day_span, summarise_day
from tconnectsync_web.pages.chart_content import MARK_KINDS, ChartContent, chart_content
from tconnectsync_web.pages.reader import PageReader

DAY = timedelta(days=1)
MAY_BE_LATE = timedelta(hours=2)
"""A phone uploads about hourly: so much of the present day may be missing without anything being wrong."""
SHARE_COUNTS_AFTER, SHORT_GAP = timedelta(hours=1), timedelta(minutes=15)
"""Of the present day: soon after midnight, a gap of some minutes is a large share of it."""
LEAD = timedelta(hours=2)
"""The reader looks back twelve hours more, so that sleep, extended boluses and basal reach into the day."""


@attrs.frozen(kw_only=True)
class DayPage:
    """One local day. ``next`` None: it is today or later."""

    day: date
    previous: date
    next: date | None
    chart: ChartContent
    summary: Summary | None
    boluses: Sequence[Bolus]
    lacks_basal: bool = False
    """Whether the insulin of a part is missing, so that the sums are too low."""
    missing_from: datetime | None = None
    """The newest data, if this day has more hours that are over than these cover."""

    @property
    def hours(self) -> float:
        """The length of the day: 23 or 25 hours where the clock changes."""
        return (self.chart.end - self.chart.begin) / timedelta(hours=1)


def day_page(reader: PageReader, day: date) -> DayPage:
    """Return the page of a local day."""
    now, (begin, end) = reader.now(), day_span(day, reader.zones)
    today = reader.zones.wall_of(now).date()
    therapy = reader.therapy(begin - LEAD, end)
    marks = reader.events(begin, end, MARK_KINDS)
    chart = chart_content(therapy, marks, begin, end, now if begin <= now < end else None)
    summary = summarise_day(day, therapy, reader.zones, until=therapy.until if now < end else None)
    return DayPage(
        day=day,
        previous=day - DAY,
        next=day + DAY if day < today else None,
        chart=chart,
        summary=summary if summary.days_with_data else None,
        boluses=chart.started,
        lacks_basal=lacks_basal(summary, is_over=end <= now),
        missing_from=_missing_from(therapy.until, end, now),
    )


def lacks_basal(summary: Summary, *, is_over: bool) -> bool:
    """Whether to say that the pump delivered more than the sums of a day say: records are missing."""
    missing = timedelta(seconds=summary.length_with_data_s - summary.insulin.basal_known_s)
    long_enough = timedelta(seconds=summary.length_with_data_s) >= SHARE_COUNTS_AFTER and missing >= SHORT_GAP
    return summary.is_basal_incomplete and (is_over or long_enough)


def _missing_from(newest: datetime | None, end: datetime, now: datetime) -> datetime | None:
    """Return the time of the newest data if the day lacks more than they may be late."""
    if newest is None:
        return None
    lacks = end - newest if end <= now else now - newest - MAY_BE_LATE
    return newest if lacks > timedelta(0) else None


def is_shown(day: date, now: datetime) -> bool:
    """Whether there can be a page of this day: not long before pumps existed, not in the future."""
    return date(2010, 1, 1) <= day <= now.date() + DAY
