"""The index and the outbox are rebuilt if any page of their files is corrupt. Nothing else is rebuilt."""

from __future__ import annotations

import copy
import random
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tconnectsync.errors import IndexCorrupt
from tconnectsync.outbox.older_copy import mark_older
from tests.support.engine.harness import BEGIN, EngineHarness

PAGE = 4096


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the receiver holds in the end if nothing is corrupt."""
    harness = EngineHarness(tmp_path_factory.mktemp("undisturbed"))
    sync_after_five_days(harness)
    harness.clock.sleep(3 * 3600)
    assert harness.ask("sync").status == 0
    harness.engine.close()
    return dict(harness.receiver.there)


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> EngineHarness:
    """Five days are delivered; everything is closed. Tests take a copy: ``harness``."""
    harness = EngineHarness(tmp_path_factory.mktemp("delivered"))
    sync_after_five_days(harness)
    harness.engine.close()
    return harness


@pytest.fixture
def harness(delivered: EngineHarness, tmp_path: Path) -> Iterator[EngineHarness]:
    """Five days are delivered; everything is closed."""
    folder = shutil.copytree(delivered.folder, tmp_path / "data")
    clock, receiver = copy.deepcopy(delivered.clock), copy.deepcopy(delivered.receiver)
    harness = EngineHarness(folder, clock=clock, receiver=receiver)
    harness.engine.close()
    harness.clock.sleep(3 * 3600)
    yield harness
    harness.engine.close()


def sync_after_five_days(harness: EngineHarness) -> None:
    harness.clock.sleep(5 * 86400)
    assert harness.ask("sync").status == 0


def noise(path: Path, page: int) -> int:
    """Fill a page with noise; return the file's number of pages."""
    data = bytearray(path.read_bytes())
    pages = len(data) // PAGE
    at = page % pages * PAGE
    data[at : at + PAGE] = random.Random(page).randbytes(PAGE)
    path.write_bytes(data)
    return pages


@pytest.mark.parametrize("page", range(0, 40, 2))
def test_index_noise_in_any_page(harness: EngineHarness, undisturbed: dict[str, Any], page: int) -> None:
    """Noise in any page of the index costs a rebuild of it.

    It ends the run with an error, and the next run has a new index; the outbox stays as it is.
    """
    noise(harness.folder / "index.sqlite", page)
    harness.open()
    try:
        result = harness.ask("sync")
    except IndexCorrupt:  # a service starts again
        harness.engine.close()
        harness.open()
        result = harness.ask("sync")
    assert result.status == 0
    assert harness.receiver.there == undisturbed
    assert list((harness.folder / "outbox").glob("*.damaged")) == []


@pytest.mark.parametrize("page", range(0, 24, 2))
def test_outbox_noise_in_any_page(harness: EngineHarness, undisturbed: dict[str, Any], page: int) -> None:
    """Noise in any page of the outbox costs a look at the site."""
    noise(harness.folder / "outbox" / "shelf.sqlite", page)
    harness.open()
    harness.ask("sync")
    assert harness.ask("sync").status == 0
    assert harness.receiver.there == undisturbed


@pytest.mark.parametrize("page", range(0, 24, 2))
def test_noise_in_an_older_copy(harness: EngineHarness, undisturbed: dict[str, Any], page: int) -> None:
    """An outbox that is corrupt and an older copy costs a look at the whole site: nobody waits for the copy to be whole."""
    noise(harness.folder / "outbox" / "shelf.sqlite", page)
    mark_older(harness.folder / "outbox", BEGIN + timedelta(days=2))
    harness.open()
    harness.ask("sync")
    assert harness.ask("sync").status == 0
    assert harness.receiver.there == undisturbed


def test_corrupt_index_message(tmp_path: Path) -> None:
    """A corrupt index has a message of its own."""
    error = IndexCorrupt(str(tmp_path))
    assert "Nothing is lost" in error.message
    assert error.remedy
