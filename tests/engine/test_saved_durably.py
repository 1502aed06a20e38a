"""What is synced to the disk, and what need not be: an SD card wears out by each sync."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import attrs
import pytest

from tconnectsync.filesystem import OsFiles
from tconnectsync.ingest.source_state import SourceState
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.facts import CURSOR
from tconnectsync.retry.health import Health, HealthState
from tests.engine.fakes import START


@attrs.define
class CountingFiles(OsFiles):
    """Counts how often a folder was synced."""

    folder_syncs: int = 0

    def sync_folder(self, folder: Path) -> None:
        self.folder_syncs += 1
        super().sync_folder(folder)


def test_times_of_a_source_not_synced(tmp_path: Path) -> None:
    """A source's state is durable if more than times changed; the times can be read in any case."""
    files = CountingFiles()
    state = SourceState(tmp_path / "tandem.json", files)
    synced = []
    changes = [
        {"last_fetch": START},
        {"last_fetch": START + timedelta(hours=1)},
        {"unknown_codes": {"77": 1}},
        {"last_fetch": START + timedelta(hours=2), "last_began": START},
        {"health": Health(state=HealthState.REFUSED)},
    ]
    for change in changes:
        before = files.folder_syncs
        for name, value in change.items():
            setattr(state, name, value)
        state.save()
        synced.append(files.folder_syncs > before)
        assert SourceState.load(state.path, files) == state
    assert synced == [True, False, True, False, True]


def test_folding_not_synced(tmp_path: Path) -> None:
    """Only a durable transaction waits for the disk, also after one that was not durable, and after one that failed."""
    outbox = Outbox(tmp_path / "sink.sqlite")

    def level() -> int:
        [(found,)] = outbox._db.execute("PRAGMA synchronous").fetchall()
        return int(found)

    with outbox.transaction():
        full = level()
    with outbox.transaction(durable=False):
        outbox.facts.put(CURSOR, 1)
        assert level() < full
    with pytest.raises(ZeroDivisionError), outbox.transaction(durable=False):
        outbox.facts.put(CURSOR, 1 // 0)
    assert level() == full
    outbox.close()
    again = Outbox(tmp_path / "sink.sqlite")
    assert again.facts.get(CURSOR) == 1
    again.close()
