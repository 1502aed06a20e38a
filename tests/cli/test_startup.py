"""Commands load only the modules that they need: a Raspberry Pi takes seconds for all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIG = """
data_dir = "{folder}"
timezone = "Europe/Berlin"
[sources.tandem]
email = "a@example.org"
password = "p"
region = "EU"
[nightscout]
url = "http://localhost:1"
api_secret = "abcdefghijklm"
"""
TESTS_ONLY = ("tconnectsync.testing", "pytest", "hypothesis")
NOT_FOR_STATUS = (
    "tconnectsync.events.vocabulary", "tconnectsync.events.insulin", "tconnectsync.events.glucose", "tconnectsync.events.device", "tconnectsync.plugin.receiver",
    "tconnectsync.outbox.sender", "tconnectsync.projection.fold_runner", "tconnectsync.reconcile.comparison",
    "tconnectsync.eventlog.repair", "requests",
)  # fmt: skip


FLEET_ONLY = ("nats", "nacl", "tconnectsync_fleet.command", "tconnectsync_fleet.servers", "tconnectsync_fleet.worker")
"""A single person needs no NATS servers, and not the extra either."""


@pytest.mark.parametrize(
    ("words", "heavy", "first"),
    [
        (("--help",), ("tconnectsync.events.kinds", *NOT_FOR_STATUS), "Usage: tconnectsync"),
        (("--config", "CONFIG", "status"), NOT_FOR_STATUS, "WAIT"),
        (("--config", "CONFIG", "sync"), ("tconnectsync.reconcile.comparison", "tconnectsync.reconcile.adoption"), ""),
    ],
)
def test_command_starts_lightly(words: tuple[str, ...], heavy: tuple[str, ...], first: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.touch(mode=0o600)
    config.write_text(CONFIG.format(folder=tmp_path / "data"))
    code = (
        "import sys, tconnectsync.cli\n"
        "if 'sync' in sys.argv: import tconnectsync.daemon.run\n"
        "try: tconnectsync.cli.main()\n"
        "except SystemExit: pass\n"
        f"print('loaded:', sorted({set(heavy + TESTS_ONLY + FLEET_ONLY)!r} & sys.modules.keys()))\n"
    )
    given = [word.replace("CONFIG", str(config)) for word in words]
    # an unknown variable would be looked up among the options of all commands; nothing answers at the proxy
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TCONNECT")}
    environment = {**inherited, "HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}
    done = subprocess.run(
        [sys.executable, "-c", code, *given], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stdout.startswith(first), done.stdout + done.stderr
    assert done.stdout.endswith("loaded: []\n")
    assert ("cannot be reached" in done.stderr) == (words[-1] == "sync")
