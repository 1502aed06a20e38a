"""The event log of simulated pumps, and the true figures of their local days, computed without the product's code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import attrs

from tconnectsync import Event
from tconnectsync.eventlog import EventLog
from tconnectsync.events import UploadSeen
from tconnectsync_simulator.pump.pump import SimulatedPump
from tconnectsync_simulator.pump.truth import Truth, utc
from tconnectsync_tandem.decode.event_factory import make_event
from tests.support.clocks import FakeClock
from tests.support.truths import all_uploaded_at

UTC = timezone.utc
BATCH = 2_000


def write_log(
    folder: Path,
    *pumps: SimulatedPump,
    until_s: float = float("inf"),
    change: Callable[[Event], Event] = lambda event: event,
) -> None:
    """Write the log of these pumps as it was at ``until_s``, and one upload of each at the end. ``change``: each event."""
    clock = FakeClock(max(all_uploaded_at(pump) for pump in pumps))
    with closing(EventLog.open(folder, clock=clock, writable=True)) as log:
        for pump in pumps:
            serial = pump.plan.serial
            events = [
                change(make_event(record.entry, pump=serial, received_at=utc(record.uploaded_s))[0])
                for record in pump.log
                if record.uploaded_s <= until_s
            ]
            for first in range(0, len(events), BATCH):
                log.append(events[first : first + BATCH])
            newest = max(event.pump_time for event in events)
            at = max(event.received_at for event in events)
            log.append([upload_seen(serial, at, newest)])


def upload_seen(serial: str, at: datetime, newest: datetime) -> Event:
    """The fact that the phone uploaded."""
    return Event(
        id=f"tandem:{serial}:upload:{at.isoformat()}",
        kind="upload.seen",
        pump=serial,
        group=None,
        seq=None,
        pump_time=newest,
        source="tandem",
        received_at=at,
        body=UploadSeen(uploaded_at=at, newest_pump_time=newest),
    )


@attrs.define
class TrueDay:
    """The true figures of a local day."""

    basal_u: float = 0.0
    bolus_u: float = 0.0
    boluses: int = 0
    automatic: int = 0
    carbs_g: float = 0.0
    glucose: list[int] = attrs.field(factory=list)

    def share(self, low: int, high: int) -> float:
        """The readings between these mg/dL, both included, in percent."""
        return 100 * sum(low <= value <= high for value in self.glucose) / len(self.glucose)


def true_days(truth: Truth, zone: str, days: Sequence[date]) -> dict[date, TrueDay]:
    """The true figures of each of these days. Zones with whole hours only: the truth about basal is hourly."""
    place = ZoneInfo(zone)
    found = {day: TrueDay() for day in days}
    unused = TrueDay()

    def day_of(at: datetime) -> TrueDay:
        return found.get(at.astimezone(place).date(), unused)

    for hour, amount in truth.basal_u_per_hour.items():
        day_of(hour).basal_u += amount
    for bolus in truth.boluses:
        day = day_of(bolus.started_at)
        day.bolus_u += bolus.immediate_u
        day.boluses += bolus.delivered_u > 0
        day.automatic += bolus.delivered_u > 0 and bolus.kind == "automatic"
        day.carbs_g += bolus.carbs_g
        if bolus.extended_u and bolus.ended_at is not None:
            begin = bolus.started_at + timedelta(seconds=28 * bolus.immediate_u)
            minutes = max(1, round((bolus.ended_at - begin) / timedelta(minutes=1)))
            for minute in range(minutes):
                day_of(begin + timedelta(minutes=minute)).bolus_u += bolus.extended_u / minutes
    for entry in truth.carbs_only:
        day_of(entry.at).carbs_g += entry.value
    shown = {"high": 401, "low": 39}
    for reading in truth.glucose:
        day_of(reading.at).glucose.append(shown.get(reading.mark, reading.glucose_mg_dl))
    return found
