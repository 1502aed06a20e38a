"""``adopt`` for glucose: our readings replace those of the older bridge, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import Document, StoredDocument
from tconnectsync_nightscout.api.find_copies import time_of
from tconnectsync_nightscout.delivery.legacy_readings import match_legacy_readings
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.installation import ZONE, Installation, recent_pump
from tests.e2e.simulated_home import BEGIN, DAY, SimulatedHome, plan_of, simulated_home
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

CGM = "nightscout-cgm"
TABLE = f"[sinks.{CGM}]\nenabled = true\n"
ZEROS = 22


@contextmanager
def living(folder: Path, **how: Any) -> Iterator[SimulatedHome]:
    with simulated_home(folder, simulate(plan_of(81, days=3)), now=BEGIN + 2 * DAY, history_days=1, **how) as home:
        home.running.more = TABLE
        home.running.reopen()
        yield home


def as_older(ours: Mapping[str, Any], *, numbered: bool = True, off: timedelta = timedelta(0)) -> dict[str, Any]:
    """The same reading as the older bridge wrote it: when the pump received it, the raw number, its mark as the device."""
    at = datetime.fromtimestamp(ours["date"] / 1000, timezone.utc) + timedelta(seconds=20) + off
    found = {
        "type": "sgv", "sgv": ours["sgv"], "date": int(at.timestamp() * 1000),
        "dateString": f"{at:%Y-%m-%dT%H:%M:%S}+0000", "device": "Pump (tconnectsync)",
    }  # fmt: skip
    return {**found, "pump_event_id": str(ours["pump"]["events"][0])} if numbered else found


def warm_ups(readings: Mapping[str, Mapping[str, Any]], count: int = ZEROS) -> list[dict[str, Any]]:
    some = [as_older(each) for each in list(readings.values())[40 : 40 + count]]
    return [{**each, "sgv": 0, "date": each["date"] + 60_000, "pump_event_id": f"9{number}"} for number, each in enumerate(some)]  # fmt: skip


def entries(home: SimulatedHome) -> dict[str, dict[str, Any]]:
    return {
        doc["identifier"]: {k: v for k, v in doc.items() if k != "_id"}
        for doc in home.site.documents("entries")
        if doc.get("sink") == CGM and doc["type"] == "sgv"
    }


def others(home: SimulatedHome) -> list[dict[str, Any]]:
    return [doc for doc in home.site.documents("entries") if doc.get("sink") != CGM]


def inhabited(home: SimulatedHome, **how: Any) -> dict[str, dict[str, Any]]:
    """Deliver, then let the site hold the older bridge's readings instead, and let this installation know nothing."""
    assert home.ask("sync").status == 0
    before = entries(home)
    assert len(before) > 200
    home.site.drop("entries")
    home.site.put("entries", *(as_older(each, **how) for each in before.values()), *warm_ups(before))
    for collection in ("treatments", "activity", "devicestatus"):
        home.site.drop(collection)
    home.wipe()
    return before


@pytest.mark.parametrize(("version", "numbered"), [("15.0.6", True), ("15.0.7", False)])
def test_adopt_readings_replaces(tmp_path: Path, version: str, numbered: bool) -> None:
    """Our readings replace the older bridge's."""
    with living(tmp_path, version=version) as home:
        before = inhabited(home, numbered=numbered)
        held = home.ask("sync")
        assert held.status == 6
        assert f"tconnectsync adopt {CGM}" in " ".join(held.lines)
        assert entries(home) == {}
        result = home.ask("adopt", sink=CGM)
        assert result.status == 0, result.lines
        assert f"{ZEROS} documents ({ZEROS} sgv) of it are impossible" in " ".join(result.lines)
        assert (entries(home), others(home)) == (before, [])
        assert home.ask("sync").status == 0
        assert entries(home) == before


def test_adopt_readings_other_time_zone(tmp_path: Path) -> None:
    """Readings of another time zone are found by their record numbers."""
    with living(tmp_path) as home:
        before = inhabited(home, off=timedelta(hours=-3))
        assert home.ask("adopt", sink=CGM).status == 0
        assert (entries(home), others(home)) == (before, [])


def test_adopt_readings_of_warm_up(tmp_path: Path) -> None:
    """Warm-up readings that an earlier adopt left are deleted."""
    with living(tmp_path) as home:
        assert home.ask("sync").status == 0
        before = entries(home)
        home.site.put("entries", *warm_ups(before))
        someones = {"type": "sgv", "sgv": 0, "device": "a sensor of another kind", "date": 1773900000000,
                    "dateString": "2026-03-19T06:00:00.000Z"}  # fmt: skip
        home.site.put("entries", {**someones})
        result = home.ask("adopt", sink=CGM, keep_unclear=True)
        assert result.status == 0, result.lines
        assert entries(home) == before
        assert [doc["device"] for doc in others(home)] == [someones["device"]]


def test_adopt_readings_other_uploader(tmp_path: Path) -> None:
    """The user decides about another uploader's readings beside ours.

    They are never deleted, and never doubled without a word.
    """
    with living(tmp_path) as home:
        before = inhabited(home)
        copies = [{**as_older(each, numbered=False), "device": "xDrip"} for each in list(before.values())[:50]]
        home.site.put("entries", *copies)
        held = home.site.documents("entries")
        result = home.ask("adopt", sink=CGM)
        assert result.status == 6
        assert "sgv of xDrip" in "\n".join(result.lines)
        assert home.site.documents("entries") == held
        assert home.ask("adopt", sink=CGM, keep_unclear=True).status == 0
        assert (entries(home), {doc["device"] for doc in others(home)}) == (before, {"xDrip"})


def test_adopt_readings_command_line(tmp_path: Path) -> None:
    """The command line adopts readings."""
    with FaultyTandemCloud([recent_pump(3)], standing_clock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1, more=TABLE)
        home.run("sync")
        ours = [doc for doc in site.documents("entries") if doc["type"] == "sgv"]
        site.drop("entries")
        site.put("entries", *(as_older(each) for each in ours))
        fresh = Installation(tmp_path / "fresh", cloud, site.url, site.secret, ZONE, history_days=1, more=TABLE)
        fresh.run("sync", expect=(6,))
        tried = fresh.run("adopt", CGM, "--dry-run")
        assert f"{len(ours)} documents ({len(ours)} sgv) of an older bridge would be replaced" in tried.stdout
        assert len(site.documents("entries")) == len(ours)
        fresh.run("adopt", CGM)
        assert {doc.get("sink") for doc in site.documents("entries")} == {CGM}


AT = datetime(2026, 3, 20, 12, tzinfo=timezone.utc)


def stored(item: Mapping[str, Any], minutes: float) -> StoredDocument:
    whole = {"_id": "a" * 24, "type": "sgv", "device": "Pump (tconnectsync)", **item}
    return StoredDocument(
        document_id="",
        collection="entries",
        at=AT + timedelta(minutes=minutes),
        receiver_key="",
        unique_slot="sgv",
        content=whole,
    )


@pytest.mark.parametrize(
    ("item", "minutes", "same"),
    [
        ({"sgv": 120}, 0, True),
        ({"sgv": 120}, 4, True),
        ({"sgv": 121}, 1, None),
        ({"sgv": 121, "pump_event_id": "77"}, 1, False),
        ({"sgv": 99, "pump_event_id": "5"}, 180, True),
        ({"sgv": 99, "pump_event_id": "5"}, 60 * 48, False),
        ({"sgv": 121}, 60, False),
        ({"sgv": 0}, 60, True),
        ({"sgv": "junk"}, 60, True),
        ({"sgv": 5000}, 60, True),
        ({"sgv": 120, "_id": "not the server's"}, 0, None),
        ({"sgv": 120, "_id": "not the server's"}, 60, False),
        ({"sgv": 120, "device": "xDrip"}, 1, None),
    ],
)
def test_adopt_readings_same_reading(item: Mapping[str, Any], minutes: float, same: bool | None) -> None:
    """Which reading of another uploader is the same as ours."""
    content = {"type": "sgv", "sgv": 120, "pump": {"serial": "1", "events": [5]}}
    ours = Document(id="x", collection="entries", at=AT, content=content, unique_slot="sgv")
    (older,) = match_legacy_readings([ours], [stored(item, minutes)])
    assert older.same is same
    assert older.impossible is (item["sgv"] in (0, "junk", 5000))


def test_adopt_readings_where_ours_are_missing() -> None:
    """Another uploader's reading stays if we have none at that time."""
    assert match_legacy_readings([], [stored({"sgv": 0, "device": "xDrip"}, 0)]) == []


def test_adopt_readings_time_formats() -> None:
    """An entry has a time however its uploader wrote it."""
    assert time_of({"date": 1774008000000, "dateString": "2026-03-20T12:00:00+0000"}) == AT
    assert time_of({"date": 1774008000000, "dateString": "Fri Mar 20 12:00:00 CET 2026"}) == AT
    assert time_of({"date": "junk"}) is None
