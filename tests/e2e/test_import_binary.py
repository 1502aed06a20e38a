"""A pump's binary history log through the real command line: the same events and documents as fetching the same days as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.e2e.installation import ZONE, Installation, by_identity, recent_pump
from tests.support.binary_records import as_text, binary
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

NO_LAYOUT = 9  # the battery's own record
UNEXPLAINED = 219
NOT_WHOLE = {NO_LAYOUT, 57, 69}
"""Their older form is not known, or not the place of a profile's name in it."""
DAYS = 3


@attrs.define
class BinaryExport:
    """An installation that has fetched a pump's days, and what the older web service would have saved of them."""

    fetched: Installation
    site: SimulatedNightscout
    serial: str
    records: list[bytes]


def events_of(home: Installation) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in home.run("events", "--json").stdout.splitlines()]
    return [line for line in lines if line.get("seq") is not None]


def what_is_told(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What both forms report."""
    return {
        event["id"]: (event["kind"], event["pump_time"], event["body"])
        for event in events
        if event["raw"]["eventCode"] not in NOT_WHOLE
    }


def imported(home: Installation, *words: str, expect: tuple[int, ...] = (0,)) -> str:
    done = home.run("import", *words, expect=expect)
    return "\n" + done.stdout + done.stderr


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BinaryExport]:
    """What fetching gave, and the same records as a binary history log."""
    folder = tmp_path_factory.mktemp("fetched")
    with (
        FaultyTandemCloud([recent_pump(DAYS, scan_codes=True)], standing_clock()) as cloud,
        SimulatedNightscout(api_secret="a long secret") as site,
    ):
        home = Installation(folder, cloud, site.url, "a long secret", ZONE, history_days=DAYS)
        home.run("sync")
        fetched = events_of(home)
        records = [
            binary(event["raw"], bytes(15) + b"\1" if event["raw"]["eventCode"] in (NO_LAYOUT, UNEXPLAINED) else None)
            for event in fetched
        ]
        yield BinaryExport(home, site, fetched[0]["pump"], records)


def test_import_binary_equals_fetching(worlds: BinaryExport, tmp_path: Path) -> None:
    """The binary form gives the site the same as fetching."""
    file = tmp_path / "saved.txt"
    file.write_bytes(b'"' + as_text(worlds.records, 10**9) + b'"')
    with SimulatedNightscout(api_secret="a long secret") as site:
        fresh = Installation(
            tmp_path / "fresh", worlds.fetched.cloud, site.url, "a long secret", ZONE, history_days=DAYS
        )
        assert "--pump SERIAL" in imported(fresh, str(file), expect=(2,))
        words = imported(fresh, str(file), "--pump", worlds.serial)
        assert f"\n{len(worlds.records):,} new pump events, 0 were in the log already" in words
        assert f"{len(worlds.records):,} records of its history log" in words
        assert len(worlds.records) > 3_000
        first = events_of(fresh)
        assert what_is_told(first) == what_is_told(events_of(worlds.fetched))
        there = by_identity(site.documents("treatments"))
        assert by_identity(worlds.site.documents("treatments")).items() <= there.items()
        assert "\n0 new pump events" in imported(fresh, str(file), "--pump", worlds.serial)
        fresh.run("sync")  # and fetching adds only what the older form does not report
        again = events_of(fresh)
        assert what_is_told(again) == what_is_told(first)
        kept = {json.dumps(event["raw"]) for event in first}
        newly = [event["raw"]["eventCode"] for event in again if json.dumps(event["raw"]) not in kept]
        assert set(newly) <= NOT_WHOLE
        assert by_identity(site.documents("treatments")) == there


def test_import_binary_after_fetching(worlds: BinaryExport, tmp_path: Path) -> None:
    """After fetching, nothing of the binary form is new."""
    file = tmp_path / "saved.bin"
    file.write_bytes(b"".join(worlds.records))
    before = events_of(worlds.fetched)
    words = imported(worlds.fetched, str(file), "--pump", worlds.serial)
    assert f"\n0 new pump events, {len(worlds.records):,} were in the log already" in words
    assert events_of(worlds.fetched) == before


def test_import_binary_corrupt_file(worlds: BinaryExport, tmp_path: Path) -> None:
    """A corrupt file is refused as a whole, with the position."""
    file = tmp_path / "saved.bin"
    content = b"".join(worlds.records)
    file.write_bytes(content[:52_000] + b"\xff" + content[52_001:])
    with SimulatedNightscout(api_secret="a long secret") as site:
        fresh = Installation(
            tmp_path / "fresh", worlds.fetched.cloud, site.url, "a long secret", ZONE, history_days=DAYS
        )
        words = imported(fresh, str(file), "--pump", worlds.serial, expect=(2,))
        assert f"{file}: Byte 52,000: no pump record begins with ff" in words
        assert "--skip-bad" in words
        assert events_of(fresh) == []
        words = imported(fresh, str(file), "--pump", worlds.serial, "--skip-bad")
        assert f"\n{len(worlds.records) - 3:,} new pump events" in words  # damage may begin in one and end in another
        assert "skipped at byte 52,000" in words
