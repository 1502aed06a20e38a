"""Times, durations and sizes as people write and read them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo

from tconnectsync.text.plural import counted

_DURATION = re.compile(r"(\d{1,6}(?:\.\d+)?)\s*(s|m|min|h|d)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> timedelta | None:
    """Parse a number and its unit, such as ``90m``, ``3h`` or ``2d``; None if ``text`` is not one or is zero."""
    found = _DURATION.fullmatch(text.strip().lower())
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2][0]]) if found and float(found[1]) else None


def iso_time(at: datetime | None) -> str | None:
    """Format a UTC time for the JSON output: ``2025-11-18T18:15:02Z``."""
    return None if at is None else at.isoformat(timespec="seconds").replace("+00:00", "Z")


def parse_time(text: object) -> datetime | None:
    """Parse a UTC time of the JSON output (``2025-11-18T18:15:02Z``); None if ``text`` is not one."""
    if not isinstance(text, str) or not text:
        return None
    try:
        at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def span_words(span: timedelta) -> str:
    """Format a duration, rounded for people: ``3 min``, ``2 h 5 min``, ``4 days``."""
    minutes = round(abs(span).total_seconds() / 60)
    if minutes < 1:
        return "a moment"
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest and hours < 10 else f"{hours} h"
    return counted(hours // 24, "day")


def exact_span_words(seconds: float) -> str:
    """Format a duration to the minute: ``1 h``, ``5 h 30 min``, ``1 day``."""
    minutes = round(seconds / 60)
    days, minutes = divmod(minutes, 1440)
    hours, minutes = divmod(minutes, 60)
    parts = [counted(days, "day")] if days else []
    parts += [f"{hours} h"] if hours else []
    parts += [f"{minutes} min"] if minutes else []
    return " ".join(parts) or "0 min"


def when_words(at: datetime, now: datetime, zone: tzinfo) -> str:
    """Format a time as ``14:03 (12 min ago)``, with the date if it is not today."""
    local, today = at.astimezone(zone), now.astimezone(zone).date()
    clock = f"{local:%H:%M}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"
    age = now - at
    return f"{clock} ({span_words(age)} ago)" if age >= timedelta(0) else f"{clock} (in {span_words(age)})"


def size_words(count: int) -> str:
    """Format bytes as ``812 kB``, ``96 MB`` or ``1.5 GB``."""
    if count < 1_000_000:
        return f"{max(round(count / 1000), 1 if count else 0)} kB"
    size, unit = (count / 1e6, "MB") if count < 1_000_000_000 else (count / 1e9, "GB")
    return f"{size:.0f} {unit}" if size >= 10 else f"{size:.1f} {unit}"
