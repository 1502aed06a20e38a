"""One log line for each delivery, however many batches it took: how many documents, and how new the newest one is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import date, datetime, timezone, tzinfo

import attrs

from tconnectsync.text.plural import counted

log = logging.getLogger("tconnectsync.sinks")


def _utc(_day: date) -> tzinfo:
    return timezone.utc


@attrs.define
class DeliveryReport:
    """Counts what the receiver accepts until :meth:`write`. ``zone_at`` gives the wearer's zone on a day."""

    name: str
    zone_at: Callable[[date], tzinfo] = _utc
    _accepted: int = 0
    _newest: datetime | None = None

    def add(self, accepted: int, newest: datetime | None) -> None:
        """Count a batch: accepted documents and deletions, and the time of the newest document."""
        self._accepted += accepted
        self._newest = max((at for at in (self._newest, newest) if at is not None), default=None)

    def write(self, now: datetime) -> None:
        """Log the line, if anything was accepted, and begin to count again."""
        accepted, newest, self._accepted, self._newest = self._accepted, self._newest, 0, None
        if not accepted:
            return
        if newest is None:
            log.info('delivered sink=%s message="%s deleted"', self.name, counted(accepted, "document"))
            return
        zone = self.zone_at(now.date())
        local = newest.astimezone(zone)
        at = f"{local:%H:%M}" if local.date() == now.astimezone(zone).date() else f"{local:%Y-%m-%d %H:%M}"
        log.info('delivered sink=%s message="%s delivered, newest %s"', self.name, counted(accepted, "document"), at)
