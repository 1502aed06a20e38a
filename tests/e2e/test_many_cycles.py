"""Days of polling on a simulated clock, in this process: the real engine, plugins, log and outboxes over real HTTP."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from tconnectsync.eventlog import FolderLock
from tconnectsync_simulator.pump.plan import Flight, SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.engine_in_process import BEGIN, ZONE, InProcessEngine
from tests.e2e.installation import by_identity
from tests.e2e.simulated_home import differences, simulated_home
from tests.support.simulated_nightscout.faults import SiteFault
from tests.support.site_comparison import compare
from tests.support.truths import merge

POLL_S = (7200, 14400)
"""For days in which nothing depends on how soon an upload is noticed."""


def let_time_pass(running: InProcessEngine, days: float, **kills: int) -> None:
    """Let time pass; every ``reopen_every_h`` hours the process is another one."""
    end = running.clock.now() + timedelta(days=days)
    step = timedelta(hours=kills.get("reopen_every_h", 1000))
    while running.clock.now() < end:
        running.until(min(end, running.clock.now() + step))
        running.reopen()


def test_late_uploads_clock_change_restarts(tmp_path: Path) -> None:
    """Late uploads, a clock change and restarts end in the truth.

    Over the change of daylight saving, with the clock set two days after it and a fifth of the records late.
    """
    plan = SimulationPlan(
        seed=21,
        zone=ZONE,
        start=BEGIN.date(),
        days=11,
        late_share=0.2,
        late_max_h=48,
        upload_every_min=240,
        scan_codes=False,
    )
    pump = simulate(plan)
    with simulated_home(
        tmp_path, pump, now=BEGIN + timedelta(days=3, hours=12), version="15.0.6", poll_s=POLL_S
    ) as home:
        let_time_pass(home.running, 6.5, reopen_every_h=13)
        found = compare(
            pump.truth,
            home.site.documents("treatments"),
            window=(BEGIN + timedelta(days=2, hours=12), home.clock.now() - timedelta(days=2, hours=6)),
        )
        assert found.lines() == []
        assert found.boluses_compared > 20
        by_identity(home.site.documents("treatments"))


def test_site_fails_now_and_then(tmp_path: Path) -> None:
    """A site that fails now and then ends up the same."""
    plan = SimulationPlan(
        seed=22,
        zone=ZONE,
        start=BEGIN.date(),
        days=6,
        late_share=0.1,
        late_max_h=12,
        upload_every_min=100,
        scan_codes=False,
    )
    pump = simulate(plan)
    with simulated_home(tmp_path, pump, now=BEGIN + timedelta(days=2), version="15.0.6", poll_s=POLL_S) as home:
        for number in range(20):
            home.site.fail(
                [
                    SiteFault(status=503),
                    SiteFault(status=500),
                    SiteFault(reset="after"),
                    SiteFault(reset="before"),
                    SiteFault(status=429),
                ][number % 5]
            )
            home.running.until(home.clock.now() + timedelta(hours=2))
        home.running.until(home.clock.now() + timedelta(hours=3))
        assert differences(home, pump, begin=BEGIN + timedelta(days=1), hours=20) == []
        by_identity(home.site.documents("treatments"))


def test_flight_and_return(tmp_path: Path) -> None:
    """A flight and the way back are where they were in true time."""
    away = Flight(lands_at=BEGIN + timedelta(days=3, hours=9), zone="Europe/Berlin", set_after_h=3)
    back = Flight(lands_at=BEGIN + timedelta(days=6, hours=20), zone=ZONE, set_after_h=12)
    plan = SimulationPlan(
        seed=23, zone=ZONE, start=BEGIN.date(), days=10, flights=(away, back), upload_every_min=240, scan_codes=False
    )
    pump = simulate(plan)
    with simulated_home(tmp_path, pump, now=BEGIN + timedelta(days=2), poll_s=POLL_S) as home:
        let_time_pass(home.running, 6.5)
        assert differences(home, pump, begin=BEGIN + timedelta(days=1)) == []


def test_idle_cycle_requests(tmp_path: Path) -> None:
    """An idle cycle asks the cloud once and the site never."""
    pump = simulate(SimulationPlan(seed=24, zone=ZONE, start=BEGIN.date(), days=3))
    with simulated_home(tmp_path, pump, now=BEGIN + timedelta(days=3, hours=3)) as home:
        home.running.longest_sleep_s = 60.0
        home.running.until(home.clock.now() + timedelta(minutes=10))
        requests, polls, sent = len(home.cloud.requests), home.cloud.count("pumper"), len(home.site.requests)
        home.running.until(home.clock.now() + timedelta(hours=4))
        more = home.cloud.count("pumper") - polls
        assert more >= 8
        assert len(home.cloud.requests) - requests == more
        assert len(home.site.requests) == sent


def test_bogus_future_date(tmp_path: Path) -> None:
    """A wrong date in the future stalls nothing."""
    pump = simulate(SimulationPlan(seed=25, zone=ZONE, start=BEGIN.date(), days=4, scan_codes=False))
    with simulated_home(tmp_path, pump, now=BEGIN + timedelta(days=2), poll_s=POLL_S) as home:
        home.cloud.newest_overrides[pump.plan.serial] = "2031-01-01T00:00:00"
        home.running.until(BEGIN + timedelta(days=3))
        assert differences(home, pump, begin=BEGIN + timedelta(days=1)) == []


def test_new_sequence_group(tmp_path: Path) -> None:
    """A new sequence group is a stream of its own and is reported."""
    day = timedelta(days=1)
    change = BEGIN + 3 * day
    one = SimulationPlan(seed=26, zone=ZONE, start=BEGIN.date(), days=3)
    two = SimulationPlan(seed=27, zone=ZONE, start=change.date(), days=3, sequence_group=1, first_sequence=100)
    first, second = simulate(one), simulate(two)
    moved = (
        record._replace(entry={**record.entry, "deviceAssignmentId": first.assignment_id}) for record in second.log
    )
    merged = attrs.evolve(first, log=(*first.log, *moved))
    with simulated_home(tmp_path, merged, now=BEGIN + 5 * day, history_days=5) as home:
        home.running.until(home.clock.now() + timedelta(minutes=1))
        assert {"90556643:0", "90556643:1"} <= home.running.engine.streams.keys()
        words = " ".join(home.running.engine.timelines.messages())
        assert "sequence group 1" in words
        documents = home.site.documents("treatments")
        found = compare(
            merge([first.truth, second.truth]), documents, window=(BEGIN + day, home.clock.now() - timedelta(hours=8)),
            parts=("boluses", "basal"),
        )  # fmt: skip
        # the second simulated pump reports its first rate three minutes after the first one's log ends
        assert found.lines(basal_u=0.02) == []
        assert found.boluses_compared > 10
        by_identity(documents)


def test_one_owner_of_data_folder(tmp_path: Path) -> None:
    """One process at a time owns the data folder."""
    with FolderLock(tmp_path), pytest.raises(Exception, match="at once would corrupt"):
        FolderLock(tmp_path)
