"""The pump itself: suspensions, fills, alarms, battery, clock, settings, and records without a meaning for sinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class PumpingSuspended:
    """All delivery stopped (record 11)."""

    reason: str = "unknown"  # user, alarm, malfunction, plgs
    reservoir_u: float | None = None


@attrs.frozen(kw_only=True)
class PumpingResumed:
    """Delivery goes on (record 12)."""

    reservoir_u: float | None = None


@attrs.frozen(kw_only=True)
class CartridgeFilled:
    """A new cartridge (record 33). ``volume_u`` is the amount shown to the wearer."""

    volume_u: float | None = None
    measured_u: float | None = None


@attrs.frozen(kw_only=True)
class TubingFilled:
    """The tubing was filled (record 63)."""

    prime_u: float | None = None
    status: str | None = None


@attrs.frozen(kw_only=True)
class CannulaFilled:
    """The cannula was filled: a new infusion site (record 61)."""

    prime_u: float | None = None
    status: str | None = None


@attrs.frozen(kw_only=True)
class AlarmRaised:
    """An alarm: delivery may have stopped (record 5). ``name`` is the number as text where nobody knows it."""

    alarm_id: int
    name: str


@attrs.frozen(kw_only=True)
class AlarmCleared:
    """An alarm ended (record 28)."""

    alarm_id: int
    name: str


@attrs.frozen(kw_only=True)
class AlertRaised:
    """An alert: something wants attention, delivery goes on (record 4)."""

    alert_id: int
    name: str


@attrs.frozen(kw_only=True)
class AlertCleared:
    """An alert ended (record 26)."""

    alert_id: int
    name: str


@attrs.frozen(kw_only=True)
class MalfunctionRaised:
    """The pump found a fault in itself (record 6)."""

    malfunction_id: int
    name: str


@attrs.frozen(kw_only=True)
class BatteryMeasured:
    """The battery's charge (records 9, 34, 35, 53)."""

    battery_percent: float | None = None
    battery_mv: int | None = None


@attrs.frozen(kw_only=True)
class PumpNoted:
    """A record whose name and values are known but mean nothing to a sink: versions, diagnostics, daily status."""

    name: str
    values: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class ClockChanged:
    """The wearer set the clock (records 13, 14), stamped on the new clock. ``step_s`` = after - before of this part."""

    part: str  # time, date
    step_s: float
    rtc_ms: int | None = None


@attrs.frozen(kw_only=True)
class SettingsCaptured:
    """The pump's settings as the cloud keeps them, written when their hash changed. Nothing of the account is in it."""

    settings_hash: str
    details: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Unknown:
    """A record nobody knows, or one that did not decode: kept verbatim in the envelope's ``raw``."""

    code: str
    reason: str  # "no such code", or what was wrong with it
