"""Converts days of the configured time zone to UTC ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta, timezone
from typing import Any


def day_start(day: date, zone_at: Callable[[date], Any]) -> datetime:
    """Return the UTC time at which a day begins in the configured zone."""
    return datetime.combine(day, time(), tzinfo=zone_at(day)).astimezone(timezone.utc)


def utc_range(args: Mapping[str, Any], zone_at: Callable[[date], Any]) -> tuple[datetime | None, datetime | None]:
    """Return the UTC range from ``first`` to ``last``: ISO days in the configured zone, both included; missing means open."""
    first, last = args.get("first"), args.get("last")
    begin = None if not first else day_start(date.fromisoformat(first), zone_at)
    end = None
    if last:
        end = day_start(date.fromisoformat(last) + timedelta(days=1), zone_at) - timedelta(milliseconds=1)
    return begin, end
