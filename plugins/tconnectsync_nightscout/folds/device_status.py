"""The pump's state, as the one device status that Nightscout's pump pill shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
import msgspec

from tconnectsync import Document, Event, document_id
from tconnectsync.events.limits import MAX_IOB_U, is_possible
from tconnectsync.events.pump_state import KINDS, PumpState, Reported, after
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_nightscout.api.document_format import created_at_text
from tconnectsync_nightscout.folds.documents import milli, provenance, stamp
from tconnectsync_nightscout.folds.iob import SHOWN_FOR_S, iob_status

SHOWN_FOR = timedelta(seconds=SHOWN_FOR_S)
HOURLY_FOR = timedelta(hours=2)
"""The battery is recorded hourly: kept until two records are missing."""


class DeviceStatusState(msgspec.Struct, frozen=True, kw_only=True):
    """The pump's state, and the record of the newest insulin on board."""

    pump: PumpState = PumpState()
    iob: SourceRecord | None = None


@attrs.frozen(kw_only=True)
class DeviceStatusFold:
    """Battery, reservoir, suspended or not, and insulin on board as one ``devicestatus``.

    Each value expires at its own rate: half an hour before the newest record, the battery after two hours. The
    document expires after half an hour, because Nightscout shows a device status as current. Nightscout counts the age
    of insulin on board from the document's time: if an older record has it, it is a document of its own with that
    record's time.
    """

    name = "device-status"
    title = "pump status"
    version = 3
    kinds = KINDS - {"glucose.reading"}
    state_type = DeviceStatusState

    def initial(self) -> DeviceStatusState:
        """Worn, and nothing known."""
        return DeviceStatusState()

    def step(self, state: DeviceStatusState, event: Event) -> tuple[DeviceStatusState, Sequence[Document]]:
        """Return the state updated by ``event``."""
        tells_iob = is_possible(getattr(event.body, "iob_u", None), 0.0, MAX_IOB_U)
        return DeviceStatusState(pump=after(state.pump, event), iob=record_of(event) if tells_iob else state.iob), ()

    def running(self, state: DeviceStatusState) -> Sequence[Document]:
        """The newest status, while this pump is active."""
        return list(_documents(state.pump, state.iob)) if state.pump.worn else ()


def _documents(state: PumpState, iob_record: SourceRecord | None) -> Iterator[Document]:
    if state.at is None:
        return
    group, key = ("-", state.event) if state.seq is None else (state.group or 0, state.seq)
    fields = _reported(state, state.at)
    if iob_record is not None and state.iob_u is not None:
        iob_u = milli(state.iob_u.value)
        if iob_record.key == str(key):
            fields["iob"] = {"iob": iob_u, "bolusiob": iob_u}
        elif _is_near(iob_record.at, state.at, SHOWN_FOR):
            yield iob_status(iob_record, iob_u, "device-status-iob")
    if not fields:
        return
    at = stamp(state.at, state.seq)
    yield Document(
        id=document_id("site", "device-status", state.pump, group, key),
        collection="devicestatus",
        at=at,
        content={
            "device": f"tandem {state.pump}",
            "pump": {
                **fields,
                # of two with the same clock Nightscout shows the first; this one is later than one with insulin on board alone
                "clock": created_at_text(at),
                **provenance(state.pump, [state.event if state.seq is None else state.seq]),
            },
        },
        ttl_s=SHOWN_FOR_S,
    )


def _reported(state: PumpState, now: datetime) -> dict[str, Any]:
    """Nightscout's ``pump`` fields of the values that are not expired, without insulin on board."""
    fields: dict[str, Any] = {}
    battery = _battery(state, now)
    if battery:
        fields["battery"] = battery
    left = state.reservoir_u
    # while delivery is suspended nothing leaves the cartridge, so the value stays true
    if left is not None and (state.suspended or _is_near(left.at, now, SHOWN_FOR)):
        fields |= {"reservoir": round(left.value, 1), "reservoir_timestamp": created_at_text(left.at)}
    if state.suspended is not None:
        fields["status"] = {"status": "suspended" if state.suspended else "normal", "suspended": state.suspended}
    return fields


def _battery(state: PumpState, now: datetime) -> dict[str, Any]:
    percent, millivolts = _lately(state.battery_percent, now), _lately(state.battery_mv, now)
    battery: dict[str, Any] = {}
    if percent is not None:
        battery["percent"] = round(percent.value)
    if millivolts is not None:
        battery["voltage"] = milli(millivolts.value / 1000)
    if battery:
        battery["timestamp"] = created_at_text(min(value.at for value in (percent, millivolts) if value is not None))
    return battery


def _lately(value: Reported | None, now: datetime) -> Reported | None:
    return value if value is not None and _is_near(value.at, now, HOURLY_FOR) else None


def _is_near(at: datetime, now: datetime, span: timedelta) -> bool:
    return abs(now - at) <= span
