"""The content of the report over 14, 30 or 90 days, and its CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date, timedelta

import attrs

from tconnectsync import GlucoseUnits, Summary, add_up
from tconnectsync_web.pages.reader import PageReader

DAY = timedelta(days=1)
LENGTHS = (14, 30, 90)
USUAL_LENGTH = 14


@attrs.frozen(kw_only=True)
class Report:
    """The complete days up to yesterday. ``whole`` None: there are no data in them."""

    first: date
    last: date
    days: Sequence[Summary]
    whole: Summary | None


def report(reader: PageReader, length: int) -> Report:
    """Return the report of the last ``length`` days that are over."""
    last = reader.zones.wall_of(reader.now()).date() - DAY
    first = last - (length - 1) * DAY
    days = [summary for summary in reader.summaries(first, last) if summary.days_with_data]
    return Report(first=first, last=last, days=days, whole=add_up(days) if days else None)


COLUMNS = (
    "date", "readings", "mean", "very_low_percent", "low_percent", "in_range_percent", "high_percent", "very_high_percent",
    "basal_u", "bolus_u", "total_u", "boluses", "carbs_g",
)  # fmt: skip


def report_csv(found: Report, units: GlucoseUnits) -> str:
    """Return a table with a line for each day with data, comma-separated, numbers with a point."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([f"{name}_{units.label}" if name == "mean" else name for name in COLUMNS])
    for each in found.days:
        mean, shares = each.glucose.mean_mg_dl, each.glucose.time_in_range
        percents = [f"{share:.1f}" for share in attrs.astuple(shares)] if shares else [""] * 5
        writer.writerow(
            [
                each.first_day.isoformat(), each.glucose.readings, "" if mean is None else units.text(mean), *percents,
                f"{each.insulin.basal_u:.2f}", f"{each.insulin.bolus_u:.2f}", f"{each.total_u:.2f}",
                each.insulin.boluses, f"{each.insulin.carbs_g:g}",
            ]
        )  # fmt: skip
    return out.getvalue()
