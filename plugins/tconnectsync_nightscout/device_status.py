"""How the pump is doing, as the one device status that Nightscout's pump pill shows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from tconnectsync import Document, Event, document_id
from tconnectsync.pumpstate import KINDS, PumpState, Said, after
from tconnectsync_nightscout.documents import milli, provenance, stamp
from tconnectsync_nightscout.iob import SHOWN_FOR_S


@attrs.frozen(kw_only=True)
class DeviceStatusFold:
    """Battery, reservoir, suspended or not, and insulin on board to one ``devicestatus``.

    Each has its own clock: only what was said in the half hour before the newest record is in it. It lapses itself after
    half an hour, because Nightscout takes a device status for the present.
    """

    name = "device-status"
    title = "pump status"
    version = 1
    kinds = KINDS - {"glucose.reading"}
    state_type = PumpState

    def initial(self) -> PumpState:
        """Worn, and nothing known."""
        return PumpState()

    def step(self, state: PumpState, event: Event) -> tuple[PumpState, Sequence[Document]]:
        """The state with what ``event`` says."""
        return after(state, event), ()

    def running(self, state: PumpState) -> Sequence[Document]:
        """The newest status, while this pump is worn."""
        if state.at is None or not state.worn:
            return ()
        said = _said(state, state.at)
        if not said:
            return ()
        group, key = ("-", state.event) if state.seq is None else (state.group or 0, state.seq)
        source = state.event if state.seq is None else state.seq
        document = Document(
            id=document_id("site", "device-status", state.pump, group, key),
            collection="devicestatus",
            at=stamp(state.at, state.seq),
            content={
                "device": f"tandem {state.pump}",
                "pump": {
                    **said,
                    "clock": state.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                    **provenance(state.pump, [source]),
                },
            },
            worth_s=SHOWN_FOR_S,
        )
        return (document,)


def _said(state: PumpState, now: datetime) -> dict[str, Any]:
    """Nightscout's ``pump`` fields of what is still worth showing."""
    said: dict[str, Any] = {}
    percent, millivolts = _fresh(state.battery_percent, now), _fresh(state.battery_mv, now)
    battery: dict[str, float] = {}
    if percent is not None:
        battery["percent"] = round(percent)
    if millivolts is not None:
        battery["voltage"] = milli(millivolts / 1000)
    if battery:
        said["battery"] = battery
    left = _fresh(state.reservoir_u, now)
    if left is not None:
        said["reservoir"] = round(left, 1)
    if state.suspended is not None:
        said["status"] = {"status": "suspended" if state.suspended else "normal", "suspended": state.suspended}
    iob = _fresh(state.iob_u, now)
    if iob is not None:
        said["iob"] = {"iob": milli(iob), "bolusiob": milli(iob)}
    return said


def _fresh(said: Said | None, now: datetime) -> float | None:
    """What was said in the last half hour."""
    return said.value if said is not None and abs(now - said.at) <= timedelta(seconds=SHOWN_FOR_S) else None
