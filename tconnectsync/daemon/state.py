"""Whether the daemon runs: its state file in the data folder, and the folder's lock.

The daemon writes the file when it starts and after a reload, and deletes it when it is stopped. A file without a daemon means
that the daemon was killed or crashed.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import attrs

from tconnectsync.eventlog import Files, OsFiles, lock_holder, replace_or_overwrite
from tconnectsync.health.states import Health, HealthState
from tconnectsync.json_converter import CONVERTER

log = logging.getLogger("tconnectsync.daemon")
FILE_NAME = "daemon.json"
SOCKET_NAME = "control.sock"
"""Of the socket in the data folder through which commands reach the daemon."""
ANSWER_S = 2.0


@attrs.frozen(kw_only=True)
class DaemonState:
    """The content of the state file. ``reload_refused``: when a changed configuration was refused, so the old one is used."""

    pid: int
    started: datetime
    reload_refused: datetime | None = None
    reload_message: str = ""


@attrs.define
class DaemonRecord:
    """Keeps the state file up to date, for the daemon. A failing disk does not stop the daemon."""

    folder: Path
    pid: int
    now: Callable[[], datetime]
    files: Files = attrs.field(factory=OsFiles)
    _state: DaemonState | None = None

    def started(self) -> None:
        """Record the start of the daemon."""
        self._write(DaemonState(pid=self.pid, started=self.now()))

    def reload_refused(self, message: str) -> None:
        """Record that the new configuration cannot be used, so the old one is still used."""
        if self._state is not None:
            self._write(attrs.evolve(self._state, reload_refused=self.now(), reload_message=message))

    def reloaded(self) -> None:
        """Record that the current configuration is used."""
        if self._state is not None and self._state.reload_refused is not None:
            self._write(DaemonState(pid=self.pid, started=self._state.started))

    def stopped(self) -> None:
        """Delete the file, because the daemon was stopped."""
        with contextlib.suppress(OSError):
            self.files.remove(self.folder / FILE_NAME)

    def _write(self, state: DaemonState) -> None:
        self._state = state
        try:
            replace_or_overwrite(self.files, self.folder / FILE_NAME, CONVERTER.dumps(state).encode())
        except OSError as error:
            log.warning('daemon_state_not_saved reason="%s"', error.strerror)


def load_state(folder: Path) -> DaemonState | None:
    """Read the state file; None if it is missing or unreadable."""
    try:
        return CONVERTER.loads((folder / FILE_NAME).read_bytes(), DaemonState)
    except Exception:  # noqa: BLE001 - any unreadable content counts as missing
        return None


def daemon_health(folder: Path, control_path: Path) -> tuple[Health, int | None]:
    """Return the daemon's health, and its process id if it runs. Checks the lock and the socket, not only the file."""
    holder, state = lock_holder(folder), load_state(folder)
    if holder is None and state is None:
        return Health(state=HealthState.OFF, message="not running"), None
    if holder is None and state is not None:
        return Health(
            state=HealthState.HALTED,
            message=f"process {state.pid}, started {state.started:%Y-%m-%d %H:%M} UTC, ended without being stopped",
            remedy="Nothing is lost. See the reason with `journalctl -u tconnectsync -n 50`, then run `systemctl start tconnectsync`."
            f" If you do not want a daemon here any more, delete {folder / FILE_NAME}.",
        ), None
    if holder == 0 and state is not None and Path(f"/proc/{state.pid}").exists():  # the lock file was deleted
        holder = state.pid
    if state is None or state.pid != holder:
        who = f"process {holder}" if holder else "another process"
        return Health(state=HealthState.OFF, message=f"not running; a command uses the data folder ({who})"), None
    if state.reload_refused is not None:
        return Health(
            state=HealthState.REFUSED,
            since=state.reload_refused,
            message=f"the changed configuration cannot be used, so the old one is still used: {state.reload_message}",
            remedy="Correct the file (`tconnectsync check`), then `systemctl reload tconnectsync`.",
        ), holder
    idle = _why_idle(control_path, holder)
    if idle:
        remedy = "Wait a minute. If this does not change, run `systemctl restart tconnectsync`."
        return Health(state=HealthState.WAITING, message=idle, remedy=remedy), holder
    return Health(since=state.started), holder


def _why_idle(control_path: Path, pid: int) -> str:
    """Return why the daemon does no work now; empty if it works."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] in "Tt":
            return f"process {pid} is suspended (SIGSTOP)"
    from tconnectsync.daemon.control_socket import short_path

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel, short_path(control_path) as address:
            channel.settimeout(ANSWER_S)
            channel.connect(address)
    except OSError:
        return f"process {pid} does not accept commands (yet)"
    return ""
