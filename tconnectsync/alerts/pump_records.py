"""Reads what the wearer's alerts need from the event log, beside its owner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import msgspec

from tconnectsync import events
from tconnectsync.alerts.wearer import ALARM_FOR, PumpAlarm, PumpReading
from tconnectsync.clock import Clock
from tconnectsync.config.alert_options import AlertOptions
from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import EventLog
from tconnectsync.events import Event
from tconnectsync.events.pump_state import Reported
from tconnectsync.events.reservoir import KINDS as DELIVERY
from tconnectsync.events.reservoir import Reservoir
from tconnectsync.events.reservoir import after as delivered
from tconnectsync.timeline.event_stream import EventStream, event_streams
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones

SITE_LOOK, CARTRIDGE_LOOK, BATTERY_LOOK = timedelta(days=15), timedelta(days=7), timedelta(days=1)
"""How far back a filled cannula, a filled cartridge and a measured battery are looked for."""
AHEAD = timedelta(minutes=30)
"""A pump's clock may be ahead by less than this without being corrected: see `timeline`. Its newest records count too."""
ALARM_KINDS = frozenset({"alarm.raised", "alarm.cleared", "malfunction.raised"})
BATTERY, SITE = frozenset({"battery.measured", "day.summary"}), frozenset({"cannula.filled"})
REPEATING = frozenset({18, 23})
"""Alarms that only repeat that delivery is stopped."""


def read_pump(data_dir: Path, zones: Zones, options: AlertOptions, *, clock: Clock) -> PumpReading:
    """Return what the log says of the active pump; empty if no pump is known to be worn. Errors: LogCorrupt, OSError."""
    with EventLog.open(data_dir, clock=clock, writable=False, decoders={}) as log:
        resolver = TimelineResolver(log, zones)
        worn = {serial for serial, pump in resolver.status().items() if pump["worn"]}
        streams = [stream for stream in event_streams(log, resolver.resolve()).values() if stream.pump in worn]
        return _reading(_Reader(streams, clock.now()), options)


def _reading(read: _Reader, options: AlertOptions) -> PumpReading:
    """Read what is wanted. A corrupt record does not hide the values that can be read without it."""
    parts: dict[str, tuple[object, timedelta, frozenset[str], Callable[[Sequence[Event]], object]]] = {
        "alarms": (options.pump_alarms or None, ALARM_FOR, ALARM_KINDS, open_alarms),
        "reservoir_u": (options.low_reservoir_u, CARTRIDGE_LOOK, DELIVERY, left),
        "battery_percent": (options.low_battery_percent, BATTERY_LOOK, BATTERY, battery),
        "site_at": (options.site_older_than_days, SITE_LOOK, SITE, site_of),
    }
    found: dict[str, Any] = {}
    for name, (wanted, span, kinds, value_of) in parts.items():
        if wanted is not None:
            try:
                found[name] = value_of(read.since(span, kinds))
            except LogCorrupt as error:
                found["error"] = error
    return PumpReading(**found)


@attrs.frozen
class _Reader:
    streams: Sequence[EventStream]
    now: datetime

    def since(self, span: timedelta, kinds: frozenset[str]) -> list[Event]:
        """Events of these kinds from the last ``span``, in the order of their UTC time. None is later than its receipt."""
        begin, end = self.now - span, self.now + AHEAD
        found = [
            event
            for stream in self.streams
            for first, last in stream.keys_between(begin, end)
            for event in stream.read(first, last, kinds)
        ]
        timed = [
            (event.at, event.seq or 0, event) for event in found if event.at is not None and begin <= event.at <= end
        ]
        return [
            msgspec.structs.replace(event, at=min(at, event.received_at, self.now))
            for at, _, event in sorted(timed, key=lambda each: each[:2])
        ]


def open_alarms(found: Sequence[Event]) -> tuple[PumpAlarm, ...]:
    """Return the alarms that no later record cleared, and all malfunctions, which are never cleared."""
    alarms: dict[object, PumpAlarm] = {}
    for event in found:
        body, at = event.body, event.at
        if at is None:
            continue
        if isinstance(body, events.AlarmCleared):
            alarms.pop(body.alarm_id, None)
        elif isinstance(body, events.MalfunctionRaised):
            alarms[event.id] = PumpAlarm(id=event.id, name=f"malfunction_{body.name}", at=at)
        elif isinstance(body, events.AlarmRaised) and body.alarm_id not in REPEATING:
            alarms[body.alarm_id] = PumpAlarm(id=event.id, name=body.name, at=at, number=body.alarm_id)
    return tuple(alarms.values())


def left(found: Sequence[Event]) -> Reported | None:
    """Return the insulin that is left in the cartridge, with the time of the newest record that counts."""
    reservoir = Reservoir()
    for event in found:
        reservoir = delivered(reservoir, event)
    if reservoir.shown_u is None or reservoir.at is None:
        return None
    return Reported(value=reservoir.shown_u, at=reservoir.at)


def site_of(found: Sequence[Event]) -> datetime | None:
    """Return when the cannula was last filled. A fill that was broken off is no new site."""
    filled = [e.at for e in found if isinstance(e.body, events.CannulaFilled) and e.body.completed and e.at is not None]
    return max(filled, default=None)


def battery(found: Sequence[Event]) -> Reported | None:
    """Return the newest charge of the battery."""
    for event in reversed(found):
        body, at = event.body, event.at
        if isinstance(body, events.BatteryMeasured | events.DaySummary) and body.battery_percent is not None and at:
            return Reported(value=body.battery_percent, at=at)
    return None
