"""The older t:connect's services, through the real engine, to a site: what they tell is there once and right."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

from older_world import RunningOlder, as_told
from running_engine import ZONE, HandClock

from tconnectsync_simulator.comparison import compare
from tconnectsync_simulator.nightscout import SimulatedNightscout
from tconnectsync_simulator.plan import SimulationPlan
from tconnectsync_simulator.pump import simulate
from tconnectsync_simulator.tconnect import LegacyCloud

BEGIN = datetime(2021, 4, 1, 4, tzinfo=timezone.utc)


def test_thirty_days_are_there_once_and_right(tmp_path: Path) -> None:
    pump = simulate(SimulationPlan(seed=31, zone=ZONE, start=BEGIN.date(), days=33, clock_drift_s_per_day=0.05))
    clock = HandClock(BEGIN + timedelta(days=32))
    with LegacyCloud(pump, clock) as cloud, SimulatedNightscout(version="15.0.6", now=clock.now) as site:
        running = RunningOlder(tmp_path / "home", cloud, site, clock, history_days=31)
        result = running.ask("sync")
        assert result.status == 0, result.lines
        documents = site.documents("treatments")
        window = (BEGIN + timedelta(days=1, hours=12), clock.now() - timedelta(hours=8))
        found = compare(as_told(pump), documents, window=window)
        print(Counter(doc["eventType"] for doc in documents), found)
        assert found.lines() == []
