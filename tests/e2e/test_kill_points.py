"""Killed at named points of the code, with a real Nightscout: in the end everything is there once, and right."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.installation import Installation
from tests.e2e.kill_points import POINTS, SharedClock, resolve
from tests.e2e.killed_daemon import PUMP_EVENTS, TREATMENTS, KillHarness
from tests.support.faulty_cloud import FaultyTandemCloud

BEGIN = datetime(2026, 3, 3, 5, tzinfo=timezone.utc)
ZONE = "America/New_York"
DAYS = 9
LATE_H = 24.0
COMMANDS: tuple[tuple[str, ...], ...] = ((), (), ("sync",), ("replay", TREATMENTS), ("replay", PUMP_EVENTS))


@pytest.mark.parametrize("name", POINTS)
def test_function_exists(name: str) -> None:
    """The wrapped function exists; the caller around whose commit the process dies exists and opens a transaction."""
    point = POINTS[name]
    holder, function = resolve(point.target)
    assert function in vars(holder), f"{point.target} is inherited: wrapping it here changes nothing"
    if point.caller:
        caller = getattr(*resolve(point.caller))
        assert function in caller.__code__.co_names, f"{point.caller} does not call {function}"


@pytest.mark.timeout(900)  # under a minute, except on a machine that is busy with other work
def test_killed_at_named_points(site: Any, tmp_path: Path) -> None:
    """Killed at every named point, it ends as if nothing had happened.

    Each point of the table once and some deaths in between, over a change of daylight saving, with late uploads.
    """
    rng = Random(1)
    plan = SimulationPlan(
        seed=7, zone=ZONE, start=BEGIN.date(), days=DAYS, late_share=0.1, late_max_h=LATE_H, scan_codes=False
    )
    pump = simulate(plan)
    clock = SharedClock.at(tmp_path / "clock", BEGIN + timedelta(days=2))
    with FaultyTandemCloud([pump], clock, token_life_s=8 * 3600) as cloud:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=DAYS + 20)
        world = KillHarness(clock=clock, cloud=cloud, site=site, home=home)
        for number, point in enumerate(POINTS):
            world.killed_at(point)
            if number % 4 == 3:
                world.killed_after(rng.uniform(0.0, 1.0), *rng.choice(COMMANDS))
        clock.until(pump.truth.end + timedelta(hours=LATE_H))
        world.settle()
        verdict = world.verdict(pump.truth, (BEGIN, pump.truth.end))
        assert verdict.lines() == []
        assert world.died.keys() == {*POINTS, "by hand"}
        assert not world.missed
        assert verdict.documents > 500
