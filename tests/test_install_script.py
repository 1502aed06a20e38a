"""``install.sh`` refuses what would do harm, the scripts are well, and the manual page and the completion are complete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tconnectsync.cli.root import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(
    path
    for path in (*ROOT.glob("*.sh"), *(ROOT / ".ci").iterdir(), *(ROOT / "packaging").rglob("*"))
    if path.is_file() and path.read_bytes().startswith((b"#!/bin/sh", b"#!/bin/bash"))
)


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not here")
    return found


def man_page() -> str:
    done = subprocess.run(
        [sys.executable, ROOT / "packaging" / "man_page.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run([program("shellcheck"), script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--prefix", "/usr"], "belongs to the system"),
        (["--prefix", "/opt/"], "belongs to the system"),
        (["--prefix", "/usr/../etc"], "without .."),
        (["--prefix", "relative"], "must begin with /"),
        (["--prefix", "/opt/a b"], "only letters"),
        (["--prefix"], "needs a folder"),
        (["--purge"], "--uninstall"),
        (["--unknown"], "--unknown"),
        (["--update", "--", "--force"], "setup"),
        (["--no-setup", "--", "--force"], "setup"),
    ],
)
def test_wrong_options_change_nothing(words: list[str], told: str) -> None:
    done = subprocess.run([ROOT / "install.sh", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Nothing was changed" in done.stderr


def test_manual_page() -> None:
    """It names every command, and troff can read it."""
    page = man_page()
    assert page.isascii()
    for name in COMMANDS:
        assert f'.SS "tconnectsync {name}'.replace("-", "\\-") in page
    done = subprocess.run(
        [program("groff"), "-man", "-Tutf8", "-ww", "-z"], input=page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["bare_debian", "container_image"])
def test_the_trials_start(name: str) -> None:
    """They need root and minutes, so nothing else would notice that a helper was renamed."""
    words = [sys.executable, "-m", f"tests.e2e.{name}", "--help"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_bash_completes_commands() -> None:
    words = {"COMP_WORDS": "tconnectsync set", "COMP_CWORD": "1", "_TCONNECTSYNC_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", "from tconnectsync.cli import main; main()"],
        env={**os.environ, **words}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.split() == ["plain,setup"]
