"""Whether the daemon lives, and what it says of itself: a small file in the data folder, beside the folder's lock.

The daemon writes the file when it starts and after a reload, and removes it when it is stopped. A file without a daemon means
that the daemon was killed, or that it crashed.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import attrs
from cattrs.preconf.json import make_converter

from tconnectsync.eventlog import Files, OsFiles, lock_holder, replace_file
from tconnectsync.retry.health import Health, HealthState

log = logging.getLogger("tconnectsync.daemon")
FILE_NAME = "daemon.json"
ANSWER_S = 2.0

_converter = make_converter()
_converter.register_unstructure_hook(datetime, datetime.isoformat)
_converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))


@attrs.frozen(kw_only=True)
class DaemonState:
    """What the daemon says of itself. ``reload_refused``: since when the configuration in force is not the file's."""

    pid: int
    started: datetime
    reload_refused: datetime | None = None
    reload_message: str = ""


@attrs.define
class DaemonRecord:
    """The daemon's side: keeps the file up to date. A disk that does not take it is no reason to stop."""

    folder: Path
    pid: int
    now: Callable[[], datetime]
    files: Files = attrs.field(factory=OsFiles)
    _state: DaemonState | None = None

    def started(self) -> None:
        """The daemon runs from now on."""
        self._write(DaemonState(pid=self.pid, started=self.now()))

    def reload_refused(self, message: str) -> None:
        """The new configuration cannot be used: the old one stays in force."""
        if self._state is not None:
            self._write(attrs.evolve(self._state, reload_refused=self.now(), reload_message=message))

    def reloaded(self) -> None:
        """The configuration in force is the file's."""
        if self._state is not None and self._state.reload_refused is not None:
            self._write(DaemonState(pid=self.pid, started=self._state.started))

    def stopped(self) -> None:
        """The daemon was told to stop."""
        with contextlib.suppress(OSError):
            self.files.remove(self.folder / FILE_NAME)

    def _write(self, state: DaemonState) -> None:
        self._state = state
        try:
            replace_file(self.files, self.folder / FILE_NAME, _converter.dumps(state).encode())
        except OSError as error:
            log.warning('daemon_state_not_saved reason="%s"', error.strerror)


def load_state(folder: Path) -> DaemonState | None:
    """What the file says; None where there is none that can be read."""
    try:
        return _converter.loads((folder / FILE_NAME).read_bytes(), DaemonState)
    except Exception:  # noqa: BLE001 - whatever is wrong with it: it says nothing
        return None


def daemon_condition(folder: Path, control_path: Path) -> tuple[Health, int | None]:
    """How the daemon of ``folder`` is doing, and its process id where it runs. Asks the system, not only the file."""
    holder, state = lock_holder(folder), load_state(folder)
    if holder is None and state is None:
        return Health(state=HealthState.OFF, message="not running"), None
    if holder is None and state is not None:
        return Health(
            state=HealthState.HALTED,
            message=f"process {state.pid}, started {state.started:%Y-%m-%d %H:%M} UTC, ended without being stopped",
            remedy="See why with `journalctl -u tconnectsync -n 50`, then `systemctl start tconnectsync`. If no daemon is to run"
            f" here any more, delete {folder / FILE_NAME}.",
        ), None
    if state is None or state.pid != holder:
        who = f"process {holder}" if holder else "another process"
        return Health(state=HealthState.OFF, message=f"not running; {who} works in the data folder (a command)"), None
    if state.reload_refused is not None:
        return Health(
            state=HealthState.REFUSED,
            since=state.reload_refused,
            message=f"the changed configuration cannot be used, the old one stays in force: {state.reload_message}",
            remedy="Correct the file (`tconnectsync check`), then `systemctl reload tconnectsync`.",
        ), holder
    trouble = _silence(control_path, holder)
    if trouble:
        remedy = "Wait a minute. If it stays so: `systemctl restart tconnectsync`."
        return Health(state=HealthState.WAITING, message=trouble, remedy=remedy), holder
    return Health(since=state.started), holder


def _silence(control_path: Path, pid: int) -> str:
    """Why the daemon does no work now; empty when it does."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] in "Tt":
            return f"process {pid} is suspended (SIGSTOP)"
    from tconnectsync.daemon.control import short_path

    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel, short_path(control_path) as address:
            channel.settimeout(ANSWER_S)
            channel.connect(address)
    except OSError:
        return f"process {pid} takes no commands (yet)"
    return ""
