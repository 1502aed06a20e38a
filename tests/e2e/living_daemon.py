"""The real daemon in its own process, with the words that it would tell systemd, and ways to end it."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from tests.e2e.whole_world import Installation

LONGEST_S = 60.0


def eventually(condition: Callable[[], object], what: str, *, within_s: float = LONGEST_S) -> None:
    """Wait until it holds."""
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end, f"{what}: not within {within_s} s"
        time.sleep(0.02)


@attrs.define
class LivingDaemon:
    """``tconnectsync run`` at work."""

    process: subprocess.Popen[bytes]
    log_path: Path
    systemd: socket.socket
    _heard: list[str] = attrs.field(factory=list)

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return self.log_path.read_text()

    @property
    def heard(self) -> list[str]:
        """What it has told systemd so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._heard.append(self.systemd.recv(4096).decode())
        return self._heard

    def wait_for(self, words: str, *, times: int = 1) -> None:
        """Wait until its log says this so many times."""
        eventually(lambda: self.log.count(words) >= times or self.ended, f"{words!r} in the log")
        assert self.log.count(words) >= times, self.log

    @property
    def ended(self) -> bool:
        """Whether the process is over."""
        return self.process.poll() is not None

    def kill(self) -> None:
        """As a power cut would, for this process."""
        self.process.kill()
        self.process.wait(10)

    def hang_up(self) -> None:
        """As ``systemctl reload`` does."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self, *, within_s: float = 10.0) -> float:
        """As ``systemctl stop`` does: ends with status 0; answers how many seconds it took."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(within_s) == 0, self.log
        return time.monotonic() - begin


@contextlib.contextmanager
def daemon(home: Installation, **environment: str) -> Iterator[LivingDaemon]:
    """The daemon over this installation, ready; killed at the end where it was not stopped."""
    with (
        tempfile.TemporaryDirectory(prefix="systemd-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard,
    ):
        address = f"{folder}/notify"
        heard.bind(address)
        heard.setblocking(False)
        log_path = home.folder / "daemon.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                home.command("run"),
                env={**home.environment, "NOTIFY_SOCKET": address, **environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        living = LivingDaemon(process, log_path, heard)
        try:
            eventually(lambda: "READY=1" in living.heard or living.ended, "ready")
            yield living
        finally:
            if not living.ended:
                living.kill()
            assert "Traceback" not in living.log
