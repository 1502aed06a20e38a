"""Thirty days with every kind of trouble, through real HTTP into a real Nightscout, against what was really delivered."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.installation import Installation, by_identity
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.site_comparison import compare
from tests.support.truths import merge

ZONE = "America/New_York"
AFTER_UPLOADS = timedelta(days=4)
"""Late records come within three days: what is older than this is complete."""


def start_of(today: date, days: int) -> date:
    return today - timedelta(days=days)


@pytest.fixture
def today() -> date:
    """Today's date in UTC."""
    return datetime.now(timezone.utc).date()


def window(days: int) -> tuple[datetime, datetime]:
    now = datetime.now(timezone.utc)
    return now - timedelta(days=days), now - AFTER_UPLOADS


def test_thirty_days_right_once_and_restored(site: Any, tmp_path: Path, today: date) -> None:
    """Every fact is there once and right, and comes back after a loss.

    Late uploads, a clock that drifts and is put right, interrupted and extended boluses, suspensions, fills, alarms.
    """
    plan = SimulationPlan(
        seed=11, zone=ZONE, start=start_of(today, 36), days=38, late_share=0.2, clock_drift_s_per_day=0.05
    )
    pump = simulate(plan)
    with FaultyTandemCloud([pump], standing_clock()) as cloud:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE)
        home.run("sync")
        documents = site.documents("treatments")
        kinds = Counter(doc["eventType"] for doc in documents)
        assert {
            "Temp Basal",
            "Meal Bolus",
            "Correction Bolus",
            "Combo Bolus",
            "Site Change",
            "Insulin Change",
            "Sleep",
            "Exercise",
        } <= set(kinds)
        found = compare(pump.truth, documents, window=window(29))
        assert found.lines() == []
        assert found.boluses_compared > 100
        assert found.basal_true_u > 300
        assert found.worst_basal_u <= 0.005

        before = by_identity(documents)
        writes = cloud.count("pump-logs")
        home.run("sync")
        assert cloud.count("pump-logs") == writes
        assert by_identity(site.documents("treatments")) == before

        site.drop("treatments")
        home.run("replay", "nightscout-treatments")
        home.run("replay", "nightscout-pump-events")
        assert by_identity(site.documents("treatments")) == before


def test_corrected_zone_leaves_no_stale_document(site: Any, tmp_path: Path, today: date) -> None:
    """A corrected time zone leaves no stale document behind."""
    plan = SimulationPlan(seed=12, zone=ZONE, start=start_of(today, 14), days=16, scan_codes=False)
    pump = simulate(plan)
    with FaultyTandemCloud([pump], standing_clock()) as cloud:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, "America/Los_Angeles", history_days=10)
        home.run("sync", expect=(0, 5, 6))
        home.configure(zone=ZONE)
        home.run("sync", expect=(0, 6))
        for sink in ("nightscout-treatments", "nightscout-pump-events"):
            home.run("replay", sink)
        assert compare(pump.truth, site.documents("treatments"), window=window(9)).lines() == []

        fresh = Installation(tmp_path / "fresh", cloud, site.url, site.secret, ZONE, history_days=10)
        mended = by_identity(site.documents("treatments"))
        site.drop_all()
        fresh.run("sync")
        right = by_identity(site.documents("treatments"))
        # After midnight in New York it is still the day before in Los Angeles, and the first history began a day earlier. So what
        # goes on at the begin of the second one is cut there only in that one.
        first = min(datetime.fromisoformat(known["created_at"].replace("Z", "+00:00")) for known in right.values())
        assert first <= window(9)[0]
        edge = f"{first + timedelta(minutes=10):%Y-%m-%dT%H:%M}"
        after_edge = [
            {id_: known for id_, known in found.items() if known["created_at"] >= edge} for found in (right, mended)
        ]
        assert after_edge[0] == after_edge[1]
        assert len(right) - len(after_edge[0]) < 10


def test_new_pump_takes_over(site: Any, tmp_path: Path, today: date) -> None:
    """A new pump takes over while the old one logs in a drawer."""
    change = datetime.combine(today - timedelta(days=9), datetime.min.time(), timezone.utc) + timedelta(hours=15)
    old = simulate(
        SimulationPlan(
            seed=13,
            serial="1111",
            zone=ZONE,
            start=start_of(today, 18),
            days=20,
            worn_until=change,
            drawer_rate="profile",
            scan_codes=False,
        )
    )
    new = simulate(
        SimulationPlan(
            seed=14,
            serial="2222",
            zone=ZONE,
            start=start_of(today, 10),
            days=12,
            worn_from=change,
            scan_codes=False,
        )
    )
    with FaultyTandemCloud([old, new], standing_clock()) as cloud:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=14)
        home.run("sync")
        found = compare(
            merge([old.truth, new.truth]), site.documents("treatments"), window=window(13), parts=("boluses", "basal")
        )
        assert found.lines() == []
