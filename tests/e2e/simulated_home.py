"""One wearer's installation on a simulated clock: the real engine and plugins, over HTTP, between a cloud and a site that are simulated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Progress, Request, Result
from tconnectsync.queries.status import status_of
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump
from tests.e2e.engine_in_process import InProcessEngine
from tests.e2e.installation import by_identity
from tests.support.clocks import FakeClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.site_comparison import compare

ZONE = "America/New_York"
BEGIN = datetime(2026, 3, 16, 4, tzinfo=timezone.utc)
"""A local midnight, in summer time."""
DAY = timedelta(days=1)
SINKS = ("nightscout-iob", "nightscout-pump-events", "nightscout-treatments")
COLLECTIONS = ("treatments", "activity", "devicestatus")
GENERATIONS = pytest.mark.parametrize("version", ["15.0.6", "15.0.7"])


LEAN: dict[str, Any] = {"upload_every_min": 120.0, "scan_codes": False}
"""Fewer uploads, and no scans (219): they are a third of all records, and other tests have them."""


def plan_of(seed: int, **changes: Any) -> SimulationPlan:
    return SimulationPlan(**({"seed": seed, "zone": ZONE, "start": BEGIN.date(), "days": 8} | LEAN | changes))


@attrs.define
class SimulatedHome:
    """One wearer's installation, with what it talks to."""

    running: InProcessEngine
    cloud: FaultyTandemCloud
    site: SimulatedNightscout
    clock: FakeClock

    def ask(self, command: str, **args: Any) -> Result:
        engine = self.running.engine
        steps = list(perform(engine, Request(command=command, args=args), engine.timelines.zones.zone_at))
        assert all(isinstance(step, Progress) for step in steps[:-1])
        assert isinstance(steps[-1], Result)
        return steps[-1]

    def own_documents(self) -> dict[str, dict[str, Any]]:
        """All our documents by identity, without the fields that may differ."""
        return by_identity([doc for name in COLLECTIONS for doc in self.site.documents(name) if "identifier" in doc])

    def treatments(self) -> dict[str, dict[str, Any]]:
        return by_identity([doc for doc in self.site.documents("treatments") if "identifier" in doc])

    def status(self) -> dict[str, Any]:
        engine = self.running.engine
        return status_of(
            self.running.folder / "data", sources={"tandem": True}, sinks=dict.fromkeys(SINKS, True),
            zones=engine.timelines.zones, clock=self.clock,
        )  # fmt: skip

    def wipe(self, *parts: str) -> None:
        """Lose these parts of the data folder (none: all of it), and start again."""
        self.running.engine.close()
        for path in sorted((self.running.folder / "data").iterdir()):
            if not parts or path.name in parts:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.running.open()


@contextmanager
def simulated_home(
    folder: Path,
    *pumps: SimulatedPump,
    now: datetime,
    version: str = "15.0.7",
    history_days: int = 2,
    poll_s: tuple[int, int] = (300, 1500),
) -> Iterator[SimulatedHome]:
    clock = FakeClock(now)
    folder.mkdir(exist_ok=True)
    with (
        FaultyTandemCloud(pumps, clock, token_life_s=8 * 3600) as cloud,
        SimulatedNightscout(version=version, now=clock.now) as site,
    ):
        running = InProcessEngine(folder / "home", cloud, site, clock, history_days=history_days, poll_s=poll_s)
        try:
            yield SimulatedHome(running, cloud, site, clock)
        finally:
            running.engine.close()


def differences(home: SimulatedHome, pump: SimulatedPump, *, begin: datetime, hours: int = 8) -> list[str]:
    window = (begin, home.clock.now() - timedelta(hours=hours))
    return compare(pump.truth, home.site.documents("treatments"), window=window).lines()
