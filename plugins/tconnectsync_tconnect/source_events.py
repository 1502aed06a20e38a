"""Events of the source: the rows' facts, and those about the fetching, from which the source restores its position."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timezone
from typing import Any

import attrs

from tconnectsync import Event, events
from tconnectsync_tconnect.planner import Window
from tconnectsync_tconnect.rows.entry import DECODER
from tconnectsync_tconnect.rows.provenance import ProvenancedRow

SOURCE = "tconnect"


def event_of(one: ProvenancedRow, pump: str, received_at: datetime) -> Event:
    """Return a pump's fact as an event."""
    fact = one.fact
    return attrs.evolve(_event(fact.name, fact.kind, pump, fact.body, received_at, fact.at, one.raw), decoder=DECODER)


def upload_seen(pump: str, index: Mapping[str, Any], now: datetime) -> Event:
    """``upload.seen``: a new upload since the last poll. The time of the upload itself is unknown."""
    body = events.UploadSeen(uploaded_at=now)
    name = f"upload:{index['maxPumpEventIndex']}:{_iso(now)}"
    return _event(name, "upload.seen", pump, body, now, now.replace(tzinfo=None, microsecond=0), index)


def history_opened(pump: str, first: date, last: date | None, now: datetime) -> Event:
    """``history.opened``: these days are to be delivered."""
    name = "opened" if last is None else f"opened:{first}:{last}"
    body = events.HistoryOpened(first_day=first.isoformat(), last_day=None if last is None else last.isoformat())
    return _event(name, "history.opened", pump, body, now, datetime.combine(first, time()))


def window_fetched(pump: str, window: Window, count: int, uploaded_at: datetime | None, now: datetime) -> Event:
    """``window.fetched``: these days were fetched completely."""
    first, last = window
    body = events.WindowFetched(
        first_day=first.isoformat(), last_day=last.isoformat(), event_count=count, uploaded_at=uploaded_at
    )
    name = f"window:{first}:{last}:{_iso(now)}"
    return _event(name, "window.fetched", pump, body, now, datetime.combine(first, time()))


def _event(
    name: str,
    kind: str,
    pump: str,
    body: events.Body,
    received_at: datetime,
    at: datetime,
    raw: Mapping[str, Any] | None = None,
) -> Event:
    return Event(
        id=f"{SOURCE}:{pump}:{name}",
        kind=kind,
        pump=pump,
        group=None,
        seq=None,
        pump_time=at,
        source=SOURCE,
        received_at=received_at,
        body=body,
        raw=raw,
    )


def _iso(at: datetime) -> str:
    return at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
