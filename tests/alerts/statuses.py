"""What ``status --json`` prints, made up for one moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

SERIAL = "90556643"
SINKS = ("nightscout-iob", "nightscout-pump-events", "nightscout-treatments")
OK: Mapping[str, Any] = {"state": "ok", "since": None, "message": "", "remedy": None}


def iso(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def trouble(
    state: str, since: datetime | None, message: str = "something is wrong", remedy: str = "Look."
) -> dict[str, Any]:
    """A part in trouble."""
    return {"state": state, "since": iso(since), "message": message, "remedy": remedy}


def status(
    now: datetime,
    *,
    newest: datetime | None = None,
    fetched: datetime | None = None,
    source: Mapping[str, Any] = OK,
    sinks: Mapping[str, Mapping[str, Any]] | None = None,
    disk: str = "",
    damaged: str = "",
) -> dict[str, Any]:
    """Everything is well except for what is given. ``newest`` and ``fetched``: five and two minutes ago by default."""
    newest = newest or now - timedelta(minutes=5)
    sink = {"cursor": 10, "behind": 0, "pending": 0, "dead": 0, "last_delivered": iso(now)}
    return {
        "disk": {**OK, "message": disk, "remedy": "Make room." if disk else None},
        "daemon": {**OK, "pid": 4711},
        "log": {"positions": 10, "damaged": damaged or False, "remedy": "Run `tconnectsync log repair`."},
        "sources": {
            "tandem": {
                **source,
                "last_fetch": iso(fetched or now - timedelta(minutes=2)),
                "last_upload": iso(newest),
                "newest_event": iso(newest),
                "pumps": {SERIAL: {"newest_event": iso(newest), "worn": True}},
            }
        },
        "sinks": {
            **{name: {**sink, **OK, **(sinks or {}).get(name, {})} for name in SINKS},
            "mqtt": {**sink, **OK, "state": "off"},
        },
    }
