"""The page beside a real Nightscout that holds the same week: both show the same, and the page's totals are true."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tconnectsync_simulator.pump.truth import Truth
from tconnectsync_web.pages.day import DayPage, day_page
from tests.e2e.engine_in_process import ZONE, InProcessEngine
from tests.statistics.simulated_log import true_days
from tests.support.clocks import FakeClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.real_servers import Site
from tests.support.truths import all_uploaded_at
from tests.web.simulated_pages import reader_of

UTC = timezone.utc
FIRST, DAYS = date(2026, 3, 5), 7
"""The clock is set forward in this week."""
SECONDS = timedelta(seconds=2)
PLAN = SimulationPlan(seed=12, zone=ZONE, start=FIRST - timedelta(days=2), days=DAYS + 4, late_share=0.1)


class ShownStretch(NamedTuple):
    """A basal rate, a suspension or a mode, from its begin to its end."""

    begin: datetime
    end: datetime
    amount: float = 0.0


class ShownEntry(NamedTuple):
    """A bolus, carbs or a mark at one time."""

    at: datetime
    amount: float = 0.0


class WeekOnBoth:
    """What both show of the same days."""

    def __init__(self, truth: Truth, pages: Sequence[DayPage], treatments: Sequence[dict[str, Any]]) -> None:
        self.truth, self.pages, self.treatments = truth, pages, sorted(treatments, key=at_of)
        self.begin, self.end = pages[0].chart.begin, pages[-1].chart.end

    def of_type(self, *types: str) -> list[dict[str, Any]]:
        return [document for document in self.treatments if document["eventType"] in types]

    def stretches(self, documents: Sequence[dict[str, Any]]) -> list[ShownStretch]:
        """The site's spans, cut to the week; spans that touch and are equal are joined."""
        found = [
            ShownStretch(at_of(each), at_of(each) + timedelta(minutes=each["duration"]), each.get("absolute", 0.0))
            for each in documents
        ]
        return joined(
            [ShownStretch(max(s.begin, self.begin), min(s.end, self.end), s.amount) for s in found if self.has(s)]
        )

    def entries(self, documents: Sequence[dict[str, Any]], amount: str = "") -> list[ShownEntry]:
        found = [ShownEntry(at_of(each), each.get(amount, 0.0)) for each in documents]
        return [entry for entry in found if self.begin <= entry.at < self.end]

    def has(self, stretch: ShownStretch) -> bool:
        return stretch.begin < self.end and stretch.end > self.begin


@pytest.fixture
def week(site: Site, tmp_path: Path) -> Iterator[WeekOnBoth]:
    """One installation fills the site, and its log is shown."""
    pump = simulate(PLAN)
    now = all_uploaded_at(pump)
    clock = FakeClock(now)
    with FaultyTandemCloud([pump], clock, token_life_s=8 * 3600) as cloud, contextlib.ExitStack() as stack:
        running = InProcessEngine(tmp_path / "home", cloud, site, clock, history_days=DAYS + 8)
        stack.callback(running.engine.close)
        assert running.ask("sync").status == 0
        reader = reader_of(tmp_path / "home" / "data", ZONE, now)
        stack.callback(reader.close)
        pages = [day_page(reader, FIRST + timedelta(days=number)) for number in range(DAYS)]
        yield WeekOnBoth(pump.truth, pages, site.documents("treatments"))


def at_of(document: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(document["created_at"].replace("Z", "+00:00"))


def insulin_of(document: dict[str, Any]) -> float:
    """Both parts of a bolus: Nightscout keeps the extended one as a rate and its length."""
    later = float(document.get("relative") or 0.0) * float(document.get("duration") or 0.0) / 60
    return float(document.get("insulin") or 0.0) + later


def joined(stretches: Sequence[ShownStretch]) -> list[ShownStretch]:
    found: list[ShownStretch] = []
    for each in sorted(stretches):
        if found and abs(each.begin - found[-1].end) <= SECONDS and abs(each.amount - found[-1].amount) < 0.0011:
            found[-1] = found[-1]._replace(end=each.end)
        else:
            found.append(each)
    return found


def assert_same(shown: Sequence[Any], stored: Sequence[Any], tolerance: float = 0.0011) -> None:
    """The same number, each at its time with its amount."""
    assert len(shown) == len(stored) > 0
    for mine, theirs in zip(shown, stored, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            near = SECONDS if isinstance(one, datetime) else tolerance
            assert abs(one - other) <= near, (mine, theirs)


def test_page_and_real_nightscout_show_the_same_week(week: WeekOnBoth) -> None:
    """Every bolus, carb entry, basal rate, suspension, mode and site change; and the totals of each day are the pump's."""
    pages = week.pages
    boluses = [ShownEntry(each.started_at, each.delivered_u) for page in pages for each in page.boluses]
    given = [ShownEntry(at_of(each), insulin_of(each)) for each in week.treatments if insulin_of(each)]
    assert_same(boluses, [each for each in given if week.begin <= each.at < week.end])

    carbs = [ShownEntry(each.at, each.carbs_g) for page in pages for each in page.chart.carbs]
    assert_same(carbs, week.entries([each for each in week.treatments if each.get("carbs")], "carbs"), 0.0)

    basal = [ShownStretch(each.begin, each.end, each.rate_u_per_h) for page in pages for each in page.chart.basal]
    documents = week.of_type("Temp Basal")
    assert_same(joined(basal), week.stretches(documents))

    bands = [band for page in pages for band in page.chart.bands]
    stopped = [each for each in documents if str(each.get("notes")).startswith("Delivery")]
    for kind, stored in (
        ("suspended", stopped),
        ("sleep", week.of_type("Sleep")),
        ("exercise", week.of_type("Exercise")),
    ):
        assert_same(
            joined([ShownStretch(each.begin, each.end) for each in bands if each.kind == kind]), week.stretches(stored)
        )

    marks = [mark for page in pages for mark in page.chart.marks]
    for kind, name in (("site", "Site Change"), ("cartridge", "Insulin Change")):
        assert_same([ShownEntry(mark.at) for mark in marks if mark.kind == kind], week.entries(week.of_type(name)))

    truth = true_days(week.truth, ZONE, [page.day for page in pages])
    for page in pages:
        summary, true = page.summary, truth[page.day]
        assert summary is not None
        shares = summary.glucose.time_in_range
        assert shares is not None
        assert summary.insulin.basal_u == pytest.approx(true.basal_u, abs=0.05), page.day
        assert summary.insulin.bolus_u == pytest.approx(true.bolus_u, abs=0.05), page.day
        assert summary.total_u == pytest.approx(true.basal_u + true.bolus_u, abs=0.05), page.day
        assert summary.insulin.carbs_g == true.carbs_g, page.day
        assert shares.target == pytest.approx(true.share(70, 180), abs=0.1), page.day
