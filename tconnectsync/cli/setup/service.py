"""Starts the systemd service, and finds out why it cannot be used."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import attrs

UNIT = "tconnectsync.service"
OLDEST = 251
"""The first release of systemd that finds a unit's secrets in /etc/credstore by name."""
_RUNS = Path("/run/systemd/system")
"""Exists if and only if systemd is the init system."""
START_TIMEOUT_S = 900.0


@attrs.frozen(kw_only=True)
class NoService:
    """Why this computer cannot run the service, and what the user can do about it (empty: nothing)."""

    reason: str
    remedy: str = ""


@attrs.frozen
class Service:
    """The installed unit, driven with ``systemctl``."""

    systemctl: str

    def start(self) -> str | None:
        """Enable the unit and start it again. Return None, or what systemd said if it failed."""
        for words in (("daemon-reload",), ("enable", "--quiet", UNIT), ("restart", UNIT)):
            done = _run(self.systemctl, *words, timeout_s=START_TIMEOUT_S)
            if done.returncode:
                return done.stderr.strip() or f"systemctl {' '.join(words)} ended with status {done.returncode}"
        return None

    def is_running(self) -> bool:
        """Whether the unit runs or is about to be restarted by systemd."""
        return _run(self.systemctl, "is-active", UNIT).stdout.strip() in {"active", "activating", "reloading"}


def find_service() -> Service | NoService:
    """Return the service, or why there is none."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or not _RUNS.is_dir():
        return NoService(reason="This computer does not use systemd")
    version = re.match(r"systemd (\d+)", _run(systemctl, "--version").stdout)
    if version is not None and int(version[1]) < OLDEST:
        return NoService(
            reason=f"The service needs systemd {OLDEST} or newer (Debian 12, Ubuntu 24.04); this is {version[1]}"
        )
    if _run(systemctl, "cat", UNIT).returncode:
        return NoService(
            reason=f"The service {UNIT} is not installed",
            remedy="Install it: `sudo ./install.sh` in the folder of tconnectsync's source.",
        )
    return Service(systemctl)


def _run(program: str, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - systemctl with words of this module
        [program, *words], capture_output=True, text=True, timeout=timeout_s, check=False
    )
