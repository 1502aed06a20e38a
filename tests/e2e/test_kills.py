"""SIGKILL at any moment: in the end everything is there once, as if nothing had happened."""

from __future__ import annotations

import subprocess
import time
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.e2e.installation import (
    TREATMENTS,
    ZONE,
    Installation,
    RunningDaemon,
    SyncSetup,
    daemon,
    eventually,
    recent_pump,
    undisturbed,
)
from tests.support.clocks import ShiftedClock, standing_clock
from tests.support.cloud_faults import CloudFault
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.truths import known_at


def killed(world: SyncSetup, rng: Random, times: int, *words: str) -> None:
    """Run the daemon this many times; kill it at some moment of its work, after it was handed the command."""
    for _ in range(times):
        with daemon(world.home, forked=True) as living:
            asker = None
            if words:
                asker = subprocess.Popen(
                    world.home.command(*words), env=world.home.environment, stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, text=True,
                )  # fmt: skip
                eventually(lambda: "request command" in living.log, "the command arrives")
            moment, target = time.monotonic() + rng.uniform(0.0, 0.9), world.requests + rng.randint(1, 9)
            while time.monotonic() < moment and world.requests < target:
                time.sleep(0.001)
            living.kill()
            if asker is not None:
                said, _ = asker.communicate(timeout=30)
                assert asker.returncode in {0, 8}, said
                assert "Traceback" not in said


def killed_while_answering(site: SimulatedNightscout, collection: str, living: RunningDaemon) -> None:
    """Killed when the site has stored what was posted, and before its answer is on the way."""
    perform = site._perform

    def perform_and_kill(held: Any, item: Any, request: Any, fault: Any) -> Any:
        answer = perform(held, item, request, fault)
        if request.method == "POST" and held.name == collection and not living.ended:
            living.kill()
        return answer

    site._perform = perform_and_kill  # type: ignore[method-assign]
    try:
        eventually(lambda: living.ended, f"a delivery to {collection}")
    finally:
        site._perform = perform  # type: ignore[method-assign]


@pytest.mark.parametrize("seed", [2])
def test_killed_at_any_moment(seed: int, tmp_path: Path) -> None:
    """Killed at any moment, it ends as if nothing had happened.

    First sync, late uploads, backfill and replay, each through several deaths.
    """
    rng = Random(seed)
    pump = recent_pump(13, seed=40 + seed, late_share=0.2)
    phone = ShiftedClock(timedelta(days=-3))
    backfill = ("backfill", "--from", str(datetime.now(timezone.utc).date() - timedelta(days=11)))
    with (
        FaultyTandemCloud([pump], standing_clock()) as cloud,
        SimulatedNightscout(version=["15.0.7", "14.2.6"][seed % 2]) as site,
    ):
        cloud.clock = phone  # what is uploaded when; the answers' Date stays right
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=8)
        world = SyncSetup(cloud, site, home)
        killed(world, rng, 5)
        phone.ahead = timedelta(days=-1)
        killed(world, rng, 3, "sync")
        phone.ahead = timedelta(0)
        killed(world, rng, 3, *backfill)
        killed(world, rng, 2, "replay", TREATMENTS)
        with daemon(home, forked=True) as living:
            home.run(*backfill)
            home.run("replay", TREATMENTS)
            home.run("sync")
            living.stop()
        home.run("log", "check")
        assert world.differences(pump, 10, until_days=3.2) == []
        undisturbed(world, backfill)


def test_catch_up_resumes(tmp_path: Path) -> None:
    """Catching up resumes behind the last finished window."""
    pump = recent_pump(40)
    with FaultyTandemCloud([pump], standing_clock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=35)
        world = SyncSetup(cloud, site, home)

        def windows() -> list[tuple[date, date]]:
            asked = [request for request in cloud.requests if request.kind == "pump-logs"]
            return [
                tuple(date.fromisoformat((request.value(key) or "")[:10]) for key in ("startDate", "endDate"))  # type: ignore[misc]
                for request in asked
            ]

        with daemon(home, forked=True) as living:
            eventually(lambda: len(windows()) == 1, "the first window")
            cloud.fail(CloudFault(path="pump-logs", wait_s=2))
            eventually(lambda: len(windows()) == 2, "the second window")
            living.kill()
        first, second = windows()
        with daemon(home, forked=True) as living:
            world.settled(living)
            living.stop()
        assert windows()[2] == second
        assert all(begin > first[1] for begin, _ in windows()[2:])
        assert world.differences(pump, 34) == []
        undisturbed(world)


@pytest.mark.parametrize("collection", ["treatments", "activity", "devicestatus"])
def test_killed_after_storing(collection: str, tmp_path: Path) -> None:
    """Documents that were stored when the daemon died are not stored twice.

    Activity and device status are stored as often as they are sent, so a lost answer must not double them.

    Each has its own installation, because nothing promises which sink is served first.
    """
    now = datetime.now(ZoneInfo(ZONE))
    pump = recent_pump(
        3, hourly_record_at_min=(now.minute - 8) % 60, upload_every_min=5,
        outages=((now - timedelta(minutes=1), now + timedelta(hours=3)),),
    )  # fmt: skip
    newest = max(known_at(pump.truth, now).iob, key=lambda each: each.at, default=None)
    assert newest is not None
    assert now - newest.at < timedelta(minutes=10), "else its device status is on the point of lapsing"
    with FaultyTandemCloud([pump], standing_clock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2)
        world = SyncSetup(cloud, site, home)
        with daemon(home, forked=True) as living:
            killed_while_answering(site, collection, living)
        with daemon(home, forked=True) as living:
            home.run("sync")
            living.stop()
        assert site.count("devicestatus") == 1
        undisturbed(world)
