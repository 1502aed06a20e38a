"""Events of the pump itself: battery, day, settings, and records that sinks do not use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class BatteryMeasured(msgspec.Struct, frozen=True, kw_only=True):
    """The battery's charge (records 9, 34, 35, 53)."""

    battery_percent: float | None = None
    battery_mv: int | None = None


class PumpNoted(msgspec.Struct, frozen=True, kw_only=True):
    """A record with known name and values that sinks do not use: versions, diagnostics, daily status."""

    name: str
    values: Mapping[str, Any]


class DaySummary(msgspec.Struct, frozen=True, kw_only=True):
    """The pump's running totals of the day (record 81)."""

    basal_total_u: float | None = None
    basal_rate_u_per_h: float | None = None
    iob_u: float | None = None
    battery_mv: int | None = None
    battery_percent: float | None = None


class DayStarted(msgspec.Struct, frozen=True, kw_only=True):
    """The pump's day began (record 90)."""

    basal_rate_u_per_h: float | None = None


class SettingsCaptured(msgspec.Struct, frozen=True, kw_only=True):
    """The pump's settings from the cloud, stored when their hash changed. They have no data of the account."""

    settings_hash: str
    details: Mapping[str, Any]


class Unknown(msgspec.Struct, frozen=True, kw_only=True):
    """An unknown record, or one that could not be decoded. ``raw`` of the event has it unchanged."""

    code: str
    reason: str  # "no such code", or why it could not be decoded
    likely_kind: str | None = None  # what it would be if it could be decoded
