"""The index and the outbox are made anew when their files turn out to be harmed, whatever page it is; nothing else is."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tconnectsync.errors import IndexCorrupt
from tests.engine.harness import World

PAGE = 4096


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    world = World(tmp_path_factory.mktemp("undisturbed"))
    lived(world)
    world.clock.sleep(3 * 3600)
    assert world.ask("sync").status == 0
    world.engine.close()
    return dict(world.shelf.there)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Five days are delivered; everything is closed."""
    world = World(tmp_path)
    lived(world)
    world.engine.close()
    world.clock.sleep(3 * 3600)
    yield world
    world.engine.close()


def lived(world: World) -> None:
    world.clock.sleep(5 * 86400)
    assert world.ask("sync").status == 0


def noise(path: Path, page: int) -> int:
    """Fill a page with noise; how many pages the file has."""
    data = bytearray(path.read_bytes())
    pages = len(data) // PAGE
    at = page % pages * PAGE
    data[at : at + PAGE] = random.Random(page).randbytes(PAGE)
    path.write_bytes(data)
    return pages


@pytest.mark.parametrize("page", range(0, 40, 2))
def test_noise_in_any_page_of_the_index_costs_a_rebuild(world: World, undisturbed: dict[str, Any], page: int) -> None:
    """It ends the run, as loudly as can be, and the next one has a new index; the outbox stays as it is."""
    noise(world.folder / "index.sqlite", page)
    world.open()
    try:
        result = world.ask("sync")
    except IndexCorrupt:  # a service starts again
        world.engine.close()
        world.open()
        result = world.ask("sync")
    assert result.status == 0
    assert world.shelf.there == undisturbed
    assert list((world.folder / "outbox").glob("*.damaged")) == []


@pytest.mark.parametrize("page", range(0, 24, 2))
def test_noise_in_any_page_of_the_outbox_costs_a_look_at_the_site(
    world: World, undisturbed: dict[str, Any], page: int
) -> None:
    noise(world.folder / "outbox" / "shelf.sqlite", page)
    world.open()
    world.ask("sync")
    assert world.ask("sync").status == 0
    assert world.shelf.there == undisturbed


def test_a_corrupt_index_has_a_message(tmp_path: Path) -> None:
    error = IndexCorrupt(str(tmp_path))
    assert "Nothing is lost" in error.message
    assert error.remedy
