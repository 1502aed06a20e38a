"""The figures of every day against the truth of simulated pumps, read from a real log."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import attrs
import pytest

from tconnectsync.python_api.pump_log import PumpLog
from tconnectsync.statistics.summary import Summary, days_between
from tconnectsync.timeline.zones import Zones
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tconnectsync_simulator.pump.truth import Truth
from tests.simulator.two_pumps import hand_over
from tests.statistics.simulated_log import TrueDay, true_days, write_log
from tests.support.clocks import FakeClock
from tests.support.source_harness import KINDS, source_world
from tests.support.source_harness import ZONE as SOURCE_ZONE
from tests.support.source_harness import pump as tconnect_pump
from tests.support.truths import all_uploaded_at, merge

UTC = timezone.utc
INSULIN_U = 0.05
SHARE = 0.1


def figures(
    folder: Path, zone: str, first: date, last: date, truth: Truth, *pumps: SimulatedPump
) -> list[tuple[Summary, TrueDay]]:
    """Each day's figures beside the truth."""
    write_log(folder, *pumps)
    clock = FakeClock(max(all_uploaded_at(pump) for pump in pumps))
    with PumpLog.open(folder, Zones(timezone=zone), clock=clock) as log:
        found = log.days(first, last)
    truths = true_days(truth, zone, list(days_between(first, last)))
    return [(day, truths[day.first_day]) for day in found]


def check(days: list[tuple[Summary, TrueDay]]) -> None:
    for day, true in days:
        named = f"{day.first_day}"
        assert day.insulin.basal_u == pytest.approx(true.basal_u, abs=INSULIN_U), named
        assert day.insulin.bolus_u == pytest.approx(true.bolus_u, abs=INSULIN_U), named
        assert day.insulin.carbs_g == true.carbs_g, named
        assert day.insulin.boluses == true.boluses, named
        assert day.insulin.automatic_boluses == true.automatic, named
        assert day.glucose.readings == len(true.glucose), named
        shares = day.glucose.time_in_range
        assert shares is not None, named
        bounds = {
            "very_low": (0, 53),
            "low": (54, 69),
            "target": (70, 180),
            "high": (181, 250),
            "very_high": (251, 999),
        }
        for name, (low, high) in bounds.items():
            assert getattr(shares, name) == pytest.approx(true.share(low, high), abs=SHARE), (named, name)


@pytest.mark.parametrize(
    ("zone", "start", "days", "hours"),
    [("America/New_York", date(2026, 3, 3), 10, 23), ("Europe/Berlin", date(2026, 10, 23), 5, 25)],
)
def test_days_with_a_clock_change(tmp_path: Path, zone: str, start: date, days: int, hours: int) -> None:
    """Insulin, carbs and time in range of each day are the truth's, also on the day of 23 or 25 hours."""
    pump = simulate(
        SimulationPlan(seed=5, zone=zone, start=start, days=days, late_share=0.1, clock_drift_s_per_day=1.0)
    )
    first, last = start + timedelta(days=1), start + timedelta(days=days - 2)
    found = figures(tmp_path, zone, first, last, pump.truth, pump)
    check(found)
    assert sorted({day.length_s / 3600 for day, _ in found}) == sorted({24.0, float(hours)})
    assert all(day.coverage_percent is not None and 60 < day.coverage_percent <= 100 for day, _ in found)


def test_data_that_end_before_the_period(tmp_path: Path) -> None:
    """What is missing of days that are over is missing, as it is before newer data. Only the present day ends with the data."""
    pump = simulate(SimulationPlan(seed=4, zone="Europe/Berlin", start=date(2026, 6, 1), days=6))
    stop = datetime(2026, 6, 4, 6, tzinfo=UTC)  # 08:00 in Berlin
    write_log(tmp_path, pump, until_s=stop.timestamp())
    spans: list[list[tuple[float, bool]]] = []
    for now in (stop + timedelta(minutes=30), stop + timedelta(days=2)):
        with PumpLog.open(tmp_path, Zones(timezone="Europe/Berlin"), clock=FakeClock(now)) as log:
            days = log.days(date(2026, 6, 3), date(2026, 6, 5))
        spans.append([(round(day.length_s / 3600), day.is_basal_incomplete) for day in days])
    assert spans == [[(24, False), (7, False), (0, False)], [(24, False), (24, True), (24, False)]]
    assert [round(day.coverage_percent or 0, -1) for day in days] == [100, 30, 0]


def test_days_without_records_after_a_stop(tmp_path: Path) -> None:
    """Insulin was stopped when the records broke off: the stop ends with them, and nothing is known of the days after it."""
    pump = simulate(SimulationPlan(seed=4, zone="Europe/Berlin", start=date(2026, 6, 1), days=10))
    stop = next(each.started_at for each in pump.truth.suspensions if each.name == "user" and each.started_at.day > 3)
    silent, again = (stop + wait for wait in (timedelta(minutes=2), timedelta(days=3)))
    told = [each for each in pump.log if not silent.timestamp() < each.at_s < again.timestamp()]
    write_log(tmp_path, attrs.evolve(pump, log=tuple(told)))
    first = stop.date()
    with PumpLog.open(tmp_path, Zones(timezone="Europe/Berlin"), clock=FakeClock(all_uploaded_at(pump))) as log:
        whole, days = log.therapy(stop - timedelta(hours=1), again), log.days(first, first + timedelta(days=2))
        later = log.therapy(stop + timedelta(days=1), again)
    assert sum((each.end - each.begin for each in whole.basal if each.suspended), timedelta()) < timedelta(minutes=10)
    assert later.basal == []
    assert [day.is_basal_incomplete or not day.days_with_data for day in days] == [True] * 3


def test_two_pumps(tmp_path: Path) -> None:
    """Only the pump that is worn counts, although the other one still logs a rate in its drawer."""
    at = datetime(2026, 6, 5, 17, 30, tzinfo=UTC)
    plan = SimulationPlan(seed=8, zone="Europe/Berlin", start=date(2026, 6, 3), days=5, drawer_rate="profile")
    old, new = hand_over(plan, at)
    first, last = date(2026, 6, 4), date(2026, 6, 6)
    check(figures(tmp_path, plan.zone, first, last, merge((old.truth, new.truth)), old, new))


def test_figures_of_a_growing_log(tmp_path: Path) -> None:
    """A log that is kept open gives the same figures as one that is opened again, whatever arrives late."""
    pump = simulate(SimulationPlan(seed=3, zone="Europe/Berlin", start=date(2026, 6, 1), days=3, late_share=0.3))
    zones, first, last = Zones(timezone="Europe/Berlin"), date(2026, 6, 1), date(2026, 6, 3)
    clock = FakeClock(all_uploaded_at(pump))
    uploads = sorted({record.uploaded_s for record in pump.log})
    write_log(tmp_path, pump, until_s=uploads[len(uploads) // 4])
    with PumpLog.open(tmp_path, zones, clock=clock) as kept:
        for part in (2, 3, 4):
            write_log(tmp_path, pump, until_s=uploads[len(uploads) * part // 4 - 1])
            found = kept.days(first, last)
            assert found == kept.days(first, last)
            with PumpLog.open(tmp_path, zones, clock=clock) as fresh:
                assert found == fresh.days(first, last)


def test_a_source_without_sequence_numbers(tmp_path: Path) -> None:
    """Rows of the older t:connect services, with lengths instead of repeated records, give the same figures."""
    kind = next(each for each in KINDS if each.name == "tconnect")
    first, last = date(2021, 4, 4), date(2021, 4, 6)
    with source_world(kind, tmp_path, history_days=4) as world:
        world.poll()
        with PumpLog.open(tmp_path, Zones(timezone=SOURCE_ZONE), clock=world.clock) as log:
            found = log.days(first, last)
    truths = true_days(tconnect_pump().truth, SOURCE_ZONE, list(days_between(first, last)))
    check([(day, truths[day.first_day]) for day in found])
