"""The points of days against what the simulated pump did, and Home Assistant's insulin of a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise

import attrs
import pytest

from tconnectsync import Document, Event, PumpLog, Summary, Zones
from tconnectsync.testing import final_documents
from tconnectsync_influxdb.points import point_of
from tconnectsync_influxdb.sink import folds
from tconnectsync_mqtt.details_fold import DetailsFold
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tconnectsync_simulator.pump.truth import TrueBolus
from tests.statistics.simulated_log import write_log
from tests.support.clocks import FakeClock
from tests.support.truths import all_uploaded_at

ZONE, FIRST, DAYS = "Europe/Berlin", date(2026, 6, 1), 5


@attrs.frozen(kw_only=True)
class SimulatedDays:
    """The middle days of a simulated log: its events, the true boluses, the figures of each day, and the points."""

    begin: datetime
    end: datetime
    events: Sequence[Event]
    boluses: Sequence[TrueBolus]
    figures: Sequence[Summary]
    points: Mapping[str, Sequence[Document]]

    def within(self, measurement: str) -> list[Document]:
        return [each for each in self.points[measurement] if self.begin <= each.at < self.end]

    def total(self, measurement: str, field: str) -> float:
        return sum(each.content["fields"].get(field, 0.0) for each in self.within(measurement))


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> SimulatedDays:
    pump = simulate(SimulationPlan(seed=5, zone=ZONE, start=FIRST, days=DAYS, late_share=0.1))
    folder, zones = tmp_path_factory.mktemp("log"), Zones(timezone=ZONE)
    write_log(folder, pump)
    first, last = FIRST + timedelta(days=1), FIRST + timedelta(days=DAYS - 2)
    with PumpLog.open(folder, zones, clock=FakeClock(all_uploaded_at(pump))) as log:
        whole = zones.day_start(FIRST), zones.day_start(FIRST + timedelta(days=DAYS))
        events = sorted(log.events(*whole), key=lambda event: event.seq or 0)
        figures = list(log.days(first, last))
    begin, end = zones.day_start(first), zones.day_start(last + timedelta(days=1))
    points: dict[str, list[Document]] = {}
    for fold in folds():
        for each in final_documents(fold, [event for event in events if event.kind in fold.kinds]):
            points.setdefault(each.collection, []).append(each)
    boluses = [each for each in pump.truth.boluses if begin <= each.started_at < end]
    return SimulatedDays(begin=begin, end=end, events=events, boluses=boluses, figures=figures, points=points)


def test_every_bolus_at_its_second(days: SimulatedDays) -> None:
    """Each bolus that delivered something is one point at the second of its start, with its amounts; all carbs are there."""
    true = sorted(
        (each.started_at.replace(microsecond=0), round(each.delivered_u, 2), round(each.extended_u, 2))
        for each in days.boluses
        if each.delivered_u
    )
    told = [(each.at, each.content["fields"]) for each in days.within("bolus") if "insulin_u" in each.content["fields"]]
    found = sorted((at, round(said["insulin_u"], 2), round(said.get("extended_u", 0.0), 2)) for at, said in told)
    assert found == true
    assert len(found) > 10
    assert days.total("bolus", "carbs_g") == sum(day.insulin.carbs_g for day in days.figures)


def test_basal_holds_until_the_next_point(days: SimulatedDays) -> None:
    """Each rate times its length is the basal insulin of the days."""
    stretches = sorted(days.points["basal"], key=lambda each: each.at)
    found = sum(
        now.content["fields"]["rate_u_per_h"]
        * max(min(after.at, days.end) - max(now.at, days.begin), timedelta())
        / timedelta(hours=1)
        for now, after in pairwise(stretches)
    )
    assert found == pytest.approx(sum(day.insulin.basal_u for day in days.figures), abs=0.05)


def test_every_reading_once(days: SimulatedDays) -> None:
    """As many points as five-minute slots with a reading."""
    readings = [each for each in days.within("glucose") if each.content["tags"]["source"] != "fingerstick"]
    assert len(readings) == sum(day.slots_with_glucose for day in days.figures)


def test_no_two_points_in_one_place(days: SimulatedDays) -> None:
    """No point overwrites another one, and nothing is impossible."""
    documents = [each for found in days.points.values() for each in found]
    assert len({point_of(each).key.place for each in documents}) == len(documents)
    assert not [each.problem for each in documents if each.problem]


def test_insulin_of_each_day(days: SimulatedDays) -> None:
    """Home Assistant's "Insulin today" at the end of a day is that day's insulin."""
    fold, newest = DetailsFold(), dict[date, float]()
    state = fold.initial()
    for event in days.events:
        if event.kind in fold.kinds:
            state, _ = fold.step(state, event)
            newest[event.pump_time.date()] = state.dose.insulin_u
    for day in days.figures:
        assert newest[day.first_day] == pytest.approx(day.total_u, abs=0.25)
