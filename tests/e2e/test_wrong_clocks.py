"""A pump's clock that is abroad, minutes fast or days ahead: the real engine, over real HTTP, on a simulated clock."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from tconnectsync_simulator.pump.plan import Flight, SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.engine_in_process import BEGIN, ZONE, InProcessEngine
from tests.support.clocks import FakeClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.site_comparison import compare

DAY = timedelta(days=1)
PLAN = SimulationPlan(seed=61, zone=ZONE, start=BEGIN.date(), days=4, clock_set_delay_h=None)


def messages(running: InProcessEngine) -> str:
    """What ``status`` says about the source."""
    return str(running.status()["sources"]["tandem"])


@pytest.mark.parametrize("sets_time_first", [True, False])
def test_first_sync_abroad(tmp_path: Path, sets_time_first: bool) -> None:
    """A first sync abroad is right in whichever order date and time were set.

    From New York to Berlin over midnight, a day before the first sync; the zone in the file is the one at home.
    """
    flight = Flight(lands_at=BEGIN + DAY + timedelta(hours=17), zone="Europe/Berlin")
    pump = simulate(attrs.evolve(PLAN, flights=(flight,), sets_time_first=sets_time_first))
    clock = FakeClock(BEGIN + 3 * DAY)
    with FaultyTandemCloud([pump], clock) as cloud, SimulatedNightscout(now=clock.now) as site:
        running = InProcessEngine(tmp_path / "home", cloud, site, clock)
        running.until(clock.now() + timedelta(hours=2))
        window = (BEGIN + DAY + timedelta(hours=2), clock.now() - timedelta(hours=4))
        found = compare(pump.truth, site.documents("treatments"), window=window)
        assert found.lines() == []
        assert found.boluses_compared > 3
        assert "6 h ahead" in messages(running)
        running.engine.close()


def test_clock_nine_minutes_fast(tmp_path: Path) -> None:
    """A clock that was nine minutes fast and is set right moves nothing by a quarter of an hour."""
    set_right = BEGIN + 2 * DAY + timedelta(hours=9)
    plan = attrs.evolve(
        PLAN, flights=(Flight(lands_at=set_right, zone=ZONE),), clock_drift_s_per_day=13.0, set_up_days_before=40
    )
    pump = simulate(plan)
    clock = FakeClock(BEGIN + 2 * DAY)
    with FaultyTandemCloud([pump], clock) as cloud, SimulatedNightscout(now=clock.now) as site:
        running = InProcessEngine(tmp_path / "home", cloud, site, clock, poll_s=(1200, 2400))
        running.until(BEGIN + 2 * DAY + timedelta(hours=3))
        assert "min ahead" in messages(running)
        running.until(BEGIN + 3 * DAY + timedelta(hours=9))
        window = (set_right + timedelta(hours=1), clock.now() - timedelta(hours=4))
        found = compare(pump.truth, site.documents("treatments"), window=window, tolerance_s=20.0, parts=["boluses"])
        assert found.lines() == []
        assert found.boluses_compared > 2
        assert "ahead" not in messages(running)
        running.engine.close()


def test_clock_days_ahead(tmp_path: Path) -> None:
    """A clock that is days ahead delivers nothing, and ``status`` asks."""
    pump = simulate(attrs.evolve(PLAN, clock_ahead_min=2 * 1440))
    clock = FakeClock(BEGIN + 2 * DAY)
    with FaultyTandemCloud([pump], clock) as cloud, SimulatedNightscout(now=clock.now) as site:
        running = InProcessEngine(tmp_path / "home", cloud, site, clock)
        running.until(clock.now() + timedelta(hours=2))
        assert site.documents("treatments") == []
        assert "documents wait" in messages(running)
        assert "`tconnectsync sync`" in messages(running)
        running.engine.close()
