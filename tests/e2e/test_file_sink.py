"""From the pump to files."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta, timezone
from pathlib import Path

from quiet_world import ZONE, a_pump
from whole_world import Installation, MovedClock

from tconnectsync_simulator.cloud import Cloud
from tconnectsync_simulator.nightscout import SimulatedNightscout


def test_every_dose_of_the_pump_is_in_the_files_once(tmp_path: Path) -> None:
    pump, files = a_pump(3), tmp_path / "files"
    table = f'[sinks.file]\nenabled = true\nfolder = "{files}"\nformat = "csv"\n'
    with Cloud([pump], MovedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2, more=table)
        assert "takes our files" in home.run("check").stdout
        home.run("sync")
        before = {path.name: path.read_bytes() for path in files.iterdir()}
        rows = [row for text in before.values() for row in csv.DictReader(text.decode().splitlines())]
        now = datetime.now(timezone.utc)
        true = [
            round(bolus.delivered_u, 2)
            for bolus in pump.truth.until(now).boluses
            if bolus.delivered_u and bolus.reason != "running" and now - timedelta(days=1) < bolus.uploaded_at < now
        ]
        told = [round(float(row["delivered_u"]), 2) for row in rows if row["kind"] == "bolus.completed"]
        assert true
        assert all(told.count(dose) >= true.count(dose) for dose in true)
        assert len({row["id"] for row in rows}) == len(rows)
        for path in files.iterdir():
            path.unlink()
        home.run("replay", "file")
        after = {path.name: path.read_bytes() for path in files.iterdir()}
        assert all(after[name].startswith(text[:2000]) for name, text in before.items())
