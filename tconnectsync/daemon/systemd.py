"""Tells systemd how the daemon is doing (sd_notify protocol: one datagram of KEY=value lines)."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping

import attrs

from tconnectsync.text.printable import one_line

LONGEST_WAIT_S = 2.0
"""What systemd must hear waits so long where its queue is full; the rest is left out, and said again."""


@attrs.define
class Notifier:
    """Sends to ``$NOTIFY_SOCKET``; without one it does nothing. A systemd that does not read holds nobody up."""

    address: str = ""
    watchdog_s: float | None = None
    _last: str = ""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Notifier:
        """As systemd set it up."""
        address = environ.get("NOTIFY_SOCKET", "")
        interval = environ.get("WATCHDOG_USEC", "")
        return cls(address, int(interval) / 1e6 if interval.isdigit() and int(interval) else None)

    def ready(self) -> None:
        """Start-up (or a reload) is over."""
        self._send("READY=1", wait_s=LONGEST_WAIT_S)

    def reloading(self) -> None:
        """A reload begins."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}", wait_s=LONGEST_WAIT_S)

    def stopping(self) -> None:
        """The end begins."""
        self._send("STOPPING=1", wait_s=LONGEST_WAIT_S)

    def alive(self) -> None:
        """Feed the watchdog."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def status(self, words: str) -> None:
        """One line for ``systemctl status``; sent when it changes."""
        words = one_line(words)  # a line end would begin another message to systemd
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
