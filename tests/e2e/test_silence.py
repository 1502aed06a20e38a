"""An announcement in Nightscout while no pump data comes, and its end."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tconnectsync_simulator.pump.pump import SimulatedPump
from tests.e2e.installation import PUMP_EVENTS, ZONE, Installation, recent_pump
from tests.support.clocks import ShiftedClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.real_servers import Site
from tests.support.simulated_nightscout.app import SimulatedNightscout

OPTIONS = f'[sinks.{PUMP_EVENTS}]\nannounce_silence = "30m"\n'


def announcements(site: SimulatedNightscout | Site) -> list[dict[str, Any]]:
    return [document for document in site.documents("treatments") if document["eventType"] == "Announcement"]


def silent_pump() -> SimulatedPump:
    """A pump without new data for 50 minutes."""
    now = datetime.now(timezone.utc)
    return recent_pump(2, outages=((now - timedelta(minutes=50), now + timedelta(hours=3)),))


def test_a_real_site_takes_the_announcement_and_lets_it_go(site: Site, tmp_path: Path) -> None:
    with FaultyTandemCloud([silent_pump()], ShiftedClock()) as cloud:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1, more=OPTIONS)
        home.run("sync")
        [told] = announcements(site)
        assert told["notes"].startswith("No pump data since ")
        assert told["isAnnouncement"] is True
        assert home.run("verify", PUMP_EVENTS).returncode == 0
    with FaultyTandemCloud([recent_pump(2)], ShiftedClock()) as cloud:
        home.configure(cloud=cloud)
        home.run("sync")
        assert announcements(site) == []


def test_silence_is_announced_once(tmp_path: Path) -> None:
    """It is withdrawn when data is back."""
    with SimulatedNightscout() as site:
        with FaultyTandemCloud([silent_pump()], ShiftedClock()) as cloud:
            home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1, more=OPTIONS)
            home.run("sync")
            [told] = announcements(site)
            assert told["notes"].startswith("No pump data since ")
            assert told["isAnnouncement"] is True
            stamped = datetime.fromisoformat(told["created_at"].replace("Z", "+00:00"))
            assert timedelta(0) <= datetime.now(timezone.utc) - stamped < timedelta(minutes=5), "or it rings nobody"
            home.run("sync")
            assert announcements(site) == [told]
            assert home.run("verify", PUMP_EVENTS).returncode == 0
        with FaultyTandemCloud([recent_pump(2)], ShiftedClock()) as cloud:
            home.configure(cloud=cloud)
            home.run("sync")
            assert announcements(site) == []
            status = json.loads(home.run("status", "--json").stdout)
            assert status["sinks"][PUMP_EVENTS]["pending"] == 0, "the next one waits for its time"
            home.run("sync")
            assert announcements(site) == []
