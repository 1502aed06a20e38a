"""The fold of the pump's state into two documents: current values, which must expire, and lasting ones."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import attrs

from tconnectsync import Document, Event, document_id
from tconnectsync.events.pump_state import KINDS, PumpState, Reported, after

COLLECTION = "mqtt"
CURRENT, LASTING = "current", "lasting"
CURRENT_FOR_S = 1800.0
"""Insulin on board and glucose are out of date after half an hour."""


@attrs.frozen(kw_only=True)
class StateFold:
    """The active pump's :class:`~tconnectsync.events.pump_state.PumpState` as documents ``current`` and ``lasting``.

    ``current`` (insulin on board, glucose, basal rate, delivering or not) expires after half an hour. The broker
    retains ``lasting`` (last bolus, reservoir, battery, time of the newest data). An unknown value is null. Each value
    has its own time; only the receiver knows its age (``value_age.py``).
    """

    name = "pump-state"
    title = "pump state"
    version = 2
    kinds = KINDS
    state_type = PumpState

    def initial(self) -> PumpState:
        """An active pump with no known values."""
        return PumpState()

    def step(self, state: PumpState, event: Event) -> tuple[PumpState, Sequence[Document]]:
        """Return the state updated by ``event``."""
        return after(state, event), ()

    def running(self, state: PumpState) -> Sequence[Document]:
        """Both documents, while this pump is active."""
        if state.at is None or not state.worn:
            return ()
        return (
            _document(CURRENT, state.at, _current(state, state.at), worth_s=CURRENT_FOR_S),
            _document(LASTING, state.at, _lasting(state, state.at), worth_s=None),
        )


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
        "glucose_mark": state.glucose_mark,
        "glucose_at": None if state.glucose_at is None else iso(state.glucose_at),
        "basal_rate": _rounded(state.rate_u_per_h, 3),
        # while delivery is suspended, no event repeats that the rate is 0
        "basal_rate_at": iso(now) if state.suspended and state.rate_u_per_h else _time(state.rate_u_per_h),
        "pump_state": {None: None, True: "suspended", False: "delivering"}[state.suspended],
        "data_at": iso(now),
    }


def _lasting(state: PumpState, now: datetime) -> dict[str, Any]:
    return {
        "last_bolus": _rounded(state.bolus_u, 3),
        "last_bolus_at": _time(state.bolus_u),
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
