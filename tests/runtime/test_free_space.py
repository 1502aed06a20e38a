"""How much room polling leaves on the disk."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from tconnectsync.cli.status_lines import status_lines
from tconnectsync.config.load import load_config
from tconnectsync.disk_check import FREE_SPACE_FLOOR
from tconnectsync.eventlog import OsFiles
from tconnectsync.queries.check import run_check
from tconnectsync.queries.status import read_status
from tconnectsync.runtime.data_dir import free_space_problem
from tests.config.fake_plugins import usual_plugins
from tests.support.clocks import FakeClock

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(("free", "stops"), [(FREE_SPACE_FLOOR, False), (FREE_SPACE_FLOOR - 1, True), (0, True)])
def test_polling_stops_before_outboxes(free: int, stops: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Polling stops while the outboxes still have room."""
    monkeypatch.setattr(OsFiles, "free_bytes", lambda _, folder: free if folder == tmp_path else 0)
    words = free_space_problem(tmp_path)
    assert (words is not None) == stops
    assert words is None or f"{free // 1_000_000} MB are free" in words
    assert FREE_SPACE_FLOOR >= 64_000_000


def test_check_and_status_name_one_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both count in powers of ten."""
    monkeypatch.setattr("tconnectsync.disk_check.shutil.disk_usage", lambda _: SimpleNamespace(free=70_790_000_000))
    path = tmp_path / "config.toml"
    site = '[nightscout]\nurl = "https://my-site.example"\n[sources.tandem]\nemail = "a@example.org"\nregion = "US"\n'
    path.write_text(f'timezone = "Europe/Berlin"\ndata_dir = "data"\n{site}')
    config, clock = load_config(path, {}, usual_plugins()), FakeClock(NOW)
    found = next(run_check(config, usual_plugins(), clock=clock))
    assert found.what.startswith("disk: 71 GB free for ")
    lines = status_lines(read_status(config, clock=clock), NOW, timezone.utc)
    assert [line.lines for line in lines if line.name == "disk"] == [("71 GB free",)]
