"""Events about uploads, and the pump's settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from itertools import groupby
from typing import Any
from zoneinfo import ZoneInfo

from tconnectsync import Event, events
from tconnectsync.events.source_facts import history_opened, unnumbered_event, utc_text
from tconnectsync_tandem.api.pumps import Pump, PumpSettings
from tconnectsync_tandem.decode.event_factory import SOURCE


def upload_seen(pump: Pump, uploaded_at: datetime, now: datetime) -> Event:
    """``upload.seen``. Its pump time is the newest one in the upload, if known."""
    body = events.UploadSeen(uploaded_at=uploaded_at, newest_pump_time=pump.newest)
    wall = pump.newest or uploaded_at.replace(tzinfo=None, microsecond=0)
    name = f"upload:{utc_text(uploaded_at)}"
    return unnumbered_event(SOURCE, pump.serial, name, "upload.seen", body, received_at=now, pump_time=wall)


def settings_captured(
    pump: Pump,
    settings: PumpSettings,
    now: datetime,
    *,
    zone_of: Callable[[Any], str],
    first: date,
    before: Event | None,
) -> Event:
    """``settings.captured``: the pump's settings without account data.

    Its time is the account's time stamp on the user's wall clock: never later than now, never before the ``first``
    requested day (older settings apply from then), and later than the settings ``before``, which it replaces.
    """
    body = events.SettingsCaptured(settings_hash=settings.settings_hash, details=settings.details)
    at = min(settings.uploaded_at or pump.uploaded_at or now, now)
    wall = at.astimezone(ZoneInfo(zone_of(at.date()))).replace(tzinfo=None)
    wall = max(wall, datetime.combine(first, time()))
    if before is not None:
        wall = max(wall, before.pump_time + timedelta(milliseconds=1))
    name = f"settings:{settings.settings_hash}:{settings.upload or wall.isoformat()}"
    return unnumbered_event(SOURCE, pump.serial, name, "settings.captured", body, received_at=now, pump_time=wall)


def days_opened(pump: Pump, days: Iterable[date], now: datetime) -> list[Event]:
    """One ``history.opened`` for each run of these days, oldest first."""
    numbers = enumerate(sorted(day.toordinal() for day in days))
    runs = [[number for _, number in run] for _, run in groupby(numbers, lambda item: item[1] - item[0])]
    return [
        history_opened(SOURCE, pump.serial, date.fromordinal(run[0]), date.fromordinal(run[-1]), now) for run in runs
    ]
