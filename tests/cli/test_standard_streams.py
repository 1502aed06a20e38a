"""Standard output and standard error that are closed, or that cannot be written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.installation import ZONE, Installation, recent_pump
from tests.support.clocks import standing_clock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout


def shell(home: Installation, words: str) -> subprocess.CompletedProcess[str]:
    """Run a command line of a shell; ``$TC`` is the program."""
    program = f"{sys.executable} -m tconnectsync --config {home.folder / 'config.toml'}"
    return subprocess.run(
        ["/bin/sh", "-c", words.replace("$TC", program)],
        env=home.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_closed_streams(tmp_path: Path) -> None:
    """A launcher that closes the streams (``>&-``) changes nothing else: no file of the log gets the number of one."""
    with FaultyTandemCloud([recent_pump(2)], standing_clock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=1)
        done = shell(home, "$TC sync <&- >&- 2>&-")
        assert done.returncode == 0
        assert site.documents("treatments")
        for words in ("$TC status >&-", "$TC events --json >&-", "$TC log check >&- 2>&-"):
            assert shell(home, words).returncode == 0, words
        assert "good" in shell(home, "$TC log check").stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("words", ["help", "status --json", "status"])
def test_full_output(tmp_path: Path, words: str) -> None:
    """If the output's disk is full, nothing is said about the data folder's."""
    with FaultyTandemCloud([], standing_clock()) as cloud:
        home = Installation(tmp_path / "home", cloud, "http://127.0.0.1:9/", "secret-of-a-site", ZONE)
        done = shell(home, f"$TC {words} >/dev/full")
    assert done.returncode == 1
    assert done.stderr == "The output cannot be written: No space left on device. Stored data is not affected.\n"
