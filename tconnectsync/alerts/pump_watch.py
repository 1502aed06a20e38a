"""Watches the pump's records, and decides which notifications the wearer gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from tconnectsync.alerts.outgoing import Waiting
from tconnectsync.alerts.wearer import PumpReading, WearerAlert, due_alerts, still_true, without_unsent
from tconnectsync.config.alert_options import AlertOptions


@attrs.frozen(kw_only=True)
class WearerDecision:
    """What is remembered from now on, the alerts that are due, and what is still worth sending of what waits."""

    seen: Mapping[str, str]
    due: Sequence[WearerAlert] = ()
    waiting: tuple[Waiting, ...]


@attrs.define
class PumpWatch:
    """``read_pump`` reads the pump's records; it is None if no alert for the wearer is on."""

    read_pump: Callable[[], PumpReading] | None
    options: AlertOptions
    _read_until: int | None = None
    _reading: PumpReading = attrs.field(factory=PumpReading)

    def read(self, status: Mapping[str, Any]) -> None:
        """Read the records again if the log grew, or if not all could be read. Errors: whatever reading them raises."""
        end = (status.get("log") or {}).get("positions")
        if self.read_pump is None:
            return
        if end is None or end != self._read_until or self._reading.error is not None:
            self._reading, self._read_until = self.read_pump(), end
        if self._reading.error is not None:
            raise self._reading.error

    def decide(self, seen: Mapping[str, str], waiting: Sequence[Waiting], now: datetime) -> WearerDecision:
        """Decide by what was read last."""
        kept, unsent = [], []
        for each in waiting:
            alert = each.alert and still_true(each.alert, self._reading, self.options, now)
            if each.alert is None or alert is not None:
                kept.append(attrs.evolve(each, alert=alert))
            elif not each.taken:
                unsent.append(each.alert)
        fresh, due = due_alerts(self._reading, without_unsent(seen, unsent), self.options, now)
        return WearerDecision(seen=fresh, due=due, waiting=tuple(kept))
