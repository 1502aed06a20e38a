"""Pages over the log of a simulated pump, with a present that stays, so that pictures and figures are always the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import attrs

from tconnectsync import GlucoseUnits, PumpLog, Zones
from tconnectsync_simulator.pump.pump import SimulatedPump
from tconnectsync_web.log_reader import LogReader
from tests.statistics.simulated_log import write_log
from tests.support.clocks import FakeClock

UTC = timezone.utc


def write_log_until(folder: Path, pump: SimulatedPump, until: datetime) -> datetime:
    """Write the pump's log up to a time, all uploaded; returns the time of the newest record."""
    records = tuple(record for record in pump.log if record.at_s <= until.timestamp())
    uploaded_s = max(record.at_s for record in records) + 60
    records = tuple(record._replace(uploaded_s=min(record.uploaded_s, uploaded_s)) for record in records)
    write_log(folder, attrs.evolve(pump, log=records))
    return datetime.fromtimestamp(max(record.at_s for record in records), UTC)


def reader_of(
    folder: Path, zone: str, now: datetime, status: Callable[[], Mapping[str, Any]] = dict, units: str = "mg/dl"
) -> LogReader:
    """A reader over the log in a folder. Close it at the end."""
    zones = Zones(timezone=zone)
    return LogReader(
        zones=zones,
        units=GlucoseUnits(units),
        open_log=lambda: PumpLog.open(folder, zones, clock=FakeClock(now)),
        read_status=status,
        now=lambda: now,
    )


def good_status_at(now: datetime, newest: datetime) -> dict[str, Any]:
    """The status of an installation in which everything works."""

    def iso(at: datetime) -> str:
        return at.isoformat(timespec="seconds").replace("+00:00", "Z")

    fine: dict[str, Any] = {"state": "ok", "since": iso(newest - timedelta(days=3)), "message": "", "remedy": None}
    uploaded = iso(now - timedelta(minutes=2))
    return {
        "log": {"positions": 41234, "damaged": False},
        "disk": dict(fine),
        "sources": {
            "tandem": {**fine, "last_fetch": iso(now - timedelta(minutes=1)), "last_upload": uploaded, "newest_event": iso(newest)}
        },
        "sinks": {
            name: {**fine, "pending": 0, "dead": 0, "last_delivered": iso(now - timedelta(minutes=1))}
            for name in ("nightscout-treatments", "nightscout-pump-events", "mqtt")
        },
    }  # fmt: skip
