"""From the pump to files."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.e2e.installation import ZONE, Installation, recent_pump
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.truths import known_at


def rows_of(folder: Path) -> list[dict[str, str]]:
    return [row for path in sorted(folder.iterdir()) for row in csv.DictReader(path.read_text().splitlines())]


def at_of(row: dict[str, str]) -> datetime:
    return datetime.fromisoformat(row["time"].replace("Z", "+00:00"))


def test_files_hold_every_dose_once(tmp_path: Path) -> None:
    """Every dose of the pump is in the files once."""
    pump, files = recent_pump(3), tmp_path / "files"
    table = f'[sinks.file]\nenabled = true\nfolder = "{files}"\nformat = "csv"\n'
    with FaultyTandemCloud([pump], standing_clock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2, more=table)
        assert "can be written to" in home.run("check").stdout
        home.run("sync")
        before = rows_of(files)
        now = datetime.now(timezone.utc)
        true = {
            bolus.bolus_id: bolus.delivered_u
            for bolus in known_at(pump.truth, now).boluses
            if bolus.delivered_u and bolus.reason != "running" and now - timedelta(days=1) < bolus.uploaded_at < now
        }
        told: Counter[int] = Counter()
        for row in before:
            if row["kind"] in {"bolus.completed", "bolus.extended_completed"}:  # the parts of one bolus
                told[int(row["bolus_id"])] += float(row["delivered_u"] or 0)
        assert true
        assert {number: told[number] for number in true} == pytest.approx(true, abs=0.01)
        assert len({row["id"] for row in before}) == len(before)
        recent = [row for row in before if now - timedelta(hours=24) < at_of(row) < now - timedelta(hours=4)]
        meals = [
            bolus.carbs_g
            for bolus in known_at(pump.truth, now).boluses
            if bolus.carbs_g and now - timedelta(hours=24) < bolus.requested_at < now - timedelta(hours=4)
        ]
        eaten = sum(float(row["carbs_g"]) for row in recent if row["kind"] == "bolus.requested" and row["carbs_g"])
        assert meals
        assert eaten == pytest.approx(sum(meals))
        rates = [row for row in recent if row["kind"] == "basal.delivered"]
        assert len(rates) > 200, "all insulin that the pump gave, not its boluses alone"
        for path in files.iterdir():
            path.unlink()
        home.run("replay", "file")
        after = {row["id"]: row for row in rows_of(files)}
        assert [after[row["id"]] for row in before] == before
