"""``--dry-run`` prints what would be delivered, and delivers nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import TREATMENTS, ZONE, Installation, SyncSetup, recent_pump
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout


@pytest.fixture
def setup(tmp_path: Path) -> Iterator[SyncSetup]:
    """Cloud, site and configuration for real commands."""
    with FaultyTandemCloud([recent_pump(4)], standing_clock()) as cloud, SimulatedNightscout() as site:
        yield SyncSetup(
            cloud, site, Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2)
        )


def tree(folder: Path) -> dict[str, bytes]:
    """The files of the data folder; SQLite's own side files and the login's token may come and go."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "plugins" not in path.parts and not path.name.endswith(("-shm", "-wal"))
    }


def test_dry_run_prints_first_sync(setup: SyncSetup) -> None:
    """A dry run of a first sync prints what the sync sends and leaves nothing."""
    done = setup.home.run("sync", "--dry-run")
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    assert f"{len(shown)} documents would be sent. This was a preview: nothing was sent" in done.stderr
    assert tree(setup.home.folder / "data") == {}
    assert setup.site.documents("treatments") == []

    setup.home.run("sync")
    held = setup.treatments()
    said = {each["id"]: each["document"] for each in shown if each["collection"] == "treatments"}
    assert said.keys() == held.keys()
    for id_, document in said.items():  # a site leaves out what is 0
        assert all(held[id_].get(name, 0) == value for name, value in document.items())

    before = tree(setup.home.folder / "data")
    assert setup.home.run("sync", "--dry-run").stdout == ""
    again = setup.home.run("replay", TREATMENTS, "--dry-run")
    replayed = {each["id"]: each["document"] for each in map(json.loads, again.stdout.splitlines())}
    assert replayed == {id_: document for id_, document in said.items() if held[id_]["sink"] == TREATMENTS}
    assert tree(setup.home.folder / "data") == before


def test_dry_run_names_obstacle(setup: SyncSetup) -> None:
    """A dry run says what is in the way and ends with its status."""
    path = setup.home.folder / "config.toml"
    text = path.read_text()
    path.write_text(text.replace("password = ", 'password = "wrong"  # '))
    done = setup.home.run("sync", "--dry-run", expect=(4,))
    assert "tandem: " in done.stderr
    assert "0 documents would be sent" in done.stderr
