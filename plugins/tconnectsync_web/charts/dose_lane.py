"""The lane of carbs and boluses: each a label at its time, in rows, so that nothing hides it. Extended parts are bars."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from markupsafe import Markup

from tconnectsync import Bolus, Zones
from tconnectsync_web.charts.scale import Placed, TimeScale, label_width, place, rows
from tconnectsync_web.charts.svg import element, group, line, rect, text
from tconnectsync_web.languages import Texts
from tconnectsync_web.pages import value_words
from tconnectsync_web.pages.chart_content import Carbs, ChartContent

ROW_PX, PILL_PX, PADDING_PX = 21.0, 17.0, 5.0
STEM_PX = 6.0


def dose_lane(content: ChartContent, scale: TimeScale, top: float, texts: Texts, zones: Zones) -> tuple[Markup, float]:
    """Return the lane and its lower edge. It has a row of each kind at least, and more if labels would overlap."""
    shapes: list[Markup] = []
    shapes += _row_name(scale, top, texts.gettext("Carbs"))
    y = top + 14
    drawn, y = _carbs(content.carbs, scale, y, texts, zones)
    shapes += drawn
    shapes += _row_name(scale, y + 4, texts.gettext("Bolus"))
    y += 18
    drawn, y = _boluses(
        [bolus for bolus in content.boluses if shown_at_once(bolus) and bolus.started_at >= content.begin],
        scale,
        y,
        texts,
        zones,
    )
    shapes += drawn
    drawn, y = _extended([bolus for bolus in content.boluses if bolus.extended_u], scale, y, texts, zones)
    shapes += drawn
    return group("doses", shapes), y


def shown_at_once(bolus: Bolus) -> bool:
    """Whether a bolus has a label of its own: all but those with an extended part only."""
    return bolus.immediate_u > 0 or not bolus.extended_u


def _row_name(scale: TimeScale, y: float, words: str) -> list[Markup]:
    return [line(scale.left, y, scale.right, y, "tick"), text(scale.left, y + 11, words, "lane-name")]


def _carbs(
    carbs: Sequence[Carbs], scale: TimeScale, y: float, texts: Texts, zones: Zones
) -> tuple[list[Markup], float]:
    words = [value_words.carbs(texts, each.carbs_g) for each in carbs]
    placed = _pills([scale.x(each.at) for each in carbs], words, scale)
    shapes = []
    for each, label, spot in zip(carbs, words, placed, strict=True):
        title = f"{texts.time(zones.wall_of(each.at))} · {label}"
        shapes.append(_pill(spot, y, label, "carbs", title, scale.x(each.at)))
    return shapes, y + max(1, rows(placed)) * ROW_PX + STEM_PX


def _boluses(
    boluses: Sequence[Bolus], scale: TimeScale, y: float, texts: Texts, zones: Zones
) -> tuple[list[Markup], float]:
    words = [_label(texts, bolus) for bolus in boluses]
    placed = _pills([scale.x(bolus.started_at) for bolus in boluses], words, scale)
    shapes = []
    for bolus, label, spot in zip(boluses, words, placed, strict=True):
        kind = "automatic" if bolus.automatic else "bolus"
        shapes.append(_pill(spot, y, label, kind, _title(texts, zones, bolus), scale.x(bolus.started_at)))
    return shapes, y + max(1, rows(placed)) * ROW_PX + STEM_PX


def _extended(
    boluses: Sequence[Bolus], scale: TimeScale, y: float, texts: Texts, zones: Zones
) -> tuple[list[Markup], float]:
    """A bar over the time of each extended part, with its amount and length in or beside it."""
    spans = [(scale.x(bolus.extended_from or bolus.started_at), scale.x(extended_end(bolus))) for bolus in boluses]
    words = [_extended_words(texts, bolus) for bolus in boluses]
    boxes = [
        (left, max(right - left, label_width(label) + 2 * PADDING_PX))
        for (left, right), label in zip(spans, words, strict=True)
    ]
    placed = place(boxes, scale.left, scale.right)
    shapes = []
    for bolus, (left, right), label, spot in zip(boluses, spans, words, placed, strict=True):
        at = y + spot.row * ROW_PX
        shapes.append(rect(left, at, max(3.0, right - left), PILL_PX, "extended", _title(texts, zones, bolus), rx=4.0))
        shapes.append(text(spot.left + PADDING_PX, at + 12.5, label, "extended-label"))
    return shapes, y + rows(placed) * ROW_PX


def _label(texts: Texts, bolus: Bolus) -> str:
    """The amount of the immediate part; of a bolus whose end is not known, what was requested, with a question mark."""
    if bolus.ended_at is not None or bolus.extended_u:
        return texts.amount(bolus.immediate_u, 2)
    amount_u = bolus.requested_u or bolus.immediate_u
    return f"{texts.amount(amount_u, 2)}?" if amount_u else "?"


def _title(texts: Texts, zones: Zones, bolus: Bolus) -> str:
    when, end = texts.time(zones.wall_of(bolus.started_at)), value_words.bolus_end(texts, bolus)
    words = f"{when} · {value_words.bolus_kind(texts, bolus)} {value_words.bolus(texts, bolus)}"
    return f"{words}, {end}" if end else words


def extended_end(bolus: Bolus) -> datetime:
    """When the extended part ended, or how far it is known to have come."""
    return bolus.extended_until or bolus.ended_at or bolus.extended_from or bolus.started_at


def _extended_words(texts: Texts, bolus: Bolus) -> str:
    begin = bolus.extended_from or bolus.started_at
    values = {
        "amount": value_words.insulin(texts, bolus.extended_u),
        "length": value_words.duration(texts, max(timedelta(), (bolus.extended_until or begin) - begin)),
    }
    words = texts.gettext("%(amount)s over %(length)s") % values
    return words if bolus.ended_at is not None else value_words.so_far(texts, words)


def _pills(centres: Sequence[float], words: Sequence[str], scale: TimeScale) -> Sequence[Placed]:
    widths = [label_width(label) + 2 * PADDING_PX for label in words]
    return place(
        [(x - width / 2, width) for x, width in zip(centres, widths, strict=True)], scale.left, scale.right, gap=2.0
    )


def _pill(spot: Placed, y: float, label: str, kind: str, title: str, x: float) -> Markup:
    at = y + spot.row * ROW_PX
    return element(
        "g",
        element("title", title),
        line(x, at + PILL_PX, x, at + PILL_PX + STEM_PX, "stem"),
        rect(spot.left, at, spot.width, PILL_PX, "pill", rx=8.0),
        text(spot.left + spot.width / 2, at + 12.5, label, "pill-label", "middle"),
        class_=f"dose {kind}",
    )
