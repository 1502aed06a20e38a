"""The report as one HTML file without any request to other hosts, for a screen or for printing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from pathlib import Path
from string import Template

import tconnectsync
from tconnectsync.cli.report.figure_words import (
    INCOMPLETE,
    bands,
    glucose_figures,
    incomplete_period,
    insulin_figures,
    percent,
)
from tconnectsync.cli.report.svg_charts import hours_svg, percentile_svg, share_svg
from tconnectsync.cli.report.terminal import HEADER, day_cells
from tconnectsync.queries.report import Report
from tconnectsync.text.plural import counted
from tconnectsync.timeline.zones import Zones

TEMPLATE = Path(__file__).with_name("page.html")


def html_page(report: Report, *, zones: Zones, name: str = "", with_serial: bool = False) -> str:
    """Return the page. ``name``: of the wearer, for the heading. ``with_serial``: also the pumps' serial numbers."""
    whole, units = report.whole, report.units
    title = f"Glucose and insulin, {whole.first_day} to {whole.last_day}"
    empty = whole.days - whole.days_with_data
    gaps = f", {empty} of them without data" if empty else ""
    pumps = f"<p>Pump {escape(', '.join(report.pumps))}</p>" if with_serial else ""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        heading=escape(name or "Glucose and insulin"),
        period=escape(
            f"{whole.first_day:%d %B %Y} to {whole.last_day:%d %B %Y}: {counted(whole.days, 'day')}{gaps}. Times of {report.timezone}."
        ),
        about=pumps,
        units=units.label,
        share=share_svg(whole.glucose.time_in_range),
        bands="\n".join(
            f'<tr><td><svg class="key" viewBox="0 0 1 1" aria-hidden="true"><rect class="{band.name}" width="1" height="1"/></svg>'
            f"{band.words}</td><td>{escape(band.bounds)}</td>"
            f'<td class="value">{escape(percent(band.share))}</td></tr>'
            for band in bands(whole.glucose.time_in_range, units)
        ),
        glucose=_pairs(glucose_figures(whole, units)),
        insulin=_pairs(insulin_figures(whole, report.days)),
        incomplete_period=_note(incomplete_period(whole, report.days)),
        curve=percentile_svg(whole.glucose, units),
        hours=hours_svg(whole.glucose.time_in_range_by_hour()),
        header=_cells("th", HEADER),
        days="\n".join(f"<tr>{_cells('td', day_cells(day, units))}</tr>" for day in reversed(report.days)),
        incomplete=_note(INCOMPLETE if any(day.is_basal_incomplete for day in report.days) else ""),
        version=escape(tconnectsync.__version__),
        made_at=_local(report.made_at, zones),
        newest=_local(report.newest, zones),
    )


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f'<tr><td>{escape(name)}</td><td class="value">{escape(value)}</td></tr>' for name, value in pairs)


def _note(words: str) -> str:
    return f'<p class="soft">{escape(words)}</p>' if words else ""


def _cells(tag: str, texts: Sequence[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)


def _local(at: datetime, zones: Zones) -> str:
    return f"{zones.wall_of(at):%d %B %Y %H:%M}"
