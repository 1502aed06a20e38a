"""The newest data of the worn pump: the same for the command line, the page and the notifications."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tconnectsync.text.durations import parse_time


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
