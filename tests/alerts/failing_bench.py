"""A watch whose status, pump records and addresses are given, and can fail."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from tconnectsync import Secret
from tconnectsync.alerts.heartbeat import LastCall, Pulse
from tconnectsync.alerts.notification_text import Notification
from tconnectsync.alerts.outgoing import Deliverer
from tconnectsync.alerts.sending import Attempt, SendResult
from tconnectsync.alerts.watch import Watch
from tconnectsync.alerts.wearer import PumpReading
from tconnectsync.config.alert_options import AlertOptions
from tconnectsync.timeline.zones import Zones
from tests.alerts.statuses import status
from tests.support.clocks import FakeClock

START = datetime(2026, 6, 4, 12, tzinfo=timezone.utc)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
URLS = (Secret("ntfy://ntfy.invalid/one"), Secret("ntfy://ntfy.invalid/two"))
OPTIONS = AlertOptions(urls=URLS[:1], pump_alarms=("occlusion",), low_reservoir_u=20.0, site_older_than_days=30.0)
ZONES = Zones(timezone="Europe/Berlin")


@attrs.define
class AlertListener:
    """The heartbeat and the addresses; keeps what each was told."""

    clock: FakeClock
    times: list[datetime] = attrs.field(factory=list)
    beats: list[Pulse] = attrs.field(factory=list)
    got: list[tuple[Secret, Notification]] = attrs.field(factory=list)
    broken: Secret | None = None
    down: bool = False
    last_call: LastCall | None = None

    def beat(self, cycle: Pulse) -> None:
        self.beats.append(cycle)

    def send(self, url: Secret, message: Notification) -> Attempt:
        if url is self.broken:
            raise RuntimeError("can't start new thread")
        if self.down:
            return Attempt(result=SendResult.FAILED, why="503")
        self.got.append((url, message))
        self.times.append(self.clock.time)
        return Attempt(result=SendResult.SENT)

    @property
    def titles(self) -> list[str]:
        return [message.title for _, message in self.got]

    @property
    def bodies(self) -> str:
        return "\n".join(message.body for _, message in self.got)


@attrs.define
class FailingBench:
    """A watch whose reading can fail."""

    folder: Path
    clock: FakeClock = attrs.field(factory=lambda: FakeClock(START))
    heard: AlertListener = attrs.field(init=False)
    error: Exception | None = None
    reading: PumpReading | Exception = attrs.field(factory=PumpReading)
    shown: Mapping[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.heard = AlertListener(self.clock)

    def read_status(self) -> Mapping[str, Any]:
        if self.error is not None:
            raise self.error
        parts = dict(self.shown)
        positions = parts.pop("positions", 10)
        found = status(self.clock.time, **parts)
        return {**found, "log": {**found["log"], "positions": positions}}

    def read_pump(self) -> PumpReading:
        if isinstance(self.reading, Exception):
            raise self.reading
        return self.reading

    def watch(self, **changes: Any) -> Watch:
        parts: dict[str, Any] = {
            "read_status": self.read_status,
            "read_pump": self.read_pump,
            "options": OPTIONS,
            "heartbeat": self.heard,
            "settled_s": 0.0,
            "zone_at": lambda _: ZoneInfo("Europe/Berlin"),
            "deliverer": Deliverer(send=self.heard.send, monotonic=self.clock.monotonic, rng=random.Random(1)),
        }
        return Watch(folder=self.folder, clock=self.clock, **parts | changes)

    def look(self, watch: Watch, times: int) -> None:
        for _ in range(times):
            watch.look()
            self.clock.advance(minutes=1)
