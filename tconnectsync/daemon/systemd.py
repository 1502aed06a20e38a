"""Reports the daemon's state to systemd (sd_notify protocol: one datagram of KEY=value lines)."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping

import attrs

from tconnectsync.text.printable import one_line

LONGEST_WAIT_S = 2.0
"""Important messages wait this long if systemd's queue is full. Others are dropped and sent again later."""


@attrs.define
class Notifier:
    """Sends to ``$NOTIFY_SOCKET``, if it is set. Never blocks for long."""

    address: str = ""
    watchdog_s: float | None = None
    _last: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Notifier:
        """Create it from systemd's variables."""
        address = environ.get("NOTIFY_SOCKET", "")
        interval = environ.get("WATCHDOG_USEC", "")
        return cls(address, int(interval) / 1e6 if interval.isdigit() and int(interval) else None)

    def ready(self) -> None:
        """Report that the start or a reload is done."""
        self._send("READY=1", wait_s=LONGEST_WAIT_S)

    def reloading(self) -> None:
        """Report that a reload begins."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", wait_s=LONGEST_WAIT_S)

    def stopping(self) -> None:
        """Report that the daemon stops."""
        self._send("STOPPING=1", wait_s=LONGEST_WAIT_S)

    def alive(self) -> None:
        """Reset systemd's watchdog."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def status(self, words: str) -> None:
        """Send the line for ``systemctl status`` if it changed."""
        words = one_line(words)  # a line end would start another message to systemd
        if words != self._last and self._send(f"STATUS={words}"):
            self._last = words

    def _send(self, text: str, *, wait_s: float = 0.0) -> bool:
        if not self.address:
            return False
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(wait_s)
            channel.sendto(text.encode(), address)
            return True
        return False
