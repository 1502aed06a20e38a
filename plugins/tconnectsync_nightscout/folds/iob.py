"""The newest insulin on board: one activity per site, and a visible device status."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import msgspec

from tconnectsync import Document, Event, document_id, events
from tconnectsync.events.limits import MAX_IOB_U, is_possible
from tconnectsync.events.source_record import SourceRecord, record_of
from tconnectsync_nightscout.folds.documents import impossible_note, milli, provenance, stamp

ACTIVITY_TYPE = "tconnect_iob"
"""The name that users of IOB activities expect."""
SHOWN_FOR_S = 1800.0
"""Nightscout shows device statuses younger than half an hour."""


class IobState(msgspec.Struct, frozen=True, kw_only=True):
    """The newest insulin on board in the pump's own order, and whether this pump is the worn one."""

    worn: bool = True
    mark: SourceRecord | None = None
    iob_u: float = 0.0


@attrs.frozen(kw_only=True)
class IobFold:
    """The newest IOB of 20, 21, 55, 59, 64, 16 and 81 as an ``activity``, and with ``device_status`` as a
    ``devicestatus``.

    Newest by the pump's own order, not by time: a clock that was once in the future does not block it. There is one
    activity per site, for the active pump, and it never expires; the device status expires after half an hour.
    """

    device_status: bool = True

    name = "iob"
    title = "IOB"
    version = 1
    kinds = frozenset(
        {
            "bolus.completed",
            "bolus.extended_completed",
            "bolus.extended_started",
            "bolus.requested",
            "bolus.started",
            "day.summary",
            "glucose.fingerstick",
            "wear.began",
            "wear.ended",
        }
    )
    state_type = IobState

    def initial(self) -> IobState:
        """Worn, and no IOB known."""
        return IobState()

    def step(self, state: IobState, event: Event) -> tuple[IobState, Sequence[Document]]:
        """Return the state with the event's IOB, if it is valid."""
        if isinstance(event.body, events.WearBegan | events.WearEnded):
            return msgspec.structs.replace(state, worn=isinstance(event.body, events.WearBegan)), ()
        iob_u = event.body.iob_u
        if iob_u is None:
            return state, ()
        record = record_of(event)
        if not is_possible(iob_u, 0.0, MAX_IOB_U):
            problem = impossible_note(
                "insulin on board in U", iob_u, record, "iob-impossible", record.key, collection="activity"
            )
            return state, (problem,)
        return msgspec.structs.replace(state, mark=record, iob_u=milli(iob_u)), ()

    def running(self, state: IobState) -> Sequence[Document]:
        """The newest IOB, while this pump is active."""
        record = state.mark
        if record is None or not state.worn:
            return ()
        activity = Document(
            id=document_id("site", "iob", "activity"),
            collection="activity",
            at=stamp(record.at, record.seq),
            content={
                "activityType": ACTIVITY_TYPE,
                "iob": state.iob_u,
                "pump": provenance(record.pump, [record.name]),
            },
        )
        if not self.device_status:
            return (activity,)
        return (activity, iob_status(record, state.iob_u, "iob", "devicestatus"))


def iob_status(record: SourceRecord, iob_u: float, *names: str) -> Document:
    """A device status with insulin on board only, at the time of ``record``, from which a site counts its age."""
    return Document(
        id=document_id("site", *names, record.pump, "-" if record.group is None else record.group, record.key),
        collection="devicestatus",
        at=stamp(record.at, record.seq),
        content={
            "device": f"tandem {record.pump}",
            "pump": {
                # both numbers, because Nightscout shows nothing for iob 0 alone, and ignores a bare number
                "iob": {"iob": iob_u, "bolusiob": iob_u},
                "clock": record.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
                **provenance(record.pump, [record.name]),
            },
        },
        ttl_s=SHOWN_FOR_S,
    )
