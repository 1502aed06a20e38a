"""The vendor's cloud is down for thirty days: the messages meanwhile, and the site's documents afterwards."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.engine_in_process import BEGIN, ZONE, InProcessEngine
from tests.e2e.installation import by_identity
from tests.support.clocks import FakeClock
from tests.support.fault_proxy import FaultProxy
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.site_comparison import compare

DAY = timedelta(days=1)
FIRST = BEGIN + 2 * DAY
GONE = FIRST + timedelta(hours=5)
BACK = GONE + 30 * DAY
LATEST = timedelta(hours=12)
"""The longest delay of a record in the plan below."""


def waited(running: InProcessEngine, when: datetime, nap_s: float = 2400.0) -> None:
    """The daemon's loop with naps of forty minutes: a month of minutes brings nothing more."""
    while running.clock.now() < when:
        while running.engine.run_once():
            pass
        running.clock.sleep(min(nap_s, (when - running.clock.now()).total_seconds()))


def test_thirty_days_without_cloud(tmp_path: Path) -> None:
    """Thirty days without the cloud are reported, and then everything is there once, without a hole.

    Daylight saving begins meanwhile, the daemon is restarted each week, and the user sometimes asks for a sync.
    """
    plan = SimulationPlan(
        seed=28, zone=ZONE, start=BEGIN.date(), days=36, late_share=0.1, late_max_h=12.0, scan_codes=False
    )
    pump, clock = simulate(plan), FakeClock(FIRST)
    with (
        FaultyTandemCloud([pump], clock, token_life_s=8 * 3600) as cloud,
        FaultProxy(cloud.url) as way,
        SimulatedNightscout(version="15.0.6", now=clock.now) as site,
    ):
        running = InProcessEngine(tmp_path / "home", cloud, site, clock, endpoints=way.endpoints(cloud.endpoints))
        running.until(GONE)
        assert running.ask("sync").status == 0
        before, asked = by_identity(site.documents("treatments")), len(cloud.requests)
        begun = set()
        with way.down():
            for days in (1, 7, 14, 21, 28, 30):
                # how soon it is noticed matters on the first day only: later attempts fail in the same way
                waited(running, GONE + days * DAY, nap_s=2400.0 if days == 1 else 4 * 3600.0)
                assert running.ask("sync").status == 3
                told = running.status()["sources"]["tandem"]
                assert told["state"] == "backing_off"
                assert "127.0.0.1 cannot be reached: no connection" in told["message"]
                begun.add(told["since"])
                sinks = running.status()["sinks"]
                assert {sink["state"] for sink in sinks.values()} == {"ok", "off"}, sinks
                assert "no current IOB: the pump last reported it" in sinks["nightscout-iob"]["message"]
                running.reopen()
        [since] = begun
        assert timedelta() <= datetime.fromisoformat(since) - GONE < timedelta(hours=1)
        assert len(cloud.requests) == asked
        held = by_identity(site.documents("treatments"))
        assert before.keys() <= held.keys(), "nothing is taken back for a cloud that is away"

        waited(running, BACK + timedelta(hours=26))
        assert running.ask("sync").status == 0
        assert running.status()["sources"]["tandem"]["state"] == "ok"
        documents = site.documents("treatments")
        window = (BEGIN + DAY, clock.now() - LATEST - timedelta(hours=2))
        assert window[1] > BACK
        found = compare(pump.truth, documents, window=window)
        assert found.lines() == []
        assert found.boluses_compared > 150
        assert found.basal_true_u > 300
        assert before.keys() <= by_identity(documents).keys()
        assert running.ask("verify", sink="nightscout-treatments").status == 0
        running.engine.close()
