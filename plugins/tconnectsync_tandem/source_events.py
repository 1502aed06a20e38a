"""Events about the fetching itself, from which the source restores its position."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from tconnectsync import Event, events
from tconnectsync_tandem.api.pumps import Pump, PumpSettings
from tconnectsync_tandem.decode.event_factory import SOURCE
from tconnectsync_tandem.polling.planner import Window


def _fact(identity: str, kind: str, pump: Pump, body: events.Body, at: datetime, pump_time: datetime) -> Event:
    return Event(
        id=f"{SOURCE}:{pump.serial}:{identity}",
        kind=kind,
        pump=pump.serial,
        group=None,
        seq=None,
        pump_time=pump_time,
        source=SOURCE,
        received_at=at,
        body=body,
    )


def _iso(at: datetime) -> str:
    return at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")


def upload_seen(pump: Pump, uploaded_at: datetime, now: datetime) -> Event:
    """``upload.seen``. Its pump time is the newest one in the upload, if known."""
    body = events.UploadSeen(uploaded_at=uploaded_at, newest_pump_time=pump.newest)
    wall = pump.newest or uploaded_at.replace(tzinfo=None, microsecond=0)
    return _fact(f"upload:{_iso(uploaded_at)}", "upload.seen", pump, body, now, wall)


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
    which = settings.upload or wall.isoformat()
    return _fact(f"settings:{settings.settings_hash}:{which}", "settings.captured", pump, body, now, wall)


def history_opened(pump: Pump, first: date, last: date | None, now: datetime) -> Event:
    """``history.opened``: these days are to be delivered."""
    name = "opened" if last is None else f"opened:{first}:{last}"
    body = events.HistoryOpened(first_day=first.isoformat(), last_day=None if last is None else last.isoformat())
    return _fact(name, "history.opened", pump, body, now, datetime.combine(first, time()))


def window_fetched(pump: Pump, window: Window, count: int, now: datetime) -> Event:
    """``window.fetched``: these days were fetched completely."""
    first, last = window
    body = events.WindowFetched(
        first_day=first.isoformat(), last_day=last.isoformat(), event_count=count, uploaded_at=pump.uploaded_at
    )
    return _fact(
        f"window:{first}:{last}:{_iso(now)}", "window.fetched", pump, body, now, datetime.combine(first, time())
    )
