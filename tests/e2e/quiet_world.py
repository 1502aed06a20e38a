"""A simulated pump, cloud and site, and an installation between them; time is the real one."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from tconnectsync_simulator.cloud.tandem import Cloud
from tconnectsync_simulator.comparison import compare
from tconnectsync_simulator.nightscout.app import SimulatedNightscout
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.e2e.living_daemon import LivingDaemon, eventually
from tests.e2e.whole_world import Installation, by_identity

STEADY_ZONES = (
    "Pacific/Honolulu", "America/Phoenix", "America/Bogota", "America/Argentina/Buenos_Aires", "Africa/Lagos",
    "Africa/Nairobi", "Asia/Kolkata", "Asia/Tokyo", "Pacific/Noumea",
)  # fmt: skip
"""Places without daylight saving, all around the world."""


def from_noon(zone: str) -> float:
    """Hours between the time there and one o'clock, after lunch."""
    local = datetime.now(ZoneInfo(zone))
    return abs(local.hour + local.minute / 60 - 13)


ZONE = min(STEADY_ZONES, key=from_noon)
"""It is day there now: no midnight comes in between, and the wearer has eaten lately."""
TREATMENTS = "nightscout-treatments"
PUMP_EVENTS = "nightscout-pump-events"


def a_pump(days: int, **changes: Any) -> SimulatedPump:
    """A pump that lived until now; its phone has uploaded until eight minutes ago and will not for hours."""
    now = datetime.now(timezone.utc)
    quiet = (now - timedelta(minutes=8), now + timedelta(hours=3))
    plan = SimulationPlan(
        seed=31,
        zone=ZONE,
        start=now.date() - timedelta(days=days),
        days=days + 2,
        upload_every_min=10,
        outages=(quiet,),
    )
    return simulate(attrs.evolve(plan, **changes))


@attrs.define
class World:
    """A cloud, a site, and an installation between them."""

    cloud: Cloud
    site: SimulatedNightscout
    home: Installation

    @property
    def requests(self) -> int:
        return len(self.cloud.requests) + len(self.site.requests)

    def treatments(self) -> dict[str, dict[str, Any]]:
        return by_identity(self.site.documents("treatments"))

    def settled(self, living: LivingDaemon) -> None:
        """Wait until the daemon has delivered everything."""
        eventually(lambda: self.site.count("activity"), "a delivery")
        self.home.run("sync")
        assert not living.ended

    def differences(self, pump: SimulatedPump, days: int, *, until_days: float = 0.5) -> list[str]:
        """What the site shows otherwise than it was, from so many days ago until so many days ago."""
        now = datetime.now(timezone.utc)
        window = (now - timedelta(days=days), now - timedelta(days=until_days))
        return compare(pump.truth, self.site.documents("treatments"), window=window).lines()


def undisturbed(world: World, *more: tuple[str, ...]) -> None:
    """Another installation that nothing happens to leaves the same treatments on another site."""
    home = world.home
    with SimulatedNightscout() as site:
        calm = Installation(home.folder.parent / "calm", world.cloud, site.url, site.secret, ZONE, home.history_days)
        calm.run("sync")
        for words in more:
            calm.run(*words)
        expected = by_identity(site.documents("treatments"))
        found = world.treatments()
        assert found.keys() == expected.keys()
        assert found == expected
    by_identity(world.site.documents("devicestatus"))  # how many depends on the minute: they lapse
    [_] = [doc for doc in world.site.documents("activity") if doc["activityType"] == "tconnect_iob"]
