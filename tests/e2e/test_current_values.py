"""Current values on a site, on a simulated clock: a stopped pump, its alarm, its status. Lost ones come back."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync.reconcile.report import ComparisonReport
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.engine_in_process import ZONE, InProcessEngine
from tests.support.clocks import FakeClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.real_servers import Site
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.site_comparison import compare

OCCLUDED = datetime(2026, 3, 4, 12, 35, 5, tzinfo=timezone.utc)
"""Until 13:19:36; the phone uploads every twenty minutes."""
SYNCED = OCCLUDED + timedelta(minutes=37)
RESUMED = OCCLUDED + timedelta(hours=2)
SINKS = ("treatments", "pump-events", "iob", "device-status", "profiles")
MORE = """
[sinks.nightscout-device-status]
enabled = true
[sinks.nightscout-profiles]
enabled = true
[sinks.nightscout-pump-events]
announce = ["occlusion"]
"""
A_PUMP = simulate(SimulationPlan(seed=5, zone=ZONE, start=date(2026, 3, 3), days=3, upload_every_min=20))
Home = tuple[InProcessEngine, SimulatedNightscout, FakeClock]


@pytest.fixture(params=["15.0.6", "15.0.7"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    """Synced once, half an hour after an occlusion to which nobody has reacted."""
    clock = FakeClock(SYNCED)
    with (
        FaultyTandemCloud([A_PUMP], clock, token_life_s=8 * 3600) as cloud,
        SimulatedNightscout(version=request.param, units="mmol", now=clock.now) as site,
    ):
        running = InProcessEngine(tmp_path / "home", cloud, site, clock, history_days=1, more=MORE)
        try:
            assert running.ask("sync").status == 0
            yield running, site, clock
        finally:
            running.engine.close()


def at_of(document: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(document["created_at"].replace("Z", "+00:00"))


def of_type(site: SimulatedNightscout, event_type: str) -> list[dict[str, Any]]:
    return [each for each in site.documents("treatments") if each["eventType"] == event_type]


def differences(running: InProcessEngine) -> dict[str, list[Any]]:
    found = {}
    for sink in SINKS:
        if sink != "profiles":
            tally = verified(running, f"nightscout-{sink}")
            assert tally.good, sink
            found[sink] = list(tally.listed)
    return found


def verified(running: InProcessEngine, sink: str) -> ComparisonReport:
    tally = ComparisonReport()
    for part in running.engine.runners[sink].verifier(running.engine.streams).run():
        tally.add(part)
    return tally


def test_stopped_pump_and_alarm(home: Home) -> None:
    """A stopped pump is shown as stopped, and its alarm is announced with its age."""
    running, site, _ = home
    (announced,) = of_type(site, "Announcement")
    assert re.fullmatch(r"Occlusion alarm at 07:35, 3[67] minutes ago", announced["notes"])
    assert timedelta() < SYNCED - at_of(announced) < timedelta(minutes=1), "an older one rings nobody"
    newest = max(of_type(site, "Temp Basal"), key=at_of)
    assert newest["absolute"] == 0
    assert at_of(newest) + timedelta(minutes=newest["duration"]) > SYNCED + timedelta(hours=1)
    assert differences(running) == {sink: [] for sink in SINKS if sink != "profiles"}

    running.until(RESUMED)
    (still,) = of_type(site, "Announcement")
    assert still == announced
    window = (SYNCED - timedelta(hours=12), RESUMED - timedelta(hours=1))
    assert compare(A_PUMP.truth, site.documents("treatments"), window=window).lines() == []


def test_bolus_glucose_units(home: Home) -> None:
    """A bolus shows its glucose in the site's units."""
    _, site, _ = home
    shown = [each for each in site.documents("treatments") if "glucose" in each]
    assert shown
    assert all(each["units"] == "mmol" and 2 < each["glucose"] < 30 for each in shown)


def test_lost_status_and_profile(home: Home) -> None:
    """A lost status and profile are sent again, and no phone rings twice."""
    running, site, clock = home
    clock.sleep(240)
    statuses = {each["identifier"] for each in site.documents("devicestatus") if each["sink"].endswith("device-status")}
    (profile,) = site.documents("profile")
    (announced,) = of_type(site, "Announcement")
    assert statuses
    for name in ("devicestatus", "profile"):
        site.drop(name)
    for sink in ("device-status", "profiles", "pump-events"):
        result = running.ask("replay", sink=f"nightscout-{sink}")
        assert result.status == 0
        assert not any(line.startswith("0 ") for line in result.lines), result.lines
    assert {each["identifier"] for each in site.documents("devicestatus")} == statuses
    (back,) = site.documents("profile")
    assert (back["store"], back["defaultProfile"]) == (profile["store"], profile["defaultProfile"])
    assert of_type(site, "Announcement") == [announced]
    assert differences(running)["device-status"] == []


def test_one_command_fills_an_empty_site(home: Home) -> None:
    """``nightscout`` stands for all sinks of Nightscout that are on, for a replay and for ``resume``."""
    running, site, _ = home
    collections = ("treatments", "activity", "devicestatus", "profile")
    announced = len(of_type(site, "Announcement"))  # a phone rings once
    before = {name: len(site.documents(name)) for name in collections}
    assert all(before.values())
    for name in collections:
        site.drop(name)
    result = running.ask("replay", sink="nightscout")
    assert result.status == 0
    assert sorted(line.partition(":")[0] for line in result.lines) == sorted(f"nightscout-{sink}" for sink in SINKS)
    assert {name: len(site.documents(name)) for name in collections} == {
        **before,
        "treatments": before["treatments"] - announced,
    }
    assert not any(differences(running).values())
    assert running.ask("resume", sink="nightscout").status == 0


def test_lost_profile_on_real_nightscout(tmp_path: Path, site: Site) -> None:
    """A profile that a real site lost is sent again."""
    clock = FakeClock(SYNCED)
    with FaultyTandemCloud([A_PUMP], clock, token_life_s=8 * 3600) as cloud, contextlib.ExitStack() as stack:
        running = InProcessEngine(tmp_path / "home", cloud, site, clock, history_days=1, more=MORE)
        stack.callback(running.engine.close)
        assert running.ask("sync").status == 0
        (profile,) = site.documents("profile")
        assert {"Weekday", "Weekend"} <= profile["store"].keys()
        site.drop("profile")
        assert site.documents("profile") == []
        for day in ({}, {"first": "2026-01-01"}):
            result = running.ask("replay", sink="nightscout-profiles", **day)
            assert (result.status, [line for line in result.lines if line.startswith("0 ")]) == (0, [])
            (back,) = site.documents("profile")
            assert (back["store"], back["defaultProfile"]) == (profile["store"], profile["defaultProfile"])
        shown = site.ask("GET", "profile/current").json()
        assert shown["defaultProfile"] == profile["defaultProfile"]
