"""The lane of glucose: the target band and the readings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from markupsafe import Markup

from tconnectsync import GlucosePoint, GlucoseUnits, Zones
from tconnectsync_web.charts.scale import TimeScale, ValueScale
from tconnectsync_web.charts.svg import element, group, line, number, rect, text
from tconnectsync_web.languages import Texts
from tconnectsync_web.pages import value_words
from tconnectsync_web.pages.value_words import TARGET_FROM, TARGET_TO

JOINED = timedelta(minutes=16)
"""Readings further apart than this are not joined by a line."""
LEAST_MG_DL, USUAL_MOST_MG_DL, MOST_MG_DL = 40, 250, 400
AXIS_MG_DL = {GlucoseUnits.MG_DL: (54, 70, 180, 250, 350), GlucoseUnits.MMOL_L: (54.05, 70.27, 180.18, 252.26, 342.35)}
"""The values on the axis: round ones in each unit (3.0, 3.9, 10.0, 14.0, 19.0 mmol/L)."""


def glucose_scale(points: Sequence[GlucosePoint], top: float, bottom: float) -> ValueScale:
    """Return the scale: up to 250 mg/dL, or further if a reading is higher."""
    highest = max((point.glucose_mg_dl for point in points), default=0.0)
    most = USUAL_MOST_MG_DL if highest <= USUAL_MOST_MG_DL else min(MOST_MG_DL, 50 * (int(highest) // 50 + 1))
    return ValueScale(least=LEAST_MG_DL, most=most, top=top, bottom=bottom)


def glucose_lane(
    points: Sequence[GlucosePoint], scale: TimeScale, top: float, bottom: float, texts: Texts, units: GlucoseUnits,
    zones: Zones,
) -> Markup:  # fmt: skip
    """Return the lane. ``data-readings`` has place and words of each reading for the script that shows them."""
    values = glucose_scale(points, top, bottom)
    upper, lower = values.y(TARGET_TO), values.y(TARGET_FROM)
    shapes = [rect(scale.left, upper, scale.right - scale.left, lower - upper, "target")]
    for mg_dl in AXIS_MG_DL[units]:
        if mg_dl <= values.most + 3:
            y = values.y(mg_dl)
            shapes.append(line(scale.left, y, scale.right, y, "tick"))
            shapes.append(text(scale.left - 5, y + 4, _axis_label(texts, units, mg_dl), anchor="end"))
    spots = [f"{number(scale.x(point.at))} {number(values.y(point.glucose_mg_dl))}" for point in points]
    if points:
        shapes.append(element("path", d=_joined(points, spots), class_="trace"))
    dots: dict[str, list[str]] = {zone: [] for zone in value_words.ZONES}
    for point, spot in zip(points, spots, strict=True):
        dots[value_words.zone_of(point.glucose_mg_dl)].append(f"M{spot}h0")
    shapes += [element("path", d="".join(found), class_=f"dots {zone}") for zone, found in dots.items() if found]
    said = "|".join(
        f"{spot} {texts.time(zones.wall_of(point.at))} · {value_words.reading(texts, units, point)} {units.label}"
        for point, spot in zip(points, spots, strict=True)
    )
    lane = group("glucose", shapes)
    return element("g", lane, data_readings=said or None, data_top=top, data_bottom=bottom)


def _joined(points: Sequence[GlucosePoint], spots: Sequence[str]) -> str:
    parts = []
    for number_, spot in enumerate(spots):
        joins = number_ > 0 and points[number_].at - points[number_ - 1].at <= JOINED
        parts.append(f"{'L' if joins else 'M'}{spot}")
    return "".join(parts)


def _axis_label(texts: Texts, units: GlucoseUnits, mg_dl: float) -> str:
    return texts.amount(units.convert(mg_dl), 1) if units is GlucoseUnits.MMOL_L else texts.number(mg_dl)
