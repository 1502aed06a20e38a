"""What the process that runs for years does not hold in its memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from quiet_world import ZONE, a_pump
from whole_world import Installation, MovedClock

from tconnectsync_simulator.cloud import Cloud
from tconnectsync_simulator.nightscout import SimulatedNightscout


def test_what_checks_a_signature_is_not_loaded_by_who_logs_in(tmp_path: Path) -> None:
    """PyJWT and cryptography take ten megabytes; they are loaded by a process that ends with the check."""
    script = (
        "import sys; from tconnectsync.cli.root import run; status = run(sys.argv[1:]);"
        "print(sorted({'jwt', 'cryptography'} & set(sys.modules)), file=sys.stderr); sys.exit(status)"
    )
    with Cloud([a_pump(days=2)], MovedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1)
        words = [sys.executable, "-c", script, *home.command("sync")[3:]]
        done = subprocess.run(words, env=home.environment, capture_output=True, text=True, check=True)
        assert cloud.count("jwks") == 1
        assert site.documents("treatments") != []
    assert done.stderr.splitlines()[-1] == "[]"
