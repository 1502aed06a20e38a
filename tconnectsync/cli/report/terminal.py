"""The report as lines of text: figures, a chart of the usual day, and a table of days."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from tconnectsync.cli.report.figure_words import (
    INCOMPLETE,
    MARK,
    UNKNOWN,
    bands,
    glucose_figures,
    incomplete_period,
    insulin_figures,
    number,
    percent,
)
from tconnectsync.queries.report import Report
from tconnectsync.statistics.glucose_counts import HALF_HOURS, TARGET_FROM, TARGET_TO, GlucoseCounts
from tconnectsync.statistics.summary import DAY, Summary
from tconnectsync.text.glucose_units import GlucoseUnits
from tconnectsync.text.plural import counted

BLOCKS, PLAIN_BLOCKS = "▁▂▃▄▅▆▇█", "_.-:=+*#"
BAR_WIDTH = 30
QUARTER_HOUR_S = 900
Row = tuple[str, ...]
HEADER: Row = ("day", "in range", "low", "insulin", "basal", "boluses", "carbs", "mean", "sensor")
"""The columns, the most important first: a narrow terminal shows fewer."""


def report_lines(report: Report, *, width: int, blocks: str = BLOCKS) -> Iterator[str]:
    """Yield the lines, at most ``width`` columns wide if that is possible. ``blocks``: characters of rising bars."""
    whole = report.whole
    yield f"{counted(whole.days, 'day')}, {whole.first_day} to {whole.last_day}, {report.timezone}"
    if whole.days_with_data < whole.days:
        yield f"{whole.days - whole.days_with_data} of them without data."
    yield ""
    yield from _pairs("Glucose", glucose_figures(whole, report.units), width)
    yield ""
    yield from _band_lines(report, width, blocks)
    if any(report.whole.glucose.curve((50,))):
        yield ""
        yield from chart_lines(whole.glucose, report.units, blocks, width)
    yield ""
    yield from _pairs("Per day", insulin_figures(whole, report.days), width)
    yield from textwrap.wrap(incomplete_period(whole, report.days), width)
    yield ""
    yield from table_lines(report.days, report.units, width)
    if any(day.is_basal_incomplete for day in report.days):
        yield ""
        yield from textwrap.wrap(INCOMPLETE, width)


def chart_lines(glucose: GlucoseCounts, units: GlucoseUnits, blocks: str, width: int) -> Iterator[str]:
    """Yield a bar for the median of each half-hour of the day, on a narrow terminal each hour; a space without readings."""
    medians = [None if values is None else values[0] for values in glucose.curve((50,))]
    known = [median for median in medians if median is not None]
    low, high = min(TARGET_FROM, *known), max(TARGET_TO, *known)
    yield f"Median by time of day: {units.text(min(known))} to {units.text(max(known))} {units.label}"

    def bar(median: float | None) -> str:
        if median is None:
            return " "
        place = (median - low) / (high - low)
        return blocks[min(len(blocks) - 1, max(0, int(place * len(blocks))))]

    step = 1 if width >= HALF_HOURS else 2
    yield "".join(bar(median) for median in medians[::step]).rstrip()
    yield "".join(f"{hour:02d}".ljust(6 // step) for hour in range(0, 24, 3)).rstrip()


def table_lines(days: Sequence[Summary], units: GlucoseUnits, width: int) -> Iterator[str]:
    """Yield a table with the newest day first. Columns that do not fit are left out, the last ones first."""
    rows = [HEADER, *(day_cells(day, units) for day in reversed(days))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    shown = len(widths)
    while shown > 2 and sum(widths[:shown]) + 2 * (shown - 1) > width:
        shown -= 1
    for row in rows:
        first, *others = (
            cell.ljust(size) if n == 0 else cell.rjust(size)
            for n, (cell, size) in enumerate(zip(row[:shown], widths[:shown], strict=True))
        )
        yield "  ".join((first, *others)).rstrip()


def day_cells(day: Summary, units: GlucoseUnits) -> Row:
    """Return one line of the table, a text for each column of :data:`HEADER`."""
    name = f"{day.first_day:%a} {day.first_day}"
    if day.length_s != DAY.total_seconds() and day.length_s % QUARTER_HOUR_S == 0 and day.days_with_data:
        name += f" ({day.length_s / 3600:g} h)"  # the clock changed, or the wearer travelled
    shares, mean, mark = day.glucose.time_in_range, day.glucose.mean_mg_dl, MARK if day.is_basal_incomplete else ""
    if not day.days_with_data:
        return (name, "no data", *[UNKNOWN] * (len(HEADER) - 2))
    return (
        name,
        percent(None if shares is None else shares.target),
        percent(None if shares is None else shares.low + shares.very_low),
        f"{mark}{number(day.known_total_u, 1, 'U')}",
        f"{mark}{number(day.known_basal_u, 1, 'U')}",
        f"{day.insulin.bolus_u:.1f} U",
        f"{day.insulin.carbs_g:.0f} g",
        UNKNOWN if mean is None else units.text(mean),
        percent(day.coverage_percent),
    )


def _band_lines(report: Report, width: int, blocks: str) -> Iterator[str]:
    for band in bands(report.whole.glucose.time_in_range, report.units):
        bar = "" if band.share is None else blocks[-1] * round(band.share / 100 * max(0, min(BAR_WIDTH, width - 40)))
        yield f"{band.words.ljust(10)} {band.bounds.ljust(18)} {percent(band.share).rjust(6)}  {bar}".rstrip()


def _pairs(title: str, pairs: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Yield names and values in two columns, or in one on a narrow terminal."""
    texts = [f"{name}: {value}" for name, value in pairs]
    column = max(len(text) for text in texts) + 3
    yield title
    if 2 + 2 * column > width:
        yield from (f"  {text}" for text in texts)
        return
    for left, right in zip(texts[::2], [*texts[1::2], ""], strict=False):
        yield f"  {left.ljust(column)}{right}".rstrip()
