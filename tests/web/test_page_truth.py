"""The pages of a week against the truth of a simulated pump: everything is there, at its time, with its amount."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone

import attrs
import pytest

from tconnectsync import day_span
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tconnectsync_web.log_reader import LogReader
from tconnectsync_web.pages.chart_content import ChartContent
from tconnectsync_web.pages.day import DayPage, day_page
from tests.statistics.simulated_log import write_log
from tests.support.truths import all_uploaded_at
from tests.web.simulated_pages import reader_of

UTC = timezone.utc
HOUR = timedelta(hours=1)
FIRST, DAYS = date(2026, 3, 5), 7
SECONDS = timedelta(seconds=2)
"""The seconds that setting the pump's clock takes."""


@attrs.frozen
class PageWeek:
    """The pages of a week, in which the clock changes, and the pump that they show."""

    pump: SimulatedPump
    reader: LogReader
    pages: tuple[DayPage, ...]

    @property
    def charts(self) -> list[ChartContent]:
        return [page.chart for page in self.pages]

    @property
    def begin(self) -> datetime:
        return self.pages[0].chart.begin

    @property
    def end(self) -> datetime:
        return self.pages[-1].chart.end

    def has(self, at: datetime) -> bool:
        return self.begin <= at < self.end


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageWeek]:
    """One log for all tests; a tenth of the records came late."""
    folder = tmp_path_factory.mktemp("week")
    pump = simulate(SimulationPlan(seed=12, start=FIRST - timedelta(days=2), days=DAYS + 4, late_share=0.1))
    write_log(folder, pump)
    reader = reader_of(folder, pump.plan.zone, all_uploaded_at(pump))
    pages = tuple(day_page(reader, FIRST + timedelta(days=number)) for number in range(DAYS))
    yield PageWeek(pump, reader, pages)
    reader.close()


def close(one: datetime, other: datetime | None) -> bool:
    return other is not None and abs(one - other) <= SECONDS


def test_days_follow_each_other(week: PageWeek) -> None:
    """One of the days has 23 hours, and no second is missing or twice."""
    assert sorted({page.hours for page in week.pages}) == [23.0, 24.0]
    assert all(one.end == other.begin for one, other in zip(week.charts, week.charts[1:], strict=False))


def test_every_bolus(week: PageWeek) -> None:
    """Each bolus is on its day, at its time, with both amounts and its carbs; there are no others."""
    true = [bolus for bolus in week.pump.truth.boluses if week.has(bolus.started_at) and bolus.delivered_u > 0]
    shown = [bolus for page in week.pages for bolus in page.boluses]
    assert len(true) > 30
    assert len(shown) == len(true)
    for told, bolus in zip(shown, true, strict=True):
        assert close(bolus.started_at, told.started_at)
        assert told.immediate_u == pytest.approx(bolus.immediate_u, abs=0.01)
        assert told.extended_u == pytest.approx(bolus.extended_u, abs=0.01)
        assert (told.carbs_g or 0) == bolus.carbs_g
        assert told.automatic == (bolus.kind == "automatic")
        if bolus.extended_u:
            assert close(told.extended_until or told.started_at, bolus.ended_at)
    assert any(bolus.extended_u for bolus in true)


def test_all_carbs(week: PageWeek) -> None:
    """Carbs with a bolus and alone."""
    boluses = [(each.started_at, each.carbs_g) for each in week.pump.truth.boluses if each.carbs_g]
    alone = [(each.at, each.value) for each in week.pump.truth.carbs_only]
    true = sorted((at, grams) for at, grams in [*boluses, *alone] if week.has(at))
    shown = [each for chart in week.charts for each in chart.carbs]
    assert [each.carbs_g for each in shown] == [grams for _, grams in true]
    assert all(close(each.at, at) for each, (at, _) in zip(shown, true, strict=True))


def test_basal_of_every_hour(week: PageWeek) -> None:
    """The area under the basal of each hour is the insulin of that hour."""
    segments = [segment for chart in week.charts for segment in chart.basal]
    hours = [hour for hour in week.pump.truth.basal_u_per_hour if week.has(hour)]
    assert len(hours) == DAYS * 24 - 1
    for hour in hours:
        parts = [
            each.rate_u_per_h * ((min(each.end, hour + HOUR) - max(each.begin, hour)) / HOUR)
            for each in segments
            if each.begin < hour + HOUR and each.end > hour
        ]
        assert sum(parts) == pytest.approx(week.pump.truth.basal_u_per_hour[hour], abs=0.01), hour


@pytest.mark.parametrize("kind", ["sleep", "exercise", "suspended"])
def test_every_band(week: PageWeek, kind: str) -> None:
    """Sleep, exercise and suspensions begin and end when they did; at midnight they are cut."""
    truth = week.pump.truth
    true = truth.suspensions if kind == "suspended" else tuple(mode for mode in truth.modes if mode.name == kind)
    expected = []
    for chart in week.charts:
        for span in true:
            begin, end = max(span.started_at, chart.begin), min(span.ended_at or chart.end, chart.end)
            if begin < end:
                expected.append((begin, end, span.name))
    shown = [band for chart in week.charts for band in chart.bands if band.kind == kind]
    assert expected
    assert len(shown) == len(expected)
    for band, (begin, end, name) in zip(shown, sorted(expected), strict=True):
        assert close(begin, band.begin)
        assert close(end, band.end)
        assert kind != "suspended" or band.reason == name


def test_site_changes_cartridges_sensors_and_glucose(week: PageWeek) -> None:
    """Marks are at their times; each reading is there once."""
    truth = week.pump.truth
    for kind, name in (("site", "cannula"), ("cartridge", "cartridge")):
        true = sorted(fill.at for fill in truth.fills if fill.name == name and week.has(fill.at))
        shown = sorted(mark.at for chart in week.charts for mark in chart.marks if mark.kind == kind)
        assert true
        assert len(shown) == len(true), kind
        assert all(close(one, other) for one, other in zip(shown, true, strict=True))
    true_readings = [reading for reading in truth.glucose if week.has(reading.at)]
    points = [point for chart in week.charts for point in chart.glucose]
    assert len(points) == len(true_readings) > 1000
    for point, reading in zip(points, true_readings, strict=True):
        assert close(point.at, reading.at)
        assert point.mark == reading.mark
        assert reading.mark != "value" or point.glucose_mg_dl == reading.glucose_mg_dl


def test_the_reader_answers_the_same_question_from_memory(week: PageWeek) -> None:
    """Until the log changes, an answer is not read twice."""
    span = day_span(FIRST, week.reader.zones)
    assert week.reader.therapy(*span) is week.reader.therapy(*span)
