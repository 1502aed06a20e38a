"""The chart of some hours: bands with words, marks, glucose, carbs and boluses, basal; each in a lane of its own."""

from __future__ import annotations

from datetime import timedelta

import attrs
from markupsafe import Markup

from tconnectsync import GlucoseUnits, Zones
from tconnectsync_web.charts.basal_lane import BASAL_PX, basal_lane
from tconnectsync_web.charts.dose_lane import dose_lane
from tconnectsync_web.charts.glucose_lane import glucose_lane
from tconnectsync_web.charts.scale import TimeScale, hour_ticks
from tconnectsync_web.charts.svg import element, group, line, rect, text
from tconnectsync_web.charts.word_lanes import band_lane, band_shades, mark_lane, mark_lines
from tconnectsync_web.languages import Texts
from tconnectsync_web.pages import value_words
from tconnectsync_web.pages.chart_content import ChartContent

GAP_PX, AXIS_PX = 10.0, 20.0
NOTHING_NEW = timedelta(minutes=16)
"""After this time without data, the rest of the chart is marked as not known yet."""


@attrs.frozen(kw_only=True)
class ChartSize:
    """The size of a chart in its own units; the page scales it to its width. ``hours_per_tick``: by length in hours."""

    name: str
    width: float
    glucose_px: float
    left: float = 36.0
    right: float = 8.0
    most_ticks: int = 12


WIDE = ChartSize(name="wide", width=1040.0, glucose_px=230.0, most_ticks=13)
NARROW = ChartSize(name="narrow", width=358.0, glucose_px=210.0, left=30.0, right=4.0, most_ticks=5)
"""For a phone."""


@attrs.frozen(kw_only=True)
class ChartStyle:
    """How a chart is written: language, units, local time, size."""

    texts: Texts
    units: GlucoseUnits
    zones: Zones
    size: ChartSize


def therapy_charts(content: ChartContent, texts: Texts, units: GlucoseUnits, zones: Zones) -> Markup:
    """Return the chart twice, for wide and for narrow screens; the style sheet shows one."""
    styles = (ChartStyle(texts=texts, units=units, zones=zones, size=size) for size in (WIDE, NARROW))
    return Markup("").join(therapy_chart(content, style) for style in styles)


def therapy_chart(content: ChartContent, style: ChartStyle) -> Markup:
    """Return the chart as one SVG element with title and description."""
    size, texts = style.size, style.texts
    scale = TimeScale(begin=content.begin, end=content.end, left=size.left, right=size.width - size.right)
    bands, y = band_lane(content.bands, scale, 2.0, texts)
    marks, y = mark_lane(content.marks, scale, y, texts)
    top = y + GAP_PX
    bottom = top + size.glucose_px
    glucose = glucose_lane(content.glucose, scale, top, bottom, style.texts, style.units, style.zones)
    doses, y = dose_lane(content, scale, bottom + GAP_PX, style.texts, style.zones)
    basal = basal_lane(content.basal, scale, y + GAP_PX, y + GAP_PX + BASAL_PX, texts)
    floor = y + GAP_PX + BASAL_PX
    shapes = (
        *_grid(content, scale, style, top, floor),
        group("shades", band_shades(content.bands, scale, top, bottom)),
        *_not_known(content, scale, style, top, floor),
        group("mark-lines", mark_lines(content.marks, scale, top, floor)),
        basal,
        glucose,
        doses,
        group("marks", marks),
        group("bands", bands),
    )
    heading, description = words(content, style)
    name = f"chart-{size.name}"
    return element(
        "svg",
        element("title", heading, id=f"{name}-title"),
        element("desc", description, id=f"{name}-desc"),
        *shapes,
        class_=f"chart {size.name}",
        viewBox=f"0 0 {size.width:.0f} {floor + AXIS_PX:.0f}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def words(content: ChartContent, style: ChartStyle) -> tuple[str, str]:
    """Return title and description, for readers who do not see the chart."""
    texts = style.texts
    begin, end = (texts.time(style.zones.wall_of(at)) for at in (content.begin, content.end))
    heading = texts.gettext("Glucose and insulin from %(begin)s to %(end)s") % {"begin": begin, "end": end}
    parts = []
    if content.glucose:
        values = [point.glucose_mg_dl for point in content.glucose]
        low, high = (value_words.glucose(texts, style.units, value) for value in (min(values), max(values)))
        said = {"low": low, "high": high, "units": style.units.label}
        parts.append(texts.gettext("Glucose from %(low)s to %(high)s %(units)s.") % said)
    count = len(content.started)
    total = value_words.insulin(texts, content.bolus_u)
    said = {"count": str(count), "amount": total}
    parts.append(texts.ngettext("%(count)s bolus, %(amount)s.", "%(count)s boluses, %(amount)s.", count) % said)
    parts += [
        f"{value_words.bolus(texts, bolus)}: {value_words.bolus_end(texts, bolus)}."
        for bolus in content.boluses
        if bolus.ended_at is None
    ]
    eaten = value_words.carbs(texts, sum(each.carbs_g for each in content.carbs))
    parts.append(texts.gettext("Carbs: %(amount)s.") % {"amount": eaten})
    parts += [f"{value_words.band(texts, band)}." for band in content.bands]
    parts += [f"{value_words.mark(texts, mark)}." for mark in content.marks]
    return heading, " ".join(parts)


def _grid(content: ChartContent, scale: TimeScale, style: ChartStyle, top: float, floor: float) -> list[Markup]:
    hours = (content.end - content.begin) / timedelta(hours=1)
    every_h = next(each for each in (1, 2, 3, 4, 6, 12) if hours / each <= style.size.most_ticks)
    lines, labels = [], []
    for at, local in hour_ticks(content.begin, content.end, style.zones, every_h):
        x = scale.x(at)
        lines.append(line(x, top, x, floor, "tick"))
        if x > scale.right - 14:
            labels.append(text(scale.right, floor + 15, style.texts.hour(local), anchor="end"))
        else:
            labels.append(text(x, floor + 15, style.texts.hour(local), anchor="middle"))
    return [group("grid", lines), group("axis", labels)]


def _not_known(content: ChartContent, scale: TimeScale, style: ChartStyle, top: float, floor: float) -> list[Markup]:
    """The hours of which nothing is known yet: from the newest data until now."""
    if content.now is None or content.until is None or content.now - content.until < NOTHING_NEW:
        return []
    left, right = scale.x(content.until), scale.x(content.now)
    words = style.texts.gettext("no data yet")
    shapes = [rect(left, top, right - left, floor - top, "not-known", words)]
    if right - left > 76:
        shapes.append(text((left + right) / 2, top + 14, words, "label", "middle"))
    return shapes
