"""What `pip install .` installs: this source, and nothing that an earlier build left behind."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("tconnectsync", "plugins", "pyproject.toml", "setup.py", "README.md", "LICENSE")
STALE = ("build/lib/tconnectsync/deleted_long_ago.py", "build/lib/tconnectsync_gone/__init__.py")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the source in which an older release was built before."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy(source, folder / name)
    for name in STALE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("raise SystemExit('this was deleted')\n")
    return folder


def built(checkout: Path) -> set[str]:
    """The names in the wheel that pip builds and installs."""
    words = ["wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check"]
    out = checkout.parent / "wheels"
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "pip", *words, "--wheel-dir", str(out), str(checkout)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    [wheel] = out.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_what_an_earlier_build_left_behind_is_not_installed(checkout: Path) -> None:
    first = built(checkout)
    assert {"tconnectsync/runtime/engine.py", "tconnectsync_nightscout/api/client.py"} <= first
    page = {"templates/base.html", "static/page.css", "static/page.js", "translations/de.po"}
    assert {f"tconnectsync_web/{name}" for name in page} <= first
    assert not any("deleted_long_ago" in name or "tconnectsync_gone" in name for name in first)
    (checkout / "tconnectsync" / "runtime" / "engine.py").unlink()
    assert first - built(checkout) == {"tconnectsync/runtime/engine.py"}
