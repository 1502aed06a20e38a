"""The command line of :mod:`tests.cli.harness`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tconnectsync.plugin.manager import load_plugins
from tests.cli.harness import CliHarness, FakeApplication

COMMANDS = {
    "execute": "daemon.execute",
    "run_daemon": "daemon.run",
    "preview": "queries.preview",
    "read_status": "queries.status",
    "read_events": "queries.log_records",
    "read_dead_letters": "queries.dead_letters",
    "run_check": "queries.check",
}
"""The functions behind the commands, and the modules they are taken from."""
CONFIG = """
timezone = "Europe/Berlin"
data_dir = "data"
[sources.pump]
email = "a@example.org"
password = "pump-password"
"""


@pytest.fixture(autouse=True)
def usual_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever terminal runs the tests."""
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CliHarness:
    """A made-up plugin, a fake engine and a configuration that is right."""
    application = FakeApplication()
    for name, module in COMMANDS.items():
        monkeypatch.setattr(f"tconnectsync.{module}.{name}", getattr(application, name))
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    path.chmod(0o600)
    environ = {"HOME": str(tmp_path), "TCONNECTSYNC_CONFIG": str(path)}
    return CliHarness(tmp_path, application, lambda: tuple(capsys.readouterr()), environ)  # type: ignore[arg-type,return-value]


@pytest.fixture
def real(harness: CliHarness) -> CliHarness:
    """The plugins that ship, and no configuration."""
    del harness.environ["TCONNECTSYNC_CONFIG"]
    harness.plugins = load_plugins()
    return harness
