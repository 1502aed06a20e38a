"""The report's charts: percentiles of glucose over the day, and time in range by hour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

import attrs
from markupsafe import Markup

from tconnectsync import GlucoseCounts, GlucoseUnits, TimeInRange
from tconnectsync_web.charts.glucose_lane import AXIS_MG_DL, LEAST_MG_DL
from tconnectsync_web.charts.scale import ValueScale
from tconnectsync_web.charts.svg import element, group, line, number, rect, text
from tconnectsync_web.languages import Texts
from tconnectsync_web.pages.value_words import TARGET_FROM, TARGET_TO

LEFT, RIGHT, TOP, AXIS = 42.0, 4.0, 8.0, 22.0
HEIGHT, BARS_HEIGHT = 300.0, 180.0
HALF_HOURS, HOURS = 48, 24
SHARES = ("very_low", "low", "target", "high", "very_high")
Curve = Sequence[tuple[float, ...] | None]


@attrs.frozen(kw_only=True)
class DayFrame:
    """A chart over the hours of a day, in one of two widths."""

    name: str
    width: float
    height: float
    texts: Texts

    @property
    def floor(self) -> float:
        """Where the time axis is."""
        return self.height - AXIS

    def x(self, hour: float) -> float:
        """The place of an hour of the day."""
        return LEFT + (self.width - LEFT - RIGHT) * hour / HOURS

    def hours(self) -> list[Markup]:
        """The time axis."""
        shapes = []
        for hour in range(0, HOURS + 1, 6):
            x = self.x(hour)
            shapes.append(line(x, TOP, x, self.floor, "tick"))
            anchor = "end" if hour == HOURS else "start" if hour == 0 else "middle"
            shapes.append(text(x, self.floor + 15, hour_words(self.texts, hour % HOURS), anchor=anchor))
        return shapes

    def across(self, y: float, words: str) -> list[Markup]:
        """A line with a label on the left."""
        return [line(LEFT, y, self.x(HOURS), y, "tick"), text(LEFT - 5, y + 4, words, anchor="end")]

    def drawn(self, kind: str, heading: str, description: str, shapes: Iterable[Markup]) -> Markup:
        """The SVG element."""
        id_ = f"{kind}-{self.name}"
        return element(
            "svg",
            element("title", heading, id=f"{id_}-title"),
            element("desc", description, id=f"{id_}-desc"),
            group(kind, shapes),
            class_=f"chart {self.name}",
            viewBox=f"0 0 {self.width:.0f} {self.height:.0f}",
            role="img",
            aria_labelledby=f"{id_}-title {id_}-desc",
        )


def frames(height: float, texts: Texts) -> Iterator[DayFrame]:
    """Yield the wide and the narrow frame; the style sheet shows one."""
    yield DayFrame(name="wide", width=1040.0, height=height, texts=texts)
    yield DayFrame(name="narrow", width=358.0, height=height, texts=texts)


def hour_words(texts: Texts, hour: int) -> str:
    """An hour of the day as words."""
    return texts.hour(datetime(2026, 1, 1, hour))


def percentile_chart(counts: GlucoseCounts, texts: Texts, units: GlucoseUnits) -> Markup:
    """Return the median with the bands of half and of nine tenths of the readings, by half-hour of the day."""
    curve = counts.curve()
    return Markup("").join(_percentiles(frame, curve, units) for frame in frames(HEIGHT, texts))


def _percentiles(frame: DayFrame, curve: Curve, units: GlucoseUnits) -> Markup:
    highest = max((each[-1] for each in curve if each is not None), default=0.0)
    most = min(400, max(250, 50 * (int(highest) // 50 + 1)))
    values = ValueScale(least=LEAST_MG_DL, most=most, top=TOP, bottom=frame.floor)
    upper, lower = values.y(TARGET_TO), values.y(TARGET_FROM)
    shapes = [rect(LEFT, upper, frame.x(HOURS) - LEFT, lower - upper, "target"), *frame.hours()]
    for mg_dl in AXIS_MG_DL[units]:
        if mg_dl <= most + 3:
            shapes += frame.across(values.y(mg_dl), frame.texts.amount(units.convert(mg_dl), 1))
    for run in _runs(curve):
        points = [[_point(frame, curve, half, rank, values) for half in run] for rank in range(5)]
        shapes.append(_band(points[0], points[4], "outer"))
        shapes.append(_band(points[1], points[3], "inner"))
        shapes.append(element("path", d="M" + "L".join(points[2]), class_="median"))
    heading = frame.texts.gettext("Glucose over the day")
    description = frame.texts.gettext(
        "The line is the median. Half of the readings are in the dark band, nine of ten in the light one."
    )
    return frame.drawn("percentiles", heading, description, shapes)


def hours_chart(counts: GlucoseCounts, texts: Texts) -> Markup:
    """Return time in range for each hour of the day as stacked bars."""
    by_hour = counts.time_in_range_by_hour()
    return Markup("").join(_stacks(frame, by_hour) for frame in frames(BARS_HEIGHT, texts))


def _stacks(frame: DayFrame, by_hour: Sequence[TimeInRange | None]) -> Markup:
    shapes = frame.hours()
    for share in (0, 50, 100):
        shapes += frame.across(TOP + (frame.floor - TOP) * (1 - share / 100), f"{share} %")
    for hour, found in enumerate(by_hour):
        if found is not None:
            shapes.append(_stack(found, frame, hour))
    heading = frame.texts.gettext("Time in range by hour")
    description = frame.texts.gettext("For each hour of the day, the share of readings in each range.")
    return frame.drawn("hours", heading, description, shapes)


def _stack(found: TimeInRange, frame: DayFrame, hour: int) -> Markup:
    share = {"share": frame.texts.number(found.target)}
    title = f"{hour_words(frame.texts, hour)}: " + frame.texts.gettext("%(share)s %% in range") % share
    left, width = frame.x(hour) + 1.5, frame.x(hour + 1) - frame.x(hour) - 3
    shapes, y = [element("title", title)], frame.floor
    for name in SHARES:
        height = (frame.floor - TOP) * getattr(found, name) / 100
        if height > 0:
            shapes.append(rect(left, y - height, width, height, f"share {name.replace('_', '-')}"))
            y -= height
    return element("g", *shapes)


def _runs(curve: Curve) -> list[list[int]]:
    """The half-hours with readings that follow each other."""
    runs: list[list[int]] = []
    for half, each in enumerate(curve):
        if each is None:
            continue
        if runs and runs[-1][-1] == half - 1:
            runs[-1].append(half)
        else:
            runs.append([half])
    return runs


def _point(frame: DayFrame, curve: Curve, half: int, rank: int, values: ValueScale) -> str:
    found = curve[half] or ()
    return f"{number(frame.x((half + 0.5) * HOURS / HALF_HOURS))} {number(values.y(found[rank]))}"


def _band(low: Sequence[str], high: Sequence[str], class_: str) -> Markup:
    return element("path", d="M" + "L".join([*low, *reversed(high)]) + "Z", class_=class_)


def range_bar(found: TimeInRange) -> Markup:
    """Return a bar of the five ranges; its figures stand beside it in words."""
    shapes, left = [], 0.0
    for name in SHARES:
        share = float(getattr(found, name))
        shapes.append(rect(left, 0.0, share, 10.0, f"share {name.replace('_', '-')}"))
        left += share
    return element(
        "svg", *shapes, class_="range-bar", viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true"
    )
