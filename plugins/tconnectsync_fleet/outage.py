"""Log lines about servers that a worker does not reach: a few, not one a second."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import attrs
from nats.errors import Error as NatsError

from tconnectsync import Retryable, TconnectsyncError
from tconnectsync_fleet.nats_errors import meaning_of

log = logging.getLogger("tconnectsync.fleet")
REPEAT_S = 300.0
"""How often the same reason is logged."""


@attrs.define
class ServersOutage:
    """Logs when an outage begins, when its reason changes, every :data:`REPEAT_S`, and when it is over."""

    monotonic: Callable[[], float] = time.monotonic
    _since: float | None = None
    _reason: str = ""
    _logged: float = 0.0

    def goes_on(self, error: TconnectsyncError | NatsError) -> None:
        """The servers were not reached, or did not do what they were asked for."""
        error = meaning_of(error) if isinstance(error, NatsError) else error
        now = self.monotonic()
        if self._since is None:
            self._since = now
        elif self._reason == error.message and now - self._logged < REPEAT_S:
            return
        self._reason, self._logged = error.message, now
        log.warning('fleet_not_reached message="%s" remedy="%s"', error.message, error.remedy or "")

    def is_over(self) -> None:
        """The servers do what they are asked for."""
        if self._since is not None:
            log.warning("fleet_reached after_s=%.0f work continues", self.monotonic() - self._since)
            self._since = None


def connection_ended(error: Exception) -> Retryable:
    """Return the error of a worker whose connection the servers have ended for good."""
    return Retryable(
        f"the NATS servers have ended the connection ({error})",
        remedy="Start the worker again. If it ends again, check its login: `tconnectsync fleet status` with the same options.",
    )
