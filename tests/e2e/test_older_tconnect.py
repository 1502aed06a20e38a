"""The older t:connect's services through the real engine to a site: everything is there once, and right.

These services do not report everything: :func:`engine_in_process.truth_as_reported` says what is missing. The rest is compared as for Tandem Source.
"""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.engine_in_process import ZONE, InProcessTconnectEngine, truth_as_reported
from tests.e2e.installation import by_identity
from tests.support.clocks import FakeClock
from tests.support.cloud_faults import CloudFault, answered, web_page_blocked
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_tconnect.cloud import CONTROL_IQ_BEGAN, TconnectCloud
from tests.support.site_comparison import compare

BEGIN = datetime(2021, 4, 1, 4, tzinfo=timezone.utc)
"""Midnight in the wearer's zone; no change of daylight saving is near."""


@pytest.mark.parametrize(
    ("since", "version"), [(CONTROL_IQ_BEGAN, "15.0.6"), (date(2021, 4, 14), "15.0.7")], ids=["Control:IQ", "before it"]
)
def test_tconnect_thirty_days(tmp_path: Path, since: date, version: str) -> None:
    """Thirty days are there once and right, and come back after a loss.

    All of it with Control:IQ; and a first half from the CSV export alone, then its first day.
    """
    pump = simulate(SimulationPlan(seed=31, zone=ZONE, start=BEGIN.date(), days=33, clock_drift_s_per_day=0.05))
    clock = FakeClock(BEGIN + timedelta(days=32))
    with (
        TconnectCloud(pump, clock, control_iq_since=since, csv_fails_every=9) as cloud,
        SimulatedNightscout(version=version, now=clock.now) as site,
    ):
        running = InProcessTconnectEngine(tmp_path / "home", cloud, site, clock, history_days=31)
        result = running.ask("sync")
        assert result.status == 0, result.lines
        documents = site.documents("treatments")
        assert {
            "Temp Basal", "Meal Bolus", "Correction Bolus", "Combo Bolus", "Site Change", "Sleep", "Exercise", "Note",
        } <= set(Counter(doc["eventType"] for doc in documents))  # fmt: skip
        began = datetime(since.year, since.month, since.day, 4, tzinfo=timezone.utc)
        truth = truth_as_reported(pump, export_until=began)
        found = compare(
            truth, documents, window=(BEGIN + timedelta(days=1, hours=12), clock.now() - timedelta(hours=8))
        )
        assert found.lines() == []
        assert found.boluses_compared > 150
        assert found.basal_true_u > 600

        before, asked = by_identity(documents), cloud.count("timeline")
        assert running.ask("sync").status == 0
        assert cloud.count("timeline") == asked
        site.drop("treatments")
        for sink in ("nightscout-treatments", "nightscout-pump-events"):
            assert running.ask("replay", sink=sink).status == 0
        assert by_identity(site.documents("treatments")) == before
        running.engine.close()


@pytest.mark.parametrize(
    ("start", "zone"), [(date(2021, 3, 11), "America/New_York"), (date(2021, 3, 25), "Europe/London")]
)
def test_tconnect_daylight_saving(tmp_path: Path, start: date, zone: str) -> None:
    """A change of daylight saving that the wearer follows at once.

    In spring only: in autumn an hour comes twice, and the services do not say which of the two they mean.
    """
    plan = SimulationPlan(seed=71, zone=zone, start=start, days=6, clock_set_delay_h=0)
    pump = simulate(plan)
    begin = pump.truth.begin
    clock = FakeClock(begin + timedelta(days=6))
    with TconnectCloud(pump, clock) as cloud, SimulatedNightscout(now=clock.now) as site:
        running = InProcessTconnectEngine(tmp_path / "home", cloud, site, clock, zone=zone, history_days=5)
        assert running.ask("sync").status == 0
        found = compare(
            truth_as_reported(pump),
            site.documents("treatments"),
            window=(begin + timedelta(days=1, hours=12), clock.now() - timedelta(hours=8)),
        )
        assert found.lines() == []
        assert found.boluses_compared > 10
        running.engine.close()


def test_tconnect_late_uploads_faults_restarts(tmp_path: Path) -> None:
    """Late uploads, faults and restarts end in the truth.

    A fifth of the records a day late; between two polls something fails, and now and then the process is another one.
    """
    faults = (
        CloudFault(path="therapytimeline/users", cut=True),
        answered(500, path="TherapyEvents", times=2),
        CloudFault(path="TherapyEvents", short=True),
        answered(503, path="basalsuspension", times=3),
        CloudFault(path="getlasteventuploaded", reset="before"),
        CloudFault(path="therapytimeline2csv", cut=True),
        CloudFault(path="therapytimeline/users", revoke=True),
        web_page_blocked(path="TherapyEvents"),
    )
    days = 3
    plan = SimulationPlan(
        seed=41, zone=ZONE, start=BEGIN.date(), days=days + 2, late_share=0.2, late_max_h=24, upload_every_min=150
    )
    pump, clock = simulate(plan), FakeClock(BEGIN + timedelta(days=2))
    with (
        TconnectCloud(pump, clock, csv_fails_every=11) as cloud,
        SimulatedNightscout(version="15.0.6", now=clock.now) as site,
    ):
        running = InProcessTconnectEngine(tmp_path / "home", cloud, site, clock, history_days=2, poll_s=(3600, 7200))
        for fault in (*faults, *faults):
            cloud.fail(fault)
            running.until(clock.now() + timedelta(hours=days * 24 / 16))
            running.reopen()
        assert list(cloud.faults) == []
        running.until(clock.now() + timedelta(hours=26))
        documents = site.documents("treatments")
        found = compare(
            truth_as_reported(pump),
            documents,
            window=(BEGIN + timedelta(days=1), BEGIN + timedelta(days=days + 2, hours=-8)),
        )
        assert found.lines() == []
        assert found.boluses_compared > 15
        assert running.ask("sync").status == 0
        by_identity(documents)
        running.engine.close()


def test_tconnect_firewall_and_expired_tokens(tmp_path: Path) -> None:
    """A firewall's page and expired tokens are reported and overcome."""
    pump = simulate(SimulationPlan(seed=42, zone=ZONE, start=BEGIN.date(), days=4, upload_every_min=30))
    clock = FakeClock(BEGIN + timedelta(days=2))
    with TconnectCloud(pump, clock) as cloud, SimulatedNightscout(now=clock.now) as site:
        running = InProcessTconnectEngine(tmp_path / "home", cloud, site, clock, history_days=2)
        running.until(clock.now() + timedelta(hours=1))
        logins = cloud.count("login")

        cloud.revoke_tokens()
        running.until(clock.now() + timedelta(hours=1))
        assert running.status()["sources"]["tconnect"]["state"] == "ok"
        assert cloud.count("login") <= logins + 1

        cloud.fail(web_page_blocked(times=10_000))
        asked = len(cloud.requests)
        running.until(clock.now() + timedelta(hours=3))
        status, bolus_as_reported = running.status()["sources"]["tconnect"], running.ask("sync")
        assert (status["state"], bolus_as_reported.status) == ("backing_off", 3)
        assert "firewall" in status["message"]
        assert "half an hour" in status["remedy"]
        assert len(cloud.requests) - asked < 30, "a storm of retries"

        cloud.faults.clear()
        running.until(clock.now() + timedelta(hours=5))
        assert running.status()["sources"]["tconnect"]["state"] == "ok"
        found = compare(
            truth_as_reported(pump),
            site.documents("treatments"),
            window=(BEGIN + timedelta(days=1), clock.now() - timedelta(hours=2)),
            parts=("boluses", "basal"),
        )
        assert found.lines() == []
        running.engine.close()
