"""Charts as SVG: everything is drawn, nothing hides a label, and texts are escaped."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree as ET

import attrs
import pytest

from tconnectsync import BasalSpan, Bolus, GlucoseCounts, GlucosePoint, GlucoseUnits, Zones
from tconnectsync_web.charts.report_charts import hours_chart, percentile_chart
from tconnectsync_web.charts.scale import TimeScale, hour_ticks, label_width, place
from tconnectsync_web.charts.svg import element
from tconnectsync_web.charts.therapy_chart import NARROW, WIDE, ChartSize, ChartStyle, therapy_chart
from tconnectsync_web.languages import Languages
from tconnectsync_web.pages.chart_content import Band, Carbs, ChartContent, ChartMark
from tconnectsync_web.pages.value_words import ZONES
from tests.web.fake_reader import NOW, at

UTC = timezone.utc
ENGLISH = Languages().choose(["en-GB"])
BERLIN = Zones(timezone="Europe/Berlin")
SVG = "{http://www.w3.org/2000/svg}"


def drawn(content: ChartContent, size: ChartSize = WIDE, units: GlucoseUnits = GlucoseUnits.MG_DL) -> ET.Element:
    """The chart, parsed."""
    chart = therapy_chart(content, ChartStyle(texts=ENGLISH, units=units, zones=BERLIN, size=size))
    return ET.fromstring(str(chart).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))  # noqa: S314 - our own chart


def with_class(chart: ET.Element, class_: str) -> list[ET.Element]:
    """The elements with this class."""
    return [each for each in chart.iter() if class_ in (each.get("class") or "").split()]


def box(shape: ET.Element) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a rectangle."""
    x, y, width, height = (float(shape.get(name) or 0) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


BUSY = ChartContent(
    begin=at(360),
    end=NOW,
    now=NOW,
    until=at(4),
    glucose=[GlucosePoint(at=at(5 * number), glucose_mg_dl=60.0 + 3 * number) for number in range(70, 0, -1)],
    basal=[BasalSpan(begin=at(360), end=at(200), rate_u_per_h=0.8), BasalSpan(begin=at(200), end=at(180), rate_u_per_h=0.0, suspended=True)],
    boluses=[
        Bolus(bolus_id=number, started_at=at(300 - 4 * number), immediate_u=0.5 + number, automatic=number % 2 == 0, ended_at=at(1))
        for number in range(12)
    ],
    carbs=[Carbs(at=at(300 - 4 * number), carbs_g=10.0 + number) for number in range(12)],
    bands=[Band(kind="sleep", begin=at(360), end=at(120)), Band(kind="suspended", begin=at(200), end=at(180), reason="user")],
    marks=[ChartMark(kind="site", at=at(10)), ChartMark(kind="alarm", at=at(8), name="occlusion")],
)  # fmt: skip


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=lambda size: size.name)
def test_no_label_hides_another(size: ChartSize) -> None:
    """Twelve boluses and carbs within an hour: each has its own label, and none overlaps, on a phone too."""
    chart = drawn(BUSY, size)
    pills = [box(pill) for pill in with_class(chart, "pill")]
    assert len(pills) == 24
    for number, (left, top, right, bottom) in enumerate(pills):
        assert size.left <= left < right <= size.width
        for other in pills[number + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    words = [label.text for label in with_class(chart, "pill-label")]
    assert words == [f"{10 + number} g" for number in range(12)] + [f"{0.5 + number:g}" for number in range(12)]


def test_lanes_lie_below_each_other() -> None:
    """Basal is below all doses, and doses are below the glucose: nothing is drawn over a dose."""
    chart = drawn(BUSY)
    glucose_floor = max(box(shape)[3] for shape in with_class(chart, "target"))
    doses = [box(pill) for pill in with_class(chart, "pill")]
    basal_top = min(box(shape)[1] for shape in with_class(with_class(chart, "basal")[0], "suspended"))
    assert glucose_floor < min(dose[1] for dose in doses)
    assert max(dose[3] for dose in doses) < basal_top


def test_a_label_is_at_its_time() -> None:
    """A bolus in the middle of the chart has its stem in the middle."""
    content = attrs.evolve(
        BUSY, boluses=[Bolus(bolus_id=1, started_at=at(180), immediate_u=2.0, ended_at=at(179))], carbs=()
    )
    [stem] = with_class(drawn(content), "stem")
    assert float(stem.get("x1") or 0) == pytest.approx((WIDE.left + WIDE.width - WIDE.right) / 2, abs=0.1)


def test_an_extended_bolus_is_a_bar_over_its_time() -> None:
    """Its immediate part is a label; a bar as long as the extended part shows how much came over which time."""
    given = Bolus(
        bolus_id=1, started_at=at(240), immediate_u=1.0, extended_u=2.0, extended=True, extended_from=at(240),
        extended_until=at(120), ended_at=at(120),
    )  # fmt: skip
    chart = drawn(attrs.evolve(BUSY, boluses=[given], carbs=()))
    [bar] = with_class(chart, "extended")
    left, _, right, _ = box(bar)
    per_hour = (WIDE.width - WIDE.left - WIDE.right) / 6
    assert right - left == pytest.approx(2 * per_hour, abs=0.2)
    assert [label.text for label in with_class(chart, "extended-label")] == ["2 U over 2 h"]
    assert [label.text for label in with_class(chart, "pill-label")] == ["1"]


@pytest.mark.parametrize(
    ("amounts", "pill", "bar"),
    [
        ({"requested_u": 4.12}, "4.12?", []),
        ({"requested_u": 4.12, "immediate_u": 2.0}, "4.12?", []),
        ({"immediate_u": 2.0}, "2?", []),
        ({}, "?", []),
        ({"requested_u": 4.0, "extended": True}, "4?", []),
        ({"requested_u": 4.0, "immediate_u": 1.5, "extended": True, "extended_u": 0.3}, "1.5", ["so far 0.3 U over 20 min"]),
    ],
)  # fmt: skip
def test_an_open_bolus_shows_what_was_requested(amounts: dict[str, Any], pill: str, bar: list[str]) -> None:
    """While its end is not known, "0" would hide it. Its title says what is known."""
    given = Bolus(bolus_id=1, started_at=at(60), extended_from=at(50), extended_until=at(30), **amounts)
    chart = drawn(attrs.evolve(BUSY, boluses=[given], carbs=()))
    assert [label.text for label in with_class(chart, "pill-label")] == [pill]
    assert [label.text for label in with_class(chart, "extended-label")] == bar
    assert "running, or its end is not known yet" in (with_class(chart, "dose")[0].findtext(f"{SVG}title") or "")
    assert "running, or its end is not known yet" in (chart.findtext(f"{SVG}desc") or "")


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=lambda size: size.name)
def test_a_word_beside_a_short_bar_is_in_the_chart(size: ChartSize) -> None:
    """A bar that is too short for its word has it beside it: no word begins in a bar and ends outside, or outside the chart."""
    bands = [Band(kind="exercise", begin=at(350), end=at(345)), Band(kind="exercise", begin=at(12), end=at(2))]
    chart = drawn(attrs.evolve(BUSY, bands=bands), size)
    bars, labels = [box(each) for each in with_class(chart, "band")], with_class(chart, "band-label")
    assert len(bars) == len(labels) == 2
    for (left, _, right, _), label in zip(bars, labels, strict=True):
        begin = float(label.get("x") or 0)
        end = begin + label_width(label.text or "")
        assert end <= left or begin >= right
        assert size.left <= begin < end <= size.width


def test_bands_and_marks_have_words() -> None:
    """A colour alone says nothing: each band and mark has a word in the chart."""
    chart = drawn(BUSY)
    assert [label.text for label in with_class(chart, "band-label")] == ["Sleep", "Insulin stopped"]
    assert [label.text for label in with_class(chart, "mark-label")] == ["New site", "Alarm: Occlusion"]


def test_readings_have_the_colour_of_their_zone() -> None:
    """Very low and very high have their own, by the international consensus."""
    points = [
        GlucosePoint(at=at(100 - 5 * number), glucose_mg_dl=float(value))
        for number, value in enumerate((50, 60, 120, 200, 300, 301))
    ]
    chart = drawn(attrs.evolve(BUSY, glucose=points))
    counts = {zone: sum((dots.get("d") or "").count("h0") for dots in with_class(chart, zone)) for zone in ZONES}
    assert counts == {"very-low": 1, "low": 1, "in-range": 1, "high": 1, "very-high": 2}


def test_gaps_are_not_joined() -> None:
    """Two readings that are far apart are not joined by a line."""
    points = [GlucosePoint(at=at(minutes), glucose_mg_dl=100.0) for minutes in (100, 95, 60, 55)]
    [trace] = with_class(drawn(attrs.evolve(BUSY, glucose=points)), "trace")
    assert re.sub(r"[^ML]", "", trace.get("d") or "") == "MLML"


def test_what_is_not_known_yet_is_marked() -> None:
    """From the newest data until now the chart says that there are none yet."""
    [shade] = with_class(drawn(attrs.evolve(BUSY, until=at(120))), "not-known")
    left, _, right, _ = box(shade)
    assert right - left == pytest.approx((WIDE.width - WIDE.left - WIDE.right) / 3, abs=0.2)
    assert with_class(drawn(BUSY), "not-known") == []


def test_title_and_description_say_what_is_drawn() -> None:
    """Readers who do not see the chart get its times, sums and events."""
    chart = drawn(BUSY, units=GlucoseUnits.MMOL_L)
    heading, description = (chart.findtext(f"{SVG}{name}") or "" for name in ("title", "desc"))
    assert "12:00" in heading
    assert "18:00" in heading
    for words in ("mmol/L", "12 boluses", "72 U", "186 g", "Sleep", "Occlusion"):
        assert words in description
    ids = {each.get("id") for each in chart.iter()}
    assert set((chart.get("aria-labelledby") or "").split()) <= ids


def test_the_description_counts_as_the_figures_do() -> None:
    """A bolus that began earlier is not one of these hours; what its extended part delivers in them counts."""
    hour = timedelta(hours=1)
    earlier = Bolus(
        bolus_id=1, started_at=NOW - hour, ended_at=NOW + hour, immediate_u=4.0, extended_u=3.0, extended_from=NOW - hour,
        extended_until=NOW + hour, extended=True,
    )  # fmt: skip
    own = Bolus(bolus_id=2, started_at=NOW + hour, ended_at=NOW + hour, immediate_u=2.0)
    content = ChartContent(begin=NOW, end=NOW + 3 * hour, boluses=[earlier, own])
    assert "1 bolus, 3.5 U" in (drawn(content).findtext(f"{SVG}desc") or "")


def test_texts_are_escaped() -> None:
    """A name from the pump cannot become markup."""
    chart = drawn(attrs.evolve(BUSY, marks=[ChartMark(kind="alarm", at=at(100), name='<b onload="x">&')]))
    [label] = with_class(chart, "mark-label")
    assert label.text == 'Alarm: <b onload="x">&'
    assert str(element("a", "<", class_='"')) == '<a class="&#34;">&lt;</a>'


def test_an_empty_chart_is_valid() -> None:
    """Nothing to draw is no error."""
    assert with_class(drawn(ChartContent(begin=at(360), end=NOW)), "pill") == []


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("Europe/Berlin", date(2026, 3, 29), [0, 1, 3, 4]),
        ("Europe/Berlin", date(2026, 10, 25), [0, 1, 2, 2, 3]),
        ("Asia/Kolkata", date(2026, 3, 29), [0, 1, 2, 3]),
    ],
)
def test_hours_of_days_on_which_the_clock_changes(zone: str, day: date, expected: list[int]) -> None:
    """The axis has an hour twice where the clock is set back, and misses one where it is set forward."""
    zones = Zones(timezone=zone)
    begin = zones.day_start(day)
    ticks = list(hour_ticks(begin, begin + timedelta(hours=len(expected) - 1), zones, 1))
    assert [local.hour for _, local in ticks] == expected
    assert all(two[0] - one[0] == timedelta(hours=1) for one, two in pairwise(ticks))


def test_places_are_linear_in_time() -> None:
    """Also over a change of the clock: an hour is an hour."""
    begin = datetime(2026, 3, 29, 0, tzinfo=UTC)
    scale = TimeScale(begin=begin, end=begin + timedelta(hours=4), left=0.0, right=400.0)
    assert [scale.x(begin + timedelta(hours=hour)) for hour in (-1, 0, 1, 2, 5)] == [0, 0, 100, 200, 400]


def test_rows_are_used_again_once_they_are_free() -> None:
    """Labels go into the first row with room."""
    assert [each.row for each in place([(0, 50), (20, 50), (60, 50), (80, 50)], 0, 500)] == [0, 1, 0, 1]


def test_report_charts_of_few_readings() -> None:
    """A half-hour without readings leaves a gap, and an hour without readings has no bar."""
    counts = GlucoseCounts(by_half_hour={0: {100: 3}, 1: {120: 2}, 20: {50: 1, 200: 3}})
    curve = str(percentile_chart(counts, ENGLISH, GlucoseUnits.MMOL_L))
    assert curve.count('class="median"') == 2 * 2
    assert "NaN" not in curve
    bars = str(hours_chart(counts, ENGLISH))
    assert bars.count("% in range") == 2 * 2
    assert (
        str(percentile_chart(GlucoseCounts(), ENGLISH, GlucoseUnits.MG_DL)).count("median") == 2
    )  # in the description
