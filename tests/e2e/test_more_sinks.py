"""The sinks that are off by default, from the pump to the site: glucose, the pump's status, its profiles."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.e2e.installation import ZONE, Installation, by_identity, recent_pump
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.truths import known_at

TABLES = "\n".join(f"[sinks.nightscout-{name}]\nenabled = true" for name in ("cgm", "device-status", "profiles"))


@pytest.mark.parametrize("version", ["15.0.6", "15.0.7"])
def test_more_sinks_deliver_once(tmp_path: Path, version: str) -> None:
    """Glucose, status and profiles reach the site once."""
    pump = recent_pump(3)
    with FaultyTandemCloud([pump], standing_clock()) as cloud, SimulatedNightscout(version=version) as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2, more=TABLES)
        home.run("sync")
        now = datetime.now(timezone.utc)
        entries = [entry for entry in site.documents("entries") if entry["type"] == "sgv"]
        assert len(by_identity(entries)) == len(entries)
        times = [datetime.fromisoformat(entry["dateString"].replace("Z", "+00:00")) for entry in entries]
        assert len({at.replace(second=0) for at in times}) == len(times)
        true = {
            reading.at.replace(second=0, microsecond=0): {"high": 401, "low": 39}.get(
                reading.mark, reading.glucose_mg_dl
            )
            for reading in known_at(pump.truth, now).glucose
            if now - timedelta(days=1) < reading.at < now - timedelta(hours=2)
        }
        by_minute = {at.replace(second=0): entry["sgv"] for at, entry in zip(times, entries, strict=True)}
        assert len(true) > 200
        assert true.items() <= by_minute.items()

        statuses = [each for each in site.documents("devicestatus") if each["sink"] == "nightscout-device-status"]
        iob = [each for each in statuses if "iob" in each["pump"]]  # reported every half hour: kept with its own time
        assert len(iob) <= 1
        assert len(statuses) <= 2
        (profile,) = site.documents("profile")
        assert {"Weekday", "Weekend"} <= profile["store"].keys()
        assert profile["defaultProfile"] in profile["store"]

        before = by_identity(site.documents("entries"))
        site.drop("entries")
        home.run("replay", "nightscout-cgm")
        assert by_identity(site.documents("entries")) == before
        for name in ("cgm", "device-status", "profiles"):
            home.run("verify", f"nightscout-{name}")  # exit status 0: nothing differs
        home.run("sync")
        assert len(site.documents("profile")) == 1
