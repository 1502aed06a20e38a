"""The newest data of the worn pump: the same for the command line, the page and the notifications."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from tconnectsync.text.durations import parse_time

PUMP_LATE = timedelta(minutes=90)
"""A pump writes a record every five minutes. If its newest is this much older than the upload, phone and pump are apart."""


def newest_data(status: Mapping[str, Any]) -> datetime | None:
    """Return the time of the newest data of the worn pumps; if none is known to be worn, of any source that is on.

    A pump that is not worn may upload for weeks: its data must not hide that the worn one is silent. ``status``: as printed by
    ``status --json``.
    """
    sources = sources_on(status)
    pumps = [pump for source in sources for pump in source.get("pumps", {}).values() if pump.get("worn")]
    return max(
        (at for part in pumps or sources if (at := parse_time(part.get("newest_event"))) is not None), default=None
    )


def sources_on(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the sources that are on."""
    return [source for source in status.get("sources", {}).values() if source.get("state") != "off"]


def uploads_without_pump(uploaded: datetime | None, newest: datetime | None) -> bool:
    """Whether the phone uploads, but gets nothing new from the worn pump. ``newest``: the pump's newest data."""
    return uploaded is not None and newest is not None and uploaded - newest > PUMP_LATE
