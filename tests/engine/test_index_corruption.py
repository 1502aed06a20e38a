"""Any page of the index turns to rubbish: it is built anew from the log, and what comes later is delivered as ever."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from tconnectsync.errors import IndexCorrupt
from tconnectsync.eventlog.index_build import connect
from tests.engine.fakes import Shelf
from tests.engine.harness import World
from tests.support.clocks import FakeClock

PAGE = 4096


def test_any_corrupt_page_of_the_index_stops_nothing_and_blames_no_outbox(tmp_path: Path) -> None:
    """The one that finds it closes the log; whoever opens it next has a new index."""
    before = World(tmp_path / "before", segment_bytes=20_000)
    before.ask("sync")
    before.engine.close()
    pages = (before.folder / "index.sqlite").stat().st_size // PAGE
    later = before.clock.time + timedelta(hours=3)
    wanted: dict[str, object] = {}
    found = 0
    for page in [None, *range(pages)]:
        folder = tmp_path / "harmed"
        shutil.copytree(before.folder, folder)
        if page is not None:
            harm(folder / "index.sqlite", page)
        shelf = Shelf(batch_size=100, there=dict(before.shelf.there))
        found += lives_until_synced(folder, FakeClock(later), shelf) - 1
        wanted = wanted or dict(shelf.there)
        assert len(wanted) > len(before.shelf.there)
        assert shelf.there == wanted, page
        assert list(folder.rglob("*damaged*")) == []
        shutil.rmtree(folder)
    assert found > pages / 3


def lives_until_synced(folder: Path, clock: FakeClock, shelf: Shelf) -> int:
    """How many it takes; each that finds the index harmed ends."""
    for count in (1, 2):
        try:
            world = World(folder, clock=clock, shelf=shelf, segment_bytes=20_000)
            try:
                assert world.ask("sync").status == 0
            finally:
                world.engine.close()
        except IndexCorrupt:
            continue
        return count
    raise AssertionError("it was not built anew")


def harm(path: Path, page: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: page * PAGE] + b"\xa5" * PAGE + data[(page + 1) * PAGE :])


def test_an_index_that_points_to_the_wrong_place_is_corrupt_and_the_log_is_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ask("sync")
    wanted = dict(world.shelf.there)
    world.engine.close()
    database = connect(tmp_path / "index.sqlite")
    database.execute("UPDATE event SET offset = offset + 1")
    database.close()
    world.shelf.there.clear()
    with (tmp_path / "outbox" / "shelf.sqlite").open("wb"):
        pass  # everything is folded again
    assert lives_until_synced(tmp_path, world.clock, world.shelf) == 2
    assert world.shelf.there == wanted
