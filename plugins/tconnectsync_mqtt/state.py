"""What the broker is told: two documents, because what is true only now must never be shown as old news is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import attrs

from tconnectsync import Document, Event, document_id
from tconnectsync.pumpstate import KINDS, PumpState, Said, after

COLLECTION = "mqtt"
CURRENT, LASTING = "current", "lasting"
CURRENT_FOR_S = 1800.0
"""Insulin on board and glucose are history after half an hour."""


@attrs.frozen(kw_only=True)
class StateFold:
    """The worn pump's :class:`~tconnectsync.pumpstate.PumpState` to the documents ``current`` and ``lasting``.

    ``current`` (insulin on board, glucose, basal rate, delivering or not) lapses after half an hour. ``lasting`` (last bolus,
    reservoir, battery, time of the newest data) is true until it changes. A value that is not known is null.
    """

    name = "pump-state"
    version = 1
    kinds = KINDS
    state_type = PumpState

    def initial(self) -> PumpState:
        """Worn, and nothing known."""
        return PumpState()

    def step(self, state: PumpState, event: Event) -> tuple[PumpState, Sequence[Document]]:
        """The state with what ``event`` says."""
        return after(state, event), ()

    def running(self, state: PumpState) -> Sequence[Document]:
        """Both documents, while this pump is worn."""
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
        worth_s=worth_s,
    )


def _current(state: PumpState, now: datetime) -> dict[str, Any]:
    suspended = {None: None, True: "suspended", False: "delivering"}[state.suspended]
    return {
        "iob": _fresh(state.iob_u, now, 3),
        "iob_at": _time(state.iob_u),
        "glucose": _fresh(state.glucose_mg_dl, now, 0),
        "glucose_mark": state.glucose_mark if state.glucose_at and _is_near(state.glucose_at, now) else None,
        "glucose_at": None if state.glucose_at is None else iso(state.glucose_at),
        "basal_rate": _fresh(state.rate_u_per_h, now, 3),
        "pump_state": suspended,
        "data_at": iso(now),
    }


def _lasting(state: PumpState, now: datetime) -> dict[str, Any]:
    return {
        "last_bolus": _rounded(state.bolus_u, 3),
        "last_bolus_at": _time(state.bolus_u),
        "reservoir": _rounded(state.reservoir_u, 1),
        "battery": _rounded(state.battery_percent, 0),
        "battery_at": _time(state.battery_percent),
        "data_at": iso(now),
    }


def iso(at: datetime) -> str:
    """``2026-01-31T12:00:00+00:00``: the form that Home Assistant reads as a time."""
    return at.astimezone(timezone.utc).isoformat(timespec="seconds")


def _time(said: Said | None) -> str | None:
    return None if said is None else iso(said.at)


def _fresh(said: Said | None, now: datetime, digits: int) -> float | None:
    return _rounded(said, digits) if said is not None and _is_near(said.at, now) else None


def _is_near(at: datetime, now: datetime) -> bool:
    return abs(now - at) <= timedelta(seconds=CURRENT_FOR_S)


def _rounded(said: Said | None, digits: int) -> float | None:
    if said is None:
        return None
    return round(said.value, digits) if digits else round(said.value)
