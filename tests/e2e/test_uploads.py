"""What uploads show about the zone, and what is reported while there are none."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs

from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.simulated_home import BEGIN, DAY, differences, plan_of, simulated_home


def test_uploads_correct_zone(tmp_path: Path) -> None:
    """What uploads show about the clock is reported before it is applied, and then needs consent.

    The configured zone is an hour off, as days of uploads show: `status` says so first, and the documents move after
    consent.
    """
    pump = simulate(plan_of(53, zone="America/Chicago", days=11))
    with simulated_home(tmp_path, pump, now=BEGIN + 2 * DAY, history_days=1, poll_s=(1800, 3600)) as home:
        home.running.until(BEGIN + 3 * DAY)
        told = None
        while told is None and home.clock.now() < BEGIN + 9 * DAY:
            for runner in home.running.engine.runners.values():
                runner.folding.rewrite_limit = 10
            home.running.until(home.clock.now() + timedelta(minutes=40))
            told = next((words for words in home.running.engine.timelines.messages() if "Uploads show" in words), None)
        assert told is not None
        assert "UTC-05:00, not UTC-04:00" in told
        assert told in home.status()["sources"]["tandem"]["message"]
        before = home.treatments()
        placements = {stream.timeline.clock for stream in home.running.engine.streams.values()}
        home.running.until(home.clock.now() + timedelta(hours=2))
        assert {stream.timeline.clock for stream in home.running.engine.streams.values()} != placements
        runner = home.running.engine.runners["nightscout-treatments"]
        assert runner.health.state == "braked"
        assert home.treatments() == before
        assert "resume nightscout-treatments" in str(home.status()["sinks"]["nightscout-treatments"]["remedy"])
        for sink in ("nightscout-treatments", "nightscout-pump-events"):
            home.ask("resume", sink=sink)
        home.clock.sleep(3600 * 3)
        home.ask("sync")
        assert differences(home, pump, begin=BEGIN + 2 * DAY) == []


def test_unfinished_bolus_and_old_iob(tmp_path: Path) -> None:
    """A bolus without an end and an old value of insulin on board are reported.

    The phone is off for two days, and the end of the last bolus is unknown.
    """
    pump = simulate(plan_of(54, upload_every_min=60.0, scan_codes=True))
    codes = {20, 280}
    last = max(
        (
            record
            for record in pump.log
            if record.entry["eventCode"] == 20 and record.at_s < (BEGIN + 4 * DAY).timestamp()
        ),
        key=lambda record: record.at_s,
    )
    bolus_id = last.entry["eventProperties"]["bolusId"]
    log = tuple(
        record for record in pump.log
        if not (record.entry["eventCode"] in codes and record.entry["eventProperties"]["bolusId"] == bolus_id)
    )  # fmt: skip
    with simulated_home(tmp_path, attrs.evolve(pump, log=log), now=BEGIN + 4 * DAY) as home:
        assert home.ask("sync").status == 0
        assert "does not say how it ended" not in home.status()["sinks"]["nightscout-treatments"]["message"]
        assert "no current IOB" in home.status()["sinks"]["nightscout-iob"]["message"]
        home.clock.sleep(1.5 * 86400)
        assert home.ask("sync").status == 0
        words = home.status()["sinks"]["nightscout-treatments"]["message"]
        assert f"bolus {bolus_id} of" in words
        assert "the pump's data does not say how it ended (since 2026-03-1" in words
