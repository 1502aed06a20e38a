"""Two lanes of words above the glucose: bands (sleep, exercise, suspensions), and marks (infusion-site changes, alarms)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from markupsafe import Markup

from tconnectsync_web.charts.scale import TimeScale, label_width, place, rows
from tconnectsync_web.charts.svg import element, line, rect, text
from tconnectsync_web.languages import Texts
from tconnectsync_web.pages import value_words
from tconnectsync_web.pages.chart_content import Band, ChartMark

ROW_PX, BAND_PX, PADDING_PX = 20.0, 16.0, 5.0


def band_lane(bands: Sequence[Band], scale: TimeScale, top: float, texts: Texts) -> tuple[list[Markup], float]:
    """Return the bands as bars with words, and the lane's lower edge."""
    ordered = sorted(bands, key=lambda band: band.begin)
    words = [texts.gettext(value_words.BAND_WORDS.get(band.kind, band.kind)) for band in ordered]
    bars = [(scale.x(band.begin), max(2.0, scale.x(band.end) - scale.x(band.begin))) for band in ordered]
    labels = [_label_left(left, width, label, scale) for (left, width), label in zip(bars, words, strict=True)]
    boxes = [
        (min(left, at), max(left + width, at + label_width(label)) - min(left, at))
        for (left, width), label, at in zip(bars, words, labels, strict=True)
    ]
    placed = place(boxes, scale.left, scale.right)
    shapes = []
    for band, (left, width), label, at, spot in zip(ordered, bars, words, labels, placed, strict=True):
        y = top + spot.row * ROW_PX
        title = f"{value_words.band(texts, band)}, {value_words.duration(texts, band.end - band.begin)}"
        shapes.append(rect(left, y, width, BAND_PX, f"band {band.kind}", title, rx=3.0))
        shapes.append(text(at, y + 12, label, f"band-label {band.kind}"))
    return shapes, top + rows(placed) * ROW_PX


def _label_left(left: float, width: float, label: str, scale: TimeScale) -> float:
    """Return where a bar's label begins: in the bar if it fits, else after it, or before it at the end of the chart."""
    wide = label_width(label)
    if wide + 2 * PADDING_PX <= width:
        return left + PADDING_PX
    after = left + width + PADDING_PX
    return after if after + wide <= scale.right else max(scale.left, left - PADDING_PX - wide)


def band_shades(bands: Sequence[Band], scale: TimeScale, top: float, bottom: float) -> Iterator[Markup]:
    """Yield the bands as shades behind the glucose."""
    for band in bands:
        left = scale.x(band.begin)
        yield rect(left, top, scale.x(band.end) - left, bottom - top, f"shade {band.kind}")


def mark_lane(marks: Sequence[ChartMark], scale: TimeScale, top: float, texts: Texts) -> tuple[list[Markup], float]:
    """Return the marks as words at their time, and the lane's lower edge."""
    ordered = sorted(marks, key=lambda mark: mark.at)
    words = [value_words.mark(texts, mark) for mark in ordered]
    boxes = []
    for mark, label in zip(ordered, words, strict=True):
        x, width = scale.x(mark.at), label_width(label) + 16
        boxes.append((x - 6 if x - 6 + width <= scale.right else x + 6 - width, width))
    placed = place(boxes, scale.left - 6, scale.right + 6)
    shapes = []
    for mark, label, spot in zip(ordered, words, placed, strict=True):
        y = top + spot.row * ROW_PX
        x = scale.x(mark.at)
        shapes.append(element("circle", cx=x, cy=y + 8, r=4.0, class_=f"mark {mark.kind}"))
        if spot.left + spot.width / 2 < x:
            shapes.append(text(x - 8, y + 12, label, f"mark-label {mark.kind}", "end"))
        else:
            shapes.append(text(x + 8, y + 12, label, f"mark-label {mark.kind}"))
    return shapes, top + rows(placed) * ROW_PX


def mark_lines(marks: Sequence[ChartMark], scale: TimeScale, top: float, bottom: float) -> Iterator[Markup]:
    """Yield a line through the chart at each mark."""
    for mark in marks:
        x = scale.x(mark.at)
        yield line(x, top, x, bottom, f"mark-line {mark.kind}")
