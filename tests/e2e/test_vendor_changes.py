"""The vendor changes a type or a name for half a night: what site, status and user see, and what is there afterwards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs
import pytest

from tconnectsync.plugin.manager import load_plugins
from tconnectsync.queries.check import run_check
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.e2e.engine_in_process import BEGIN, ZONE, InProcessEngine
from tests.e2e.installation import by_identity
from tests.support.clocks import FakeClock
from tests.support.cloud_faults import CloudFault
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

HOUR = timedelta(hours=1)
CHANGE = BEGIN + timedelta(days=1, hours=23, minutes=30)
"""Half past eleven at night: a sleep is running."""
BACK = CHANGE + 3 * HOUR
END = BACK + 3 * HOUR

PROFILES = """
[sinks.nightscout-profiles]
enabled = true
"""
TOLERATED = {
    "numbers as text": CloudFault(
        retype=dict.fromkeys(("sequenceNumber", "eventCode", "insulinDelivered", "commandedRate"), str)
    ),
    "properties as text": CloudFault(retype={"eventProperties": json.dumps}),
}
UNREADABLE = {
    "rate renamed": CloudFault(rename={"commandedRate": "rate"}),
    "time renamed": CloudFault(rename={"pumpDateTime": "time"}),
    "mode renamed": CloudFault(rename={"currentUserMode": "userMode"}),
    "code in words": CloudFault(retype={"eventCode": lambda code: f"CODE_{code}"}),
    "null doses": CloudFault(put={"insulinDelivered": None, "deliveredTotal": None}),
}


@lru_cache(maxsize=1)
def recent_pump() -> SimulatedPump:
    return simulate(
        SimulationPlan(seed=61, zone=ZONE, start=BEGIN.date(), days=3, upload_every_min=30, noise_codes=False)
    )


OPTIONAL = ("commandedRateSource", "bolusType")
"""A record can be read without these properties. With renamed keys it is longer than the stored one."""


@contextlib.contextmanager
def a_world(folder: Path) -> Iterator[tuple[FaultyTandemCloud, Any, InProcessEngine]]:
    clock = FakeClock(CHANGE)
    with (
        FaultyTandemCloud([recent_pump()], clock, token_life_s=8 * 3600) as cloud,
        SimulatedNightscout(now=clock.now) as site,
    ):
        running = InProcessEngine(folder, cloud, site, clock, history_days=1, poll_s=(1500, 2400))
        try:
            yield cloud, site, running
        finally:
            running.engine.close()


def distort(cloud: FaultyTandemCloud, fault: CloudFault) -> None:
    cloud.fail(attrs.evolve(fault, path="pump-logs", times=100_000))


def treatments(site: Any) -> dict[str, dict[str, Any]]:
    return by_identity(site.documents("treatments"))


@lru_cache(maxsize=1)
def undisturbed(folder: Path) -> dict[str, dict[str, Any]]:
    with a_world(folder / "undisturbed") as (_, site, running):
        running.until(CHANGE + timedelta(minutes=1))
        running.until(END)
        assert running.ask("sync").status == 0
        return treatments(site)


@pytest.mark.parametrize("fault", TOLERATED.values(), ids=TOLERATED)
def test_vendor_change_same_meaning(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, fault: CloudFault
) -> None:
    """A changed answer that means the same makes the same documents."""
    with a_world(tmp_path / "home") as (cloud, site, running):
        distort(cloud, fault)
        running.until(END)
        assert running.ask("sync").status == 0
        assert running.status()["sources"]["tandem"]["state"] == "ok"
        assert treatments(site) == undisturbed(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("fault", UNREADABLE.values(), ids=UNREADABLE)
def test_vendor_change_unreadable(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, fault: CloudFault) -> None:
    """An answer that cannot be read is reported, and its data follows without a command."""
    with a_world(tmp_path / "home") as (cloud, site, running):
        running.until(CHANGE + timedelta(minutes=1))
        assert running.ask("sync").status == 0
        before = treatments(site)
        assert any(each["eventType"] == "Sleep" for each in before.values())
        distort(cloud, fault)
        for _ in range(3):
            running.until(running.clock.now() + HOUR)
            held = treatments(site)
            assert before.keys() <= held.keys(), {before[key]["eventType"] for key in before.keys() - held.keys()}
            assert not [each for each in held.values() if each.get("insulin") == 0], "unknown is never 0 U"
            running.reopen()
        result = running.ask("sync")
        assert result.status == 3
        status = running.status()["sources"]["tandem"]
        assert status["state"] == "changed"
        assert "cannot be read" in status["message"]
        bad = [each.what for each in run_check(running.config, load_plugins(), clock=running.clock) if not each.good]
        assert sum("cannot be read" in what for what in bad) == 2, bad
        cloud.faults.clear()
        running.until(END)
        assert running.ask("sync").status == 0
        assert running.status()["sources"]["tandem"]["state"] == "ok"
        assert treatments(site) == undisturbed(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("hours", [5, -9], ids=["west of Greenwich", "east of it"])
def test_vendor_change_times_in_utc(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, hours: int) -> None:
    """Times that become UTC are reported and never stored.

    The wall clock becomes UTC with a Z, which was only decoration before. The overlap with known records shows the
    change.
    """

    def in_utc(wall: str) -> str:
        return (datetime.fromisoformat(wall) + timedelta(hours=hours)).isoformat() + "Z"

    with a_world(tmp_path / "home") as (cloud, site, running):
        running.until(CHANGE + timedelta(minutes=1))
        before = treatments(site)
        distort(cloud, CloudFault(retype={"pumpDateTime": in_utc}))
        running.until(BACK)
        assert before.keys() == treatments(site).keys()
        assert running.ask("sync").status == 3
        status = running.status()["sources"]["tandem"]
        assert status["state"] == "changed"
        assert "times" in status["message"]
        cloud.faults.clear()
        running.until(END)
        assert running.ask("sync").status == 0
        assert treatments(site) == undisturbed(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("name", OPTIONAL)
def test_renamed_optional_property(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """The last days are read again with each upload, and then lack what was known."""
    with a_world(tmp_path / "home") as (cloud, site, running):
        running.until(CHANGE + timedelta(minutes=1))
        assert running.ask("sync").status == 0
        recent = (CHANGE - 2 * HOUR).isoformat()
        before = {key: each for key, each in treatments(site).items() if each["created_at"] < recent}
        distort(cloud, CloudFault(rename={name: f"{name}InAnotherWord"}))
        running.until(BACK)
        held = treatments(site)
        assert {key: held.get(key) for key in before} == before
        cloud.faults.clear()
        running.until(END)
        assert running.ask("sync").status == 0
        assert treatments(site) == undisturbed(tmp_path_factory.getbasetemp())


def test_vendor_change_during_first_read(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A first read during the change is completed without a backfill.

    The running sleep is drawn although no rate can be read, and nothing is uploaded between the two reads.
    """
    with a_world(tmp_path / "home") as (cloud, site, running):
        distort(cloud, UNREADABLE["rate renamed"])
        assert running.ask("sync").status == 3
        running.until(CHANGE + timedelta(minutes=1))
        sleeps = [each["duration"] for each in treatments(site).values() if each["eventType"] == "Sleep"]
        assert any(20 < minutes <= 60 for minutes in sleeps), sleeps
        cloud.faults.clear()
        running.until(CHANGE + timedelta(minutes=75))
        assert running.status()["sources"]["tandem"]["state"] == "ok"
        running.until(END)
        assert running.ask("sync").status == 0
        assert treatments(site) == undisturbed(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Pacific/Auckland"])
def test_profile_stamp_is_no_sign_of_life(tmp_path: Path, zone: str) -> None:
    """The profile is there at once, and its stamp is no sign of life.

    The phone has been silent for five hours; then the account's settings get a new stamp, and nothing else arrives.
    """
    pump = simulate(SimulationPlan(seed=62, zone=zone, start=BEGIN.date(), days=2, upload_every_min=30))
    clock = FakeClock(BEGIN + timedelta(days=1, hours=12))
    with FaultyTandemCloud([pump], clock) as cloud, SimulatedNightscout(now=clock.now) as site:
        running = InProcessEngine(tmp_path, cloud, site, clock, zone=zone, history_days=1, more=PROFILES)
        assert running.ask("sync").status == 0
        [profile] = site.documents("profile")
        begun = datetime.fromisoformat(profile["startDate"])
        assert begun <= clock.now()
        newest = running.status()["sources"]["tandem"]["newest_event"]
        clock.sleep(5 * 3600)
        stamp = clock.now().strftime("%Y-%m-%dT%H:%M:%S.123")
        changed = {"uploadedTimeStamp": stamp, "settingsHash": "AB" * 20, "basalRate": 700}
        cloud.fail(CloudFault(path="pumper", times=9, put={**changed, "lastUploadDate": stamp + "Z"}))
        cloud.fail(CloudFault(path="pump-logs", times=9, put={"events": []}))
        assert running.ask("sync").status == 0
        assert running.status()["sources"]["tandem"]["newest_event"] == newest
        latest = max(site.documents("profile"), key=lambda each: each["startDate"])
        begun = datetime.fromisoformat(latest["startDate"])
        assert clock.now() - timedelta(minutes=10) <= begun <= clock.now()
        running.engine.close()
