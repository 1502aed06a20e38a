"""Events that have no sequence number, and a source's facts about the fetching, from which it restores its position."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, time, timezone
from typing import Any

from tconnectsync.events.envelope import Body, Event
from tconnectsync.events.facts import HistoryOpened, WindowFetched


def unnumbered_event(
    source: str,
    pump: str,
    name: str,
    kind: str,
    body: Body,
    *,
    received_at: datetime,
    pump_time: datetime,
    raw: Mapping[str, Any] | None = None,
    decoder: int = 1,
) -> Event:
    """Return the event that ``name`` identifies among those of this source and pump."""
    return Event(
        id=f"{source}:{pump}:{name}",
        kind=kind,
        pump=pump,
        group=None,
        seq=None,
        pump_time=pump_time,
        source=source,
        received_at=received_at,
        body=body,
        raw=raw,
        decoder=decoder,
    )


def history_opened(source: str, pump: str, first: date, last: date | None, received_at: datetime) -> Event:
    """Return ``history.opened``: these days are to be delivered; ``last`` None: without end."""
    name = "opened" if last is None else f"opened:{first}:{last}"
    body = HistoryOpened(first_day=first.isoformat(), last_day=None if last is None else last.isoformat())
    at = datetime.combine(first, time())
    return unnumbered_event(source, pump, name, "history.opened", body, received_at=received_at, pump_time=at)


def window_fetched(
    source: str,
    pump: str,
    window: tuple[date, date],
    event_count: int,
    *,
    uploaded_at: datetime | None,
    received_at: datetime,
) -> Event:
    """Return ``window.fetched``: these days, both inclusive, were fetched completely."""
    first, last = window
    body = WindowFetched(
        first_day=first.isoformat(), last_day=last.isoformat(), event_count=event_count, uploaded_at=uploaded_at
    )
    name, at = f"window:{first}:{last}:{utc_text(received_at)}", datetime.combine(first, time())
    return unnumbered_event(source, pump, name, "window.fetched", body, received_at=received_at, pump_time=at)


def utc_text(at: datetime) -> str:
    """Return a time as it is written in the names of events."""
    return at.astimezone(timezone.utc).isoformat().replace("+00:00", "Z")
