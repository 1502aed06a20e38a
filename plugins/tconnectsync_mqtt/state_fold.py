"""The fold of the pump's state into two documents: current values, which must expire, and lasting ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import attrs
import msgspec

from tconnectsync import Document, Event, GlucoseUnits, document_id
from tconnectsync.events.pump_state import KINDS, PumpState, Reported, after
from tconnectsync.events.readings import mark_of, valid_trend

COLLECTION = "mqtt"
CURRENT, LASTING = "current", "lasting"
CURRENT_FOR_S = 1800.0
"""Insulin on board and glucose are out of date after half an hour."""

MARKS = ("value", "low", "high")
"""Of a glucose reading: in the sensor's range, below or above it."""
TRENDS = ("rising_quickly", "rising", "rising_slowly", "steady", "falling_slowly", "falling", "falling_quickly")
_SLOPES = (3.0, 2.0, 1.0, -1.0, -2.0, -3.0)
"""The smallest change in mg/dL per minute for each of these but the last."""


class TrendingState(msgspec.Struct, frozen=True, kw_only=True):
    """The pump's state, and the trend of its newest glucose reading."""

    pump: PumpState = PumpState()
    trend: str | None = None


@attrs.frozen(kw_only=True)
class StateFold:
    """The active pump's :class:`~tconnectsync.events.pump_state.PumpState` as documents ``current`` and ``lasting``.

    ``current`` (insulin on board, glucose, basal rate, delivering or not) expires after half an hour. The broker
    retains ``lasting`` (last bolus, reservoir, battery, time of the newest data). An unknown value is null, such as the amount of
    a bolus that has started and whose end is not known. Each value
    has its own time; only the receiver knows its age (``value_age.py``).
    """

    name = "pump-state"
    title = "pump state"
    version = 7
    kinds = KINDS
    state_type = TrendingState

    def initial(self) -> TrendingState:
        """An active pump with no known values."""
        return TrendingState()

    def step(self, state: TrendingState, event: Event) -> tuple[TrendingState, Sequence[Document]]:
        """Return the state updated by ``event``."""
        pump, trend = after(state.pump, event), state.trend
        if event.kind == "glucose.reading" and pump.glucose_mg_dl != state.pump.glucose_mg_dl:
            trend = trend_of(event.body.trend_mg_dl_per_min) if _glucose_mark(pump) == "value" else None
        return TrendingState(pump=pump, trend=trend), ()

    def running(self, state: TrendingState) -> Sequence[Document]:
        """Both documents, while this pump is active."""
        pump = state.pump
        if pump.at is None or not pump.worn:
            return ()
        current = {**_current(pump, pump.at), "glucose_trend": state.trend}
        return (
            _document(CURRENT, pump.at, current, worth_s=CURRENT_FOR_S),
            _document(LASTING, pump.at, _lasting(pump, pump.at), worth_s=None),
        )


def trend_of(mg_dl_per_min: float | None) -> str | None:
    """Return one of :data:`TRENDS`, as the arrows of a sensor; None if the sensor's value is invalid."""
    trend = valid_trend(mg_dl_per_min)
    if trend is None:
        return None
    return TRENDS[next((place for place, least in enumerate(_SLOPES) if trend >= least), len(_SLOPES))]


def _document(topic: str, at: datetime, content: dict[str, Any], *, worth_s: float | None) -> Document:
    return Document(
        id=document_id("site", COLLECTION, topic),
        collection=COLLECTION,
        at=at,
        content=content,
        ttl_s=worth_s,
    )


def _current(state: PumpState, now: datetime) -> dict[str, Any]:
    return {
        "iob": _rounded(state.iob_u, 3),
        "iob_at": _time(state.iob_u),
        "glucose": _rounded(state.glucose_mg_dl, 0),
        "glucose_mmol": None
        if state.glucose_mg_dl is None
        else round(GlucoseUnits.MMOL_L.convert(state.glucose_mg_dl.value), 1),
        "glucose_mark": _glucose_mark(state),
        "glucose_at": _time(state.glucose_mg_dl),
        "basal_rate": _rounded(state.rate_u_per_h, 3),
        # while delivery is suspended, no event repeats that the rate is 0
        "basal_rate_at": iso(now) if state.suspended and state.rate_u_per_h else _time(state.rate_u_per_h),
        "pump_state": {None: None, True: "suspended", False: "delivering"}[state.suspended],
        "data_at": iso(now),
    }


def _glucose_mark(state: PumpState) -> str | None:
    return None if state.glucose_mg_dl is None else mark_of(state.glucose_mg_dl.value)


def _lasting(state: PumpState, now: datetime) -> dict[str, Any]:
    started = state.open_bolus
    return {
        "last_bolus": None if started else _rounded(state.bolus_u, 3),
        "last_bolus_at": iso(started.at) if started else _time(state.bolus_u),
        "reservoir": _rounded(state.reservoir_u, 1),
        "reservoir_at": _time(state.reservoir_u),
        "battery": _rounded(state.battery_percent, 0),
        "battery_at": _time(state.battery_percent),
        "data_at": iso(now),
    }


def iso(at: datetime) -> str:
    """Format a time as Home Assistant reads it: ``2026-01-31T12:00:00+00:00``."""
    return at.astimezone(timezone.utc).isoformat(timespec="seconds")


def _time(said: Reported | None) -> str | None:
    return None if said is None else iso(said.at)


def _rounded(said: Reported | None, digits: int) -> float | None:
    if said is None:
        return None
    return round(said.value, digits) if digits else round(said.value)
