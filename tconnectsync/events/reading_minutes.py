"""Which minutes have a sensor reading already. A live reading and its backfilled copy are two events of one measurement."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

REMEMBERED = timedelta(days=2)
"""A sensor backfills readings that the pump missed for up to a day; the source rejects older ones."""


@attrs.frozen(kw_only=True)
class ReadingMinutes:
    """The minutes of the last days with a reading: bit n of ``seen`` (hexadecimal) is n minutes before ``newest``."""

    newest: datetime | None = None
    seen: str = "0"


def with_minute(minutes: ReadingMinutes, measured_at: datetime) -> ReadingMinutes | None:
    """Return ``minutes`` with the minute of ``measured_at`` added; None if that minute already has a reading."""
    minute = measured_at.replace(second=0, microsecond=0)
    if minutes.newest is None or abs(minute - minutes.newest) >= REMEMBERED:
        return ReadingMinutes(newest=minute, seen="1")
    seen, before = int(minutes.seen, 16), (minutes.newest - minute) // timedelta(minutes=1)
    if before < 0:
        kept = (seen << -before) % (1 << REMEMBERED // timedelta(minutes=1))
        return ReadingMinutes(newest=minute, seen=f"{kept | 1:x}")
    if seen >> before & 1:
        return None
    return attrs.evolve(minutes, seen=f"{seen | 1 << before:x}")
