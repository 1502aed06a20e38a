"""Events of alarms, alerts and malfunctions of the pump."""

from __future__ import annotations

import msgspec


class AlarmRaised(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm: delivery may have stopped (record 5). ``name`` is the number as text if it is unknown."""

    alarm_id: int
    name: str


class AlarmCleared(msgspec.Struct, frozen=True, kw_only=True):
    """An alarm ended (record 28)."""

    alarm_id: int
    name: str


class AlertRaised(msgspec.Struct, frozen=True, kw_only=True):
    """An alert: it needs attention, but delivery continues (record 4)."""

    alert_id: int
    name: str


class AlertCleared(msgspec.Struct, frozen=True, kw_only=True):
    """An alert ended (record 26)."""

    alert_id: int
    name: str


class MalfunctionRaised(msgspec.Struct, frozen=True, kw_only=True):
    """The pump reported a fault of its own (record 6)."""

    malfunction_id: int
    name: str
