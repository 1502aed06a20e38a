"""Events of alarms, alerts and malfunctions of the pump."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class AlarmRaised:
    """An alarm: delivery may have stopped (record 5). ``name`` is the number as text if it is unknown."""

    alarm_id: int
    name: str


@attrs.frozen(kw_only=True)
class AlarmCleared:
    """An alarm ended (record 28)."""

    alarm_id: int
    name: str


@attrs.frozen(kw_only=True)
class AlertRaised:
    """An alert: it needs attention, but delivery continues (record 4)."""

    alert_id: int
    name: str


@attrs.frozen(kw_only=True)
class AlertCleared:
    """An alert ended (record 26)."""

    alert_id: int
    name: str


@attrs.frozen(kw_only=True)
class MalfunctionRaised:
    """The pump reported a fault of its own (record 6)."""

    malfunction_id: int
    name: str
