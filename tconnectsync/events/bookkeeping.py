"""Facts about the data itself: uploads, fetched days, wanted history, clock anchors, gaps, and which pump is active."""

from __future__ import annotations

from datetime import datetime

import attrs


@attrs.frozen(kw_only=True)
class UploadSeen:
    """The phone uploaded: the true UTC time of it, and the newest pump time (naive) in it. Evidence for the clock."""

    uploaded_at: datetime
    newest_pump_time: datetime | None = None


@attrs.frozen(kw_only=True)
class WindowFetched:
    """A stretch of pump-local days, both inclusive (YYYY-MM-DD), was fetched whole."""

    first_day: str
    last_day: str
    event_count: int = 0
    uploaded_at: datetime | None = None  # the upload that was known when it was fetched


@attrs.frozen(kw_only=True)
class HistoryOpened:
    """Documents from this pump-local day on (and to ``last_day``, inclusive; None: open) are wanted."""

    first_day: str
    last_day: str | None = None


@attrs.frozen(kw_only=True)
class ClockAnchored:
    """Which offset from UTC a stretch of the pump's clock has, and why that was chosen."""

    from_key: int  # first order key of the stretch (component) it speaks of
    at_key: int  # the key at which the offset holds; others follow from the clock changes between
    offset_min: int
    basis: str  # configuration, evidence, zone_at_clock_change, zone_at_first_event
    zone: str | None = None


@attrs.frozen(kw_only=True)
class LogGap:
    """A repair took damaged lines out: positions first to last are missing, and perhaps events of this time.

    The times are the pump's wall clock at what was lost, or just around it, read as if it were UTC; None: nobody knows.
    """

    first_position: int
    last_position: int
    side_file: str
    first_time: datetime | None = None
    last_time: datetime | None = None


@attrs.frozen(kw_only=True)
class WearBegan:
    """From here this pump is the worn one. Made by the timeline, never in the log."""


@attrs.frozen(kw_only=True)
class WearEnded:
    """From here another pump is the worn one. Made by the timeline, never in the log."""
