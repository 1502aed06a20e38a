"""The Debian package for trials: built from this source in a Debian of its own, and made older."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from tests.support.bare_computer import copy_settings, make_base, show

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = "/root/tconnectsync"
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv*", ".cache", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", ".work"
)
OLD_FILE = "opt/tconnectsync/only-in-the-older-release"


def copy_source(computer: Path) -> None:
    """Copy this source to the folder into which a new user would clone it."""
    shutil.copytree(ROOT, computer / CHECKOUT[1:], ignore=NOT_COPIED, symlinks=True)


def build_deb(cache: Path, folder: Path) -> Path:
    """Build the package in a Debian of its own, because it fits the release that it is built on."""
    builder = folder / "builder"
    subprocess.run(["cp", "-a", "--reflink=auto", str(make_base(cache)), str(builder)], check=True)
    environment = copy_settings(builder)
    copy_source(builder)
    begin = time.monotonic()
    line = f"apt-get -q update && apt-get -q -y install --no-install-recommends python3-venv && {CHECKOUT}/packaging/deb/build /dist"
    done = subprocess.run(
        ["chroot", str(builder), "sh", "-c", line], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    [deb] = (builder / "dist").iterdir()
    shutil.move(deb, folder)
    shutil.rmtree(builder)
    show(f"package built: {time.monotonic() - begin:.1f} s")
    return folder / deb.name


def make_older(deb: Path, target: Path) -> None:
    """Write the same package with an older version number and one more file."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        subprocess.run(["dpkg-deb", "--raw-extract", str(deb), folder], check=True)
        control = Path(folder) / "DEBIAN/control"
        lines = [f"{line}~older" if line.startswith("Version: ") else line for line in control.read_text().splitlines()]
        control.write_text("\n".join([*lines, ""]))
        (Path(folder) / OLD_FILE).touch()
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", folder, str(target)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
