"""The command line of :mod:`cli_worlds`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cli_worlds import FakeApplication, World

import tconnectsync

CONFIG = """
timezone = "Europe/Berlin"
data_dir = "data"
[sources.pump]
email = "a@example.org"
password = "pump-password"
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> World:
    """A made-up plugin, a fake engine and a configuration that is right."""
    application = FakeApplication()
    monkeypatch.setitem(sys.modules, "tconnectsync.application", application)
    monkeypatch.setattr(tconnectsync, "application", application, raising=False)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    environ = {"HOME": str(tmp_path), "TCONNECTSYNC_CONFIG": str(path)}
    return World(tmp_path, application, lambda: tuple(capsys.readouterr()), environ)  # type: ignore[arg-type,return-value]
