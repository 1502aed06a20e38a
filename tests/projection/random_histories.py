"""Random histories of two pumps with known times: their records, and how a vendor reports them, complete or cut."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeAlias

import attrs

from tconnectsync import Event
from tconnectsync.events import (
    BasalDelivered,
    Body,
    BolusCompleted,
    BolusRequested,
    CarbsEntered,
    ClockChanged,
    HistoryOpened,
    Unknown,
)
from tconnectsync.timeline.zones import Zones

BEGIN = datetime(2026, 6, 1, tzinfo=timezone.utc)
END = BEGIN + timedelta(days=90)
"""No zone changes its offset in between."""
HOME = Zones(timezone="Europe/Berlin")
HOME_S = 7200
FIRST_DAY = date(2026, 6, 6)
"""Where history is opened first; the events before it are a lead-in."""


@attrs.frozen(kw_only=True)
class PumpRecord:
    """One record of a pump. ``at`` is when it really was, ``offset_s`` what its clock showed ahead of UTC."""

    pump: str
    group: int | None
    seq: int | None
    at: datetime
    offset_s: int
    raw: Mapping[str, Any] = attrs.field(hash=False)

    @property
    def name(self) -> str:
        """Its identity in the log."""
        source = "csv" if self.seq is None else "pump"
        return f"{source}:{self.pump}:{self.group}:{self.seq}:{self.at.isoformat()}"

    @property
    def stream(self) -> str:
        """The name of the log's stream that it belongs to."""
        return f"{self.pump}@csv" if self.seq is None else f"{self.pump}:{self.group}"

    def event(self, decoder: int, *, half: bool = False) -> Event:
        """The event as the vendor reports it now; ``half``: without its essential fields."""
        raw = {key: value for key, value in self.raw.items() if not half or key in ("kind", "id")}
        kind, body = decoded(raw, decoder)
        return Event(
            id=self.name, kind=kind, pump=self.pump, group=self.group, seq=self.seq,
            pump_time=(self.at + timedelta(seconds=self.offset_s)).replace(tzinfo=None),
            source="csv" if self.seq is None else "pump", received_at=END, body=body, raw=raw, decoder=decoder,
        )  # fmt: skip


Unit: TypeAlias = tuple[PumpRecord, ...]
"""The records that a vendor reports together."""


def decoded(raw: Mapping[str, Any], decoder: int) -> tuple[str, Body]:
    """What a release reads in a record: the second one knows snacks, and that a rate's last digit was cut."""
    kind, value = raw["kind"], raw.get("value")
    if kind == "bolus.requested":
        return kind, BolusRequested(bolus_id=raw["id"], part=1)
    if value is None or (kind == "snack" and decoder < 2):
        return "unknown", Unknown(code=kind, reason="no such code" if value is not None else "no value")
    if kind == "basal.delivered":
        return kind, BasalDelivered(rate_u_per_h=value + (0.05 if decoder > 1 and value else 0.0))
    if kind == "bolus.completed":
        return kind, BolusCompleted(bolus_id=raw["id"], status="completed", delivered_u=value)
    if kind == "clock.changed":
        return kind, ClockChanged(part="time", step_s=value)
    return "carbs.entered", CarbsEntered(carbs_g=value)


def opened(pump: str, first_day: date) -> Event:
    """The wish for a pump's history from this local day on."""
    return Event(
        id=f"pump:{pump}:opened:{first_day}", kind="history.opened", pump=pump, group=None, seq=None,
        pump_time=BEGIN.replace(tzinfo=None), source="pump", received_at=END,
        body=HistoryOpened(first_day=first_day.isoformat()),
    )  # fmt: skip


def random_history(rng: random.Random) -> list[Unit]:
    """Everything that happened, in no order.

    A pump with a trip, which may number its records anew; another pump that takes over, or is only tried, while the first goes
    on in a drawer; rows without numbers from an older source. Much of it falls on the same minutes.
    """
    change = rng.randint(20, 70)
    streams = [("1", 0, 0, 90 if rng.random() < 0.4 else change)]
    if rng.random() < 0.4:
        streams.append(("1", 1, streams[0][3], 90))
    if rng.random() < 0.6:
        streams.append(("2", 0, rng.randint(10, change), rng.choice([change + 2, 90])))
    units = [unit for stream in streams for unit in _logged(rng, *stream)]
    if rng.random() < 0.3:
        units += [(row,) for row in _rows(rng, rng.randint(5, 60))]
    return units


def _logged(rng: random.Random, pump: str, group: int, first: int, last: int) -> Iterator[Unit]:
    times = _times(rng, first, last, rng.randint(10, 40))
    seqs = sorted(rng.sample(range(1, 120 * len(times)), len(times)))
    trip = sorted(rng.sample(range(1, len(times)), 2)) if len(times) > 3 and rng.random() < 0.4 else []
    away_s = rng.choice([-5 * 3600, 9 * 3600, 0, 19_800])
    open_boluses: list[int] = []
    offset_s = HOME_S
    settings = []
    for number, (seq, at) in enumerate(zip(seqs, times, strict=True)):
        raw: dict[str, Any] = {"kind": "basal.delivered", "value": rng.choice([0.0, 1.0, 1.0])}
        if number in trip:
            after_s = away_s if number == trip[0] else HOME_S
            raw = {"kind": "clock.changed", "value": float(after_s - offset_s)}
            offset_s = after_s
        elif rng.random() < 0.4 and number:
            raw = _entry(rng, number, open_boluses)
        happening = PumpRecord(pump=pump, group=group, seq=seq, at=at, offset_s=offset_s, raw=raw)
        if number in trip:
            settings.append(happening)
        else:
            yield (happening,)
    if settings:  # first seen in the middle of a journey, a clock can be misread: that is the timeline's business
        yield tuple(settings)


def _entry(rng: random.Random, number: int, open_boluses: list[int]) -> dict[str, Any]:
    """What the wearer did; each bolus ends once, if its end is ever logged."""
    kind = rng.choice(["bolus.requested", "bolus.completed", "carbs.entered", "snack"])
    if kind == "bolus.requested":
        open_boluses.append(number)
        return {"kind": kind, "id": number}
    entry = {"kind": kind, "value": float(number)}
    if kind == "bolus.completed":
        entry["id"] = open_boluses.pop(rng.randrange(len(open_boluses))) if open_boluses else number
    return entry


def _rows(rng: random.Random, last: int) -> Iterator[PumpRecord]:
    for number, at in enumerate(dict.fromkeys(_times(rng, 0, last, 12))):
        raw = {"kind": rng.choice(["carbs.entered", "basal.delivered"]), "value": float(number % 3)}
        yield PumpRecord(pump="1", group=None, seq=None, at=at, offset_s=HOME_S, raw=raw)


_STEPS = timedelta(0), timedelta(minutes=30), timedelta(hours=2), timedelta(days=3)


def _times(rng: random.Random, first: int, last: int, count: int) -> list[datetime]:
    """At once, some time apart, or days; on the grid of half hours, so that things of several pumps coincide."""
    at = BEGIN + timedelta(days=first)
    times = []
    for _ in range(count):
        at += rng.choices(_STEPS, weights=(2, 8, 1, 1))[0]
        if at < BEGIN + timedelta(days=last):
            times.append(at)
    return times or [BEGIN + timedelta(days=first)]
