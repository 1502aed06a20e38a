"""The lane of basal: the rate as an area, suspensions hatched."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from tconnectsync import BasalSpan
from tconnectsync_web.charts.scale import TimeScale, ValueScale
from tconnectsync_web.charts.svg import element, group, line, number, rect, text
from tconnectsync_web.languages import Texts

BASAL_PX = 62.0
USUAL_MOST_U_PER_H = 2.0
NAME_PX = 14.0


def basal_lane(spans: Sequence[BasalSpan], scale: TimeScale, top: float, bottom: float, texts: Texts) -> Markup:
    """Return the lane. Where the rate is unknown there is no area."""
    most = max([USUAL_MOST_U_PER_H, *(span.rate_u_per_h for span in spans)])
    values = ValueScale(least=0.0, most=most, top=top + NAME_PX, bottom=bottom)
    shapes = [
        line(scale.left, top, scale.right, top, "tick"),
        line(scale.left, bottom, scale.right, bottom, "base"),
        text(scale.left - 5, values.y(most) + 4, texts.amount(most, 1), anchor="end"),
        text(scale.left - 5, bottom, texts.number(0), anchor="end"),
    ]
    if spans:
        shapes.append(element("path", d=_area(spans, scale, values), class_="area"))
        shapes.append(element("path", d=_edge(spans, scale, values), class_="edge"))
    for span in spans:
        if span.suspended:
            left, right = scale.x(span.begin), scale.x(span.end)
            shapes.append(rect(left, top + NAME_PX, max(2.0, right - left), bottom - top - NAME_PX, "suspended"))
    shapes.append(text(scale.left, top + 11, texts.gettext("Basal, U/h"), "lane-name"))
    return group("basal", shapes)


def _area(spans: Sequence[BasalSpan], scale: TimeScale, values: ValueScale) -> str:
    floor = number(values.bottom)
    return "".join(
        f"M{number(scale.x(each.begin))} {floor}V{number(values.y(each.rate_u_per_h))}H{number(scale.x(each.end))}V{floor}Z"
        for each in spans
        if each.rate_u_per_h > 0
    )


def _edge(spans: Sequence[BasalSpan], scale: TimeScale, values: ValueScale) -> str:
    parts, end = [], None
    for each in spans:
        left, y = scale.x(each.begin), number(values.y(each.rate_u_per_h))
        parts.append(f"V{y}" if end is not None and left - end < 0.5 else f"M{number(left)} {y}")
        end = scale.x(each.end)
        parts.append(f"H{number(end)}")
    return "".join(parts)
