"""Saved files of pumps through the real command line: read once, never doubled, refused completely if damaged."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.e2e.installation import ZONE, Installation, by_identity, daemon, recent_pump
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout


@attrs.define
class Saved:
    """An installation that has fetched a pump's days, and a second one that has not: only a file."""

    fetched: Installation
    fresh: Installation
    site: SimulatedNightscout
    fresh_site: SimulatedNightscout
    serial: str
    file: Path
    days: tuple[str, str]

    def records(self, home: Installation) -> list[dict[str, Any]]:
        return [json.loads(line) for line in home.run("events", "--json").stdout.splitlines()]

    def imported(self, *words: str, expect: tuple[int, ...] = (0,), home: Installation | None = None) -> str:
        done = (home or self.fresh).run("import", *words, expect=expect)
        return done.stdout + done.stderr

    def treatments(self, site: SimulatedNightscout) -> dict[str, dict[str, Any]]:
        return by_identity(site.documents("treatments"))


@pytest.fixture(scope="module")
def fetched(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Installation, SimulatedNightscout, FaultyTandemCloud, bytes]]:
    """What fetching gave: installation, site, cloud, and the saved answer of the cloud."""
    folder = tmp_path_factory.mktemp("fetched")
    with (
        FaultyTandemCloud([recent_pump(1)], standing_clock()) as cloud,
        SimulatedNightscout(api_secret="a long secret") as site,
    ):
        home = Installation(folder, cloud, site.url, "a long secret", ZONE, history_days=1)
        home.run("sync")
        records = [json.loads(line) for line in home.run("events", "--json").stdout.splitlines()]
        entries = [record["raw"] for record in records if "sequenceNumber" in (record.get("raw") or {})]
        half = len(entries) // 2
        answers = [{"events": part, "clockChanges": []} for part in (entries[:half], entries[half:])]
        yield home, site, cloud, "\n".join(map(json.dumps, answers)).encode()


@pytest.fixture
def saved(fetched: Any, tmp_path: Path) -> Iterator[Saved]:
    """An installation that has fetched nothing, and a file with the saved answer."""
    home, site, cloud, text = fetched
    file = tmp_path / "whatever.txt"
    file.write_bytes(text)
    with SimulatedNightscout(api_secret="a long secret") as fresh_site:
        fresh = Installation(tmp_path / "fresh", cloud, fresh_site.url, "a long secret", ZONE, history_days=1)
        serial = json.loads(home.run("events", "--json").stdout.splitlines()[-1])["pump"]
        entries = [entry for line in text.splitlines() for entry in json.loads(line)["events"]]
        days = sorted(entry["pumpDateTime"][:10] for entry in entries if entry["eventCode"] not in (13, 14))
        yield Saved(home, fresh, site, fresh_site, serial, file, (days[0], days[-1]))


def test_import_equals_fetching(saved: Saved) -> None:
    """A file gives the site the same as fetching."""
    words = saved.imported(str(saved.file), "--pump", saved.serial)
    count = saved.file.read_bytes().count(b'"sequenceNumber"')
    assert f"{count:,} new pump events, 0 were in the log already" in words
    days = " to ".join(dict.fromkeys(saved.days))  # near midnight in UTC, all are of one day in the pump's zone
    assert f"pump {saved.serial} (tandem): {days}\n" in words
    there, fetched = saved.treatments(saved.fresh_site), saved.treatments(saved.site)
    assert fetched.items() <= there.items()  # the file's first days are opened too
    assert len(fetched) > 50
    before = saved.records(saved.fresh)
    assert "\n0 new pump events" in f"\n{saved.imported(str(saved.file), '--pump', saved.serial)}"
    assert saved.records(saved.fresh) == before
    assert saved.treatments(saved.fresh_site) == there


def test_import_after_fetching(saved: Saved) -> None:
    """After fetching, nothing in the file is new."""
    numbered = [record for record in saved.records(saved.fetched) if record.get("seq") is not None]
    words = saved.imported(str(saved.file), "--pump", saved.serial, home=saved.fetched)
    assert "\n0 new pump events" in f"\n{words}"
    assert [record for record in saved.records(saved.fetched) if record.get("seq") is not None] == numbered


def test_fetching_after_import(saved: Saved) -> None:
    """Fetching after an import finds nothing new."""
    saved.imported(str(saved.file), "--pump", saved.serial)
    numbered = [record for record in saved.records(saved.fresh) if record.get("seq") is not None]
    saved.fresh.run("sync")
    assert [record for record in saved.records(saved.fresh) if record.get("seq") is not None] == numbered


def test_import_truncated_file(saved: Saved) -> None:
    """A truncated file is refused as a whole, with the position."""
    text = saved.file.read_bytes()
    other = saved.file.with_name("cut.json")
    other.write_bytes(text[:-50])
    words = saved.imported(str(saved.file), str(other), "--pump", saved.serial, expect=(2,))
    assert f"{other}: Byte {len(text) - 50:,}: the file ends there" in words
    assert "--skip-bad" in words
    assert saved.records(saved.fresh) == []
    words = saved.imported(str(other), "--pump", saved.serial, "--skip-bad")
    assert f"skipped at byte {len(text) - 50:,}" in words
    assert saved.records(saved.fresh) != []


def test_import_wrong_serial(saved: Saved) -> None:
    """A wrong serial number is refused."""
    before = saved.records(saved.fetched)
    words = saved.imported(str(saved.file), "--pump", "7654321", home=saved.fetched, expect=(2,))
    assert f"--pump {saved.serial}" in words
    assert saved.records(saved.fetched) == before


def test_import_not_a_file(saved: Saved) -> None:
    """A path that is no file is refused."""
    assert "does not exist" in saved.imported(str(saved.file) + "x", expect=(2,))
    saved.file.write_text("hello")
    words = saved.imported(str(saved.file), "--pump", saved.serial, expect=(2,))
    assert "Known formats: " in words
    assert "Tandem's JSON API" in words
    assert "is a directory" in saved.imported(str(saved.file.parent), expect=(2,))


def test_import_through_daemon(saved: Saved) -> None:
    """The daemon imports the file."""
    with daemon(saved.fresh) as living:
        living.wait_for("started")
        relative = os.path.relpath(saved.file)
        words = saved.imported(relative, "--pump", saved.serial)
        assert "new pump events" in words
        assert "request command=import" in living.log
        gone = saved.imported(str(saved.file), "--pump", saved.serial)
        assert "\n0 new pump events" in f"\n{gone}"
        living.stop()
    assert saved.treatments(saved.site).items() <= saved.treatments(saved.fresh_site).items()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_import_unreadable_file(saved: Saved) -> None:
    """A file that may not be read is reported."""
    saved.file.chmod(0)
    assert "not readable" in saved.imported(str(saved.file), expect=(2,))


def test_import_older_export(saved: Saved) -> None:
    """The older website's export reaches the site once."""
    header = "Type,BolusRequestID,BolusCompletionID,CompletionDateTime,InsulinDelivered,BolusIsComplete,EventDateTime,CarbSize"
    rows = [
        '"Bolus","7001","7001","2021-04-01T12:58:26","13.53","1","2021-04-01T12:58:26","75"',
        '"Bolus","7002","7002","2021-04-01T18:03:00","2.5","1","2021-04-01T18:03:00","0"',
    ]
    export = saved.file.with_name("export.csv")
    export.write_text("\r\n".join(["t:connect Therapy Timeline Data Export", "", header, *rows, ""]))
    assert "--pump SERIAL" in saved.imported(str(export), expect=(2,))
    for _ in range(2):
        saved.imported(str(export), "--pump", "7654321")
        old = [doc for doc in saved.fresh_site.documents("treatments") if doc["created_at"] < "2022"]
        assert sorted(doc["insulin"] for doc in old) == [2.5, 13.53]
        assert [doc.get("carbs") for doc in old if doc["insulin"] == 13.53] == [75]
    export.write_text(export.read_text().replace('"2.5"', '"2.5.1"'))
    assert 'Line 5, Bolus table, column "InsulinDelivered"' in saved.imported(
        str(export), "--pump", "7654321", expect=(2,)
    )
