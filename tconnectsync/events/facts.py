"""Facts about the data: uploads, fetched days, delivered days, gaps, and which pump is active."""

from __future__ import annotations

from datetime import datetime

import msgspec


class UploadSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The phone uploaded at this UTC time; ``newest_pump_time`` (naive) is in it. Evidence for the pump's clock."""

    uploaded_at: datetime
    newest_pump_time: datetime | None = None


class WindowFetched(msgspec.Struct, frozen=True, kw_only=True):
    """These pump-local days, both inclusive (YYYY-MM-DD), were fetched completely."""

    first_day: str
    last_day: str
    event_count: int = 0
    uploaded_at: datetime | None = None  # the newest upload at that time


class HistoryOpened(msgspec.Struct, frozen=True, kw_only=True):
    """Documents of these pump-local days, both inclusive, are delivered. ``last_day`` None: without end."""

    first_day: str
    last_day: str | None = None


class LogGap(msgspec.Struct, frozen=True, kw_only=True):
    """A repair removed corrupt lines: positions first to last are missing, and perhaps events of this time.

    The times are the pump's wall clock at the lost records, or just around them, read as if it were UTC. None: unknown.
    """

    first_position: int
    last_position: int
    side_file: str
    first_time: datetime | None = None
    last_time: datetime | None = None


class WearBegan(msgspec.Struct, frozen=True, kw_only=True):
    """From here on this pump is the active one, or its days are delivered. Made by the timeline, never in the log."""


class WearEnded(msgspec.Struct, frozen=True, kw_only=True):
    """From here on another pump is the active one, or days are not delivered. Made by the timeline, never in the log."""
