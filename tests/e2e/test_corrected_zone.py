"""A time zone is changed and changed back before everything was moved: nothing is lost on the site."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.engine_in_process import InProcessEngine
from tests.support.clocks import FakeClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

BEGIN = datetime(2026, 9, 1, 4, tzinfo=timezone.utc)
MORE = "[sinks.nightscout-cgm]\nenabled = true\n[limits]\nrewrite_brake = 100000\n"


@pytest.mark.parametrize("version", ["14.2.6", "15.0.7"])
def test_zone_changed_back_half_way(tmp_path: Path, version: str) -> None:
    """Readings come every 300 seconds, so a reading that moves by six hours takes the place of another one on the site."""
    pump = simulate(SimulationPlan(zone="America/New_York", start=date(2026, 9, 1), days=5, scan_codes=False))
    clock = FakeClock(BEGIN + timedelta(days=4))
    with (
        FaultyTandemCloud([pump], clock, token_life_s=8 * 3600) as cloud,
        SimulatedNightscout(version=version, now=clock.now) as site,
    ):
        home = InProcessEngine(
            tmp_path / "home", cloud, site, clock, zone="America/New_York", history_days=3, more=MORE
        )
        assert home.ask("sync").status == 0
        readings = sorted((each["identifier"], each["date"]) for each in site.documents("entries"))
        treatments = sorted((each["identifier"], each["created_at"]) for each in site.documents("treatments"))
        home.zone = "Europe/Berlin"
        home.reopen()
        asked = len(site.requests)
        while not any(each.method == "POST" and "entries" in each.path for each in site.requests[asked:]):
            assert home.engine.run_once(polling=False)
        assert len(site.documents("entries")) < len(readings), "some took the places of others"
        home.zone = "America/New_York"
        home.reopen()
        assert home.ask("sync").status == 0
        assert sorted((each["identifier"], each["date"]) for each in site.documents("entries")) == readings
        assert sorted((each["identifier"], each["created_at"]) for each in site.documents("treatments")) == treatments
        home.engine.close()
