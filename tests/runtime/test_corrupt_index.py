"""Any page of the index is corrupt: it is rebuilt from the log, and later events are delivered as usual."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

from tconnectsync.errors import IndexCorrupt
from tconnectsync.eventlog.index_build import connect
from tests.support.clocks import FakeClock
from tests.support.engine.fakes import FakeReceiver
from tests.support.engine.harness import EngineHarness

PAGE = 4096


def test_index_page_corrupt(tmp_path: Path) -> None:
    """Whichever page of the index is corrupt, nothing stops and no outbox is blamed.

    The process that finds it closes the log; the next one that opens it has a new index.
    """
    before = EngineHarness(tmp_path / "before", segment_bytes=20_000)
    before.ask("sync")
    before.engine.close()
    pages = (before.folder / "index.sqlite").stat().st_size // PAGE
    later = before.clock.time + timedelta(hours=3)
    wanted: dict[str, object] = {}
    found = 0
    for page in [None, *range(pages)]:
        folder = tmp_path / "corrupted"
        shutil.copytree(before.folder, folder)
        if page is not None:
            corrupt_page(folder / "index.sqlite", page)
        receiver = FakeReceiver(batch_size=100, there=dict(before.receiver.there))
        found += runs_until_synced(folder, FakeClock(later), receiver) - 1
        wanted = wanted or dict(receiver.there)
        assert len(wanted) > len(before.receiver.there)
        assert receiver.there == wanted, page
        assert list(folder.rglob("*damaged*")) == []
        shutil.rmtree(folder)
    assert found > pages / 3


def runs_until_synced(folder: Path, clock: FakeClock, receiver: FakeReceiver) -> int:
    """Return the number of runs that it takes; each run that finds the index corrupt ends."""
    for count in (1, 2):
        try:
            harness = EngineHarness(folder, clock=clock, receiver=receiver, segment_bytes=20_000)
            try:
                assert harness.ask("sync").status == 0
            finally:
                harness.engine.close()
        except IndexCorrupt:
            continue
        return count
    raise AssertionError("it was not built anew")


def corrupt_page(path: Path, page: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: page * PAGE] + b"\xa5" * PAGE + data[(page + 1) * PAGE :])


def test_index_points_to_wrong_place(tmp_path: Path) -> None:
    """An index that points to the wrong place is corrupt; the log is not."""
    harness = EngineHarness(tmp_path)
    harness.ask("sync")
    wanted = dict(harness.receiver.there)
    harness.engine.close()
    database = connect(tmp_path / "index.sqlite")
    database.execute("UPDATE event SET offset = offset + 1")
    database.close()
    harness.receiver.there.clear()
    with (tmp_path / "outbox" / "shelf.sqlite").open("wb"):
        pass  # everything is folded again
    assert runs_until_synced(tmp_path, harness.clock, harness.receiver) == 2
    assert harness.receiver.there == wanted
