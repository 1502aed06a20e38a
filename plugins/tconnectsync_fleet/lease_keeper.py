"""The thread that renews a worker's lease, as long as the worker's main loop is alive."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs

from tconnectsync_fleet.lease import WorkerLease

log = logging.getLogger("tconnectsync.fleet")
NO_LEASE_S = 0.2
STUCK_S = 120.0
"""A main loop that has shown no progress for longer than this, and than two leases, is stuck: other workers must have its people."""


@attrs.define
class LeaseKeeper:
    """Renews ``lease()`` with ``report()`` from :meth:`start` until :meth:`finish`."""

    lease: Callable[[], WorkerLease | None]
    report: Callable[[], dict[str, Any]]
    monotonic: Callable[[], float] = time.monotonic
    _progress: float | None = None
    """When the main loop last showed progress; None: it has ended."""
    _is_stuck: bool = False
    _is_finished: bool = False
    _wake: threading.Event = attrs.field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Renew the lease from now on."""
        self.loop_goes_on()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._thread.start()

    def loop_goes_on(self) -> None:
        """The main loop makes progress. It calls this at least every few seconds."""
        self._progress = self.monotonic()

    def loop_ended(self) -> None:
        """Renew at once, so that others read that this worker stops; then go on until :meth:`finish`, however long that takes."""
        self._progress = None
        self._wake.set()

    def finish(self) -> None:
        """Renew no more."""
        self._is_finished = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def renew(self) -> None:
        """Renew the lease once, unless it is lost or the main loop is stuck."""
        lease = self.lease()
        try:
            if lease is None or not lease.holds() or self._loop_is_stuck(lease):
                return
            if not lease.renew(self.report()):
                log.warning(
                    "lease_lost owner=%s it could not be renewed in time: the NATS servers are slow or away, or this computer is"
                    " overloaded. Its people are left to others; the worker goes on when it has a new lease", lease.owner,
                )  # fmt: skip
        except Exception:
            log.exception("lease_not_renewed")  # without this thread the worker would lose every lease

    def _run(self) -> None:
        while not self._is_finished:
            lease = self.lease()
            self._wake.wait(lease.next_renewal_s if lease else NO_LEASE_S)
            self._wake.clear()
            if not self._is_finished:
                self.renew()

    def _loop_is_stuck(self, lease: WorkerLease) -> bool:
        progress = self._progress
        silent_s = 0.0 if progress is None else self.monotonic() - progress
        was_stuck, self._is_stuck = self._is_stuck, silent_s > max(STUCK_S, 2 * lease.life_s)
        if self._is_stuck and not was_stuck:
            log.error(
                "worker_stuck silent_s=%.0f the lease is not renewed any longer, so that other workers take its people:"
                " restart this worker", silent_s,
            )  # fmt: skip
        return self._is_stuck
