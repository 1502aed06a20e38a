"""The soak is run by hand only; this shows that its worlds begin."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.soak import PROGRAM, ROOT


def test_a_worlds_process_begins(tmp_path: Path) -> None:
    """The process of a world finds the tests' modules, and refuses what it does not know."""
    command = [*PROGRAM, "--inside", str(tmp_path), "--seed", "no number"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "invalid int value: 'no number'" in done.stderr
