"""The current state of a pump, for sinks that show the present only.

Each value has the time at which the pump reported it, because each gets old on its own.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from tconnectsync import events
from tconnectsync.events import Event
from tconnectsync.events.bolus_amounts import BolusAmount, count
from tconnectsync.events.limits import BATTERY_MV, GLUCOSE_MG_DL, MAX_IOB_U, MAX_RATE_U_PER_H, is_possible
from tconnectsync.events.readings import measured_at, shown_mg_dl
from tconnectsync.events.reservoir import KINDS as DELIVERY
from tconnectsync.events.reservoir import Reservoir
from tconnectsync.events.reservoir import after as delivered

KINDS = DELIVERY | {
    "battery.measured",
    "bolus.extended_started",
    "bolus.requested",
    "bolus.started",
    "day.summary",
    "glucose.fingerstick",
    "glucose.reading",
    "wear.began",
    "wear.ended",
}
"""The event kinds that :func:`after` understands: what a fold that keeps a :class:`PumpState` asks for."""


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """A number, and the UTC time at which the pump reported or measured it."""

    value: float
    at: datetime


class StartedBolus(msgspec.Struct, frozen=True, kw_only=True):
    """A bolus, or its extended part, that started at this UTC time, and of which no record says that it ended."""

    bolus_id: int
    at: datetime
    extended: bool = False


class PumpState(msgspec.Struct, frozen=True, kw_only=True):
    """The newest values in the pump's own order. None: not reported yet, or no longer known.

    ``event``: id of the newest event; ``seq`` its sequence number, ``at`` its UTC time. ``bolus_u`` is the last bolus that
    delivered something and ended, both its parts; ``open_bolus`` is newer. ``boluses``: the amounts of the last ones.
    ``glucose_mg_dl`` is 39 below the sensor's range and 401 above it (:func:`tconnectsync.events.readings.mark_of`).
    """

    worn: bool = True
    pump: str = ""
    group: int | None = None
    event: str = ""
    seq: int | None = None
    at: datetime | None = None
    iob_u: Reported | None = None
    bolus_u: Reported | None = None
    open_bolus: StartedBolus | None = None
    boluses: tuple[BolusAmount, ...] = ()
    rate_u_per_h: Reported | None = None
    battery_percent: Reported | None = None
    battery_mv: Reported | None = None
    glucose_mg_dl: Reported | None = None
    suspended: bool | None = None
    reservoir: Reservoir = Reservoir()

    @property
    def reservoir_u(self) -> Reported | None:
        """The insulin that is left in the cartridge."""
        left, at = self.reservoir.shown_u, self.reservoir.at
        return None if left is None or at is None else Reported(value=left, at=at)


def after(state: PumpState, event: Event) -> PumpState:
    """The state once ``event`` (of one of :data:`KINDS`, with its UTC time) happened."""
    body, at = event.body, event.at
    if isinstance(body, events.WearBegan):  # another pump may have given newer boluses
        return msgspec.structs.replace(state, worn=True, bolus_u=None, open_bolus=None)
    if isinstance(body, events.WearEnded):
        return msgspec.structs.replace(state, worn=False)
    if at is None:
        raise ValueError(f"event {event.id} has no UTC time")
    changes: dict[str, Any] = {
        "pump": event.pump, "group": event.group, "event": event.id, "seq": event.seq, "at": at,
    }  # fmt: skip
    if event.kind in DELIVERY:
        changes["reservoir"] = delivered(state.reservoir, event)
    iob_u = getattr(body, "iob_u", None)
    if is_possible(iob_u, 0.0, MAX_IOB_U):
        changes["iob_u"] = Reported(value=iob_u, at=at)
    if isinstance(body, events.BatteryMeasured | events.DaySummary):
        changes |= _battery(body, at)
    elif isinstance(body, events.GlucoseReading):
        changes |= _glucose(state, body, measured_at(event))
    elif isinstance(body, events.BolusCompleted | events.BolusExtendedCompleted | events.BolusDelivered):
        changes |= _bolus(state, body, at)
    elif isinstance(body, events.BolusStarted | events.BolusExtendedStarted):
        extended = isinstance(body, events.BolusExtendedStarted)
        changes["open_bolus"] = StartedBolus(bolus_id=body.bolus_id, at=at, extended=extended)
    elif isinstance(body, events.BasalDelivered):
        known = is_possible(body.rate_u_per_h, 0.0, MAX_RATE_U_PER_H)
        changes["rate_u_per_h"] = Reported(value=body.rate_u_per_h, at=at) if known else None
        if known and body.rate_u_per_h > 0:
            changes["suspended"] = False
    elif isinstance(body, events.PumpingSuspended):
        changes |= {"suspended": True, "rate_u_per_h": Reported(value=0.0, at=at)}
    elif isinstance(body, events.PumpingResumed):
        changes["suspended"] = False
        if state.suspended:
            changes["rate_u_per_h"] = None  # unknown until the next basal record
    return msgspec.structs.replace(state, **changes)


def _battery(body: events.BatteryMeasured | events.DaySummary, at: datetime) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if body.battery_percent is not None and is_possible(body.battery_percent, 0.0, 100.0):
        changes["battery_percent"] = Reported(value=body.battery_percent, at=at)
    if body.battery_mv is not None and is_possible(body.battery_mv, *BATTERY_MV):
        changes["battery_mv"] = Reported(value=float(body.battery_mv), at=at)
    return changes


def _bolus(
    state: PumpState, body: events.BolusCompleted | events.BolusExtendedCompleted | events.BolusDelivered, at: datetime
) -> dict[str, Any]:
    """Records 20 and 21 report the parts of a bolus, 280 the whole. While it runs, it is not the last one yet."""
    if isinstance(body, events.BolusDelivered) and body.status != "completed":
        return {}
    changes: dict[str, Any] = {}
    begun = state.open_bolus
    if begun is not None and begun.bolus_id == body.bolus_id:
        immediate_only = begun.extended and isinstance(body, events.BolusCompleted)
        changes["open_bolus"] = begun if immediate_only else None
    counted = count(state.boluses, body)
    if counted is None:
        return changes
    changes["boluses"] = counted.boluses
    if counted.delivered_u:
        changes["bolus_u"] = Reported(value=round(counted.delivered_u, 6), at=at)
    return changes


def _glucose(state: PumpState, body: events.GlucoseReading, at: datetime) -> dict[str, Any]:
    """An older reading that arrives late changes nothing. A hidden one is no reading."""
    value = shown_mg_dl(body)
    if not is_possible(value, *GLUCOSE_MG_DL) or (state.glucose_mg_dl is not None and at < state.glucose_mg_dl.at):
        return {}
    return {"glucose_mg_dl": Reported(value=value, at=at)}
