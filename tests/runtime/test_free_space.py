"""How much room polling leaves on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tconnectsync.disk_check import FREE_SPACE_FLOOR
from tconnectsync.eventlog import OsFiles
from tconnectsync.runtime.data_dir import free_space_problem


@pytest.mark.parametrize(("free", "stops"), [(FREE_SPACE_FLOOR, False), (FREE_SPACE_FLOOR - 1, True), (0, True)])
def test_polling_stops_before_outboxes(free: int, stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polling stops while the outboxes still have room."""
    monkeypatch.setattr(OsFiles, "free_bytes", lambda _, folder: free if folder == tmp_path else 0)
    words = free_space_problem(tmp_path)
    assert (words is not None) == stops
    assert words is None or f"{free >> 20} MB are free" in words
    assert FREE_SPACE_FLOOR >= 64_000_000
