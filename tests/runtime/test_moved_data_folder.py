"""The data folder is moved away, or another disk is mounted over it, while the daemon runs."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from tconnectsync.ingest.source_state import SourceState
from tconnectsync.runtime.data_dir import folder_identity, free_space_problem
from tests.support.engine.harness import EngineHarness


def test_another_folder_at_the_place(tmp_path: Path) -> None:
    """Whoever moves the data folder or takes its disk away reads so, at each poll, and nothing is made in its place."""
    harness = EngineHarness(tmp_path / "data")
    folder, moved = harness.folder, tmp_path / "moved"
    harness.engine.pollers["pump"].free_space = partial(free_space_problem, folder, folder_identity(folder))
    assert harness.ask("sync").status == 0
    folder.rename(moved)
    for _ in range(3):
        harness.clock.sleep(7200)
        assert harness.ask("sync").status == 3
        assert "is missing" in (harness.engine.pollers["pump"].health.remedy or "")
        assert not folder.exists()
    folder.mkdir()
    for _ in range(3):
        harness.clock.sleep(7200)
        assert harness.ask("sync").status == 3
        assert "another folder is at its place" in (harness.engine.pollers["pump"].health.remedy or "")
    assert "another folder" in (SourceState.load(folder / "state" / "pump.json").health.remedy or ""), "for `status`"
    assert harness.pump.polls == 1
    shutil.rmtree(folder)
    moved.rename(folder)
    harness.clock.sleep(7200)
    assert harness.ask("sync").status == 0
    harness.engine.close()
