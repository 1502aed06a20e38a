"""Publishes the device and its newest values again, because Home Assistant or the broker was restarted and has lost them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import attrs

log = logging.getLogger("tconnectsync.mqtt")
SUBSCRIBE_S = 2.0
"""Home Assistant subscribes to the topics of a device that is new to it a moment after the discovery message (2025.4: 0.2 s)."""
PAUSE_S = 10.0
"""Between two rounds, however often they are requested."""
_STOP_S = 1.0


@attrs.define
class Announcer:
    """Runs a round in a thread of its own, which ends when no round is requested any more."""

    announce: Callable[[], None]
    """Publishes the discovery message."""
    publish_values: Callable[[], None]
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _stopping: threading.Event = attrs.field(factory=threading.Event)
    _is_requested: bool = False
    _thread: threading.Thread | None = None

    def request(self) -> None:
        """Start a round now, or after the one that runs. Returns at once."""
        with self._lock:
            self._is_requested = True
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name="mqtt announcer", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(_STOP_S)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._is_requested or self._stopping.is_set():
                    self._thread = None
                    return
                self._is_requested = False
            try:
                self.announce()
                if not self._stopping.wait(SUBSCRIBE_S):
                    self.publish_values()
            except Exception:
                # the border of the thread: the next round may succeed
                log.exception("mqtt_not_announced")
            self._stopping.wait(PAUSE_S)
