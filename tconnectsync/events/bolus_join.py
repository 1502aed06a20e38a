"""Join the records of boluses: 64, 65, 66, 55, 59, 280, 20 and 21 report one in parts, and so do a row's events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from tconnectsync.events.boluses import BolusEnd, BolusProgress, JoinedBolus
from tconnectsync.events.envelope import Event
from tconnectsync.events.insulin import (
    BolusCompleted,
    BolusDelivered,
    BolusExtendedCompleted,
    BolusExtendedStarted,
    BolusRequested,
    BolusStarted,
)
from tconnectsync.events.source_record import SourceRecord, record_of

KINDS = frozenset(
    {
        "bolus.completed",
        "bolus.delivered",
        "bolus.extended_completed",
        "bolus.extended_started",
        "bolus.requested",
        "bolus.started",
    }
)
SAME_BOLUS = timedelta(minutes=10)
"""A second request, start or end with the same bolus id within this time is a repetition; later it is another bolus."""
QUIET = timedelta(hours=6)
"""A bolus without a record for this long is finished."""
EXTENDED_QUIET = timedelta(hours=12)
"""The same while an extended part may be running. It lasts eight hours at most, and ids do not repeat within twelve."""
_MOST_OPEN = 64
_Bolus = TypeVar("_Bolus", bound=JoinedBolus)


def join_record(
    open_boluses: Sequence[_Bolus], event: Event, kind: type[_Bolus]
) -> tuple[tuple[_Bolus, ...], Sequence[_Bolus]]:
    """Return the boluses that are open after ``event``, its own one last, and those that are finished.

    ``event`` is of one of :data:`KINDS`, with its UTC time, in the pump's order. ``kind``: the class of a new bolus, JoinedBolus
    or a subclass.
    """
    record, bolus_id = record_of(event), event.body.bolus_id
    bolus: _Bolus | None = None
    finished: list[_Bolus] = []
    still_open: list[_Bolus] = []
    for known in open_boluses:
        if _is_quiet(known, record.at):
            finished.append(known)
        elif bolus is None and known.bolus_id == bolus_id:
            bolus = known
        else:
            still_open.append(known)
    if bolus is not None and _is_other(bolus, event, record):
        finished.append(bolus)
        bolus = None
    if bolus is None:
        bolus = kind(bolus_id=bolus_id, first=record, last_at=record.at)
    still_open.append(_with(bolus, event, record))
    finished.extend(still_open[:-_MOST_OPEN])
    return tuple(still_open[-_MOST_OPEN:]), finished


def _is_quiet(bolus: JoinedBolus, now: datetime) -> bool:
    """Whether no more records of ``bolus`` are expected. If no record says that it is not extended, it may be."""
    not_extended = not bolus.extension_planned and bool(bolus.options or bolus.types or bolus.whole)
    all_ended = bolus.extension_planned and bolus.over
    return now - bolus.last_at > (QUIET if not_extended or all_ended else EXTENDED_QUIET)


def _is_other(bolus: JoinedBolus, event: Event, record: SourceRecord) -> bool:
    """Whether ``event`` with the same bolus id is another bolus, because the id was reused.

    A source without sequence numbers reads its rows repeatedly, perhaps with another time. A row that is already part
    of an open bolus, by its name, is the same one. Two other rows are two boluses.
    """
    body = event.body
    if event.seq is None and any(_row(key) == _row(record.key) for key in bolus.sources):
        return False
    if isinstance(body, BolusRequested | BolusStarted):
        if bolus.immediate is not None or bolus.extended is not None or bolus.whole is not None:
            return True
        before = bolus.request if isinstance(body, BolusRequested) else bolus.started
        return before is not None and abs(record.at - before.at) > SAME_BOLUS
    if isinstance(body, BolusExtendedStarted):
        return bolus.extended is not None or bolus.whole is not None
    end = bolus.whole
    if isinstance(body, BolusCompleted):
        end = bolus.immediate
    elif isinstance(body, BolusExtendedCompleted):
        end = bolus.extended
    return end is not None and (event.seq is None or abs(record.at - end.record.at) > SAME_BOLUS)


def _row(key: str) -> str:
    """The part of an event's id before the part of the bolus."""
    return key.rpartition("/")[0] or key


def _with(bolus: _Bolus, event: Event, record: SourceRecord) -> _Bolus:
    body = event.body
    changes: dict[str, Any] = {}
    if isinstance(body, BolusRequested):
        changes = _request(bolus, body, record)
    elif isinstance(body, BolusStarted):
        changes["started"] = bolus.started or record
        changes["requested_now_u"] = _number(body.size_u, bolus.requested_now_u)
    elif isinstance(body, BolusExtendedStarted):
        changes["extended_started"] = bolus.extended_started or record
        changes["requested_later_u"] = _number(body.size_u, bolus.requested_later_u)
    elif isinstance(body, BolusDelivered):
        changes = _delivery(bolus, body, record, event.received_at)
    elif isinstance(body, BolusCompleted):
        changes = _completion(bolus, body)
        changes["immediate"] = _newest_end(bolus.immediate, event, record)
    elif isinstance(body, BolusExtendedCompleted):
        duration_min = _number(body.duration_min)
        changes["extended"] = _newest_end(bolus.extended, event, record, duration_min)
        changes["extended_duration_min"] = bolus.extended_duration_min if duration_min is None else duration_min
    repeats = isinstance(body, BolusDelivered) and "whole" not in changes and changes.get("delivery_started") != record
    if not repeats and record.key not in bolus.sources:
        changes["sources"] = (*bolus.sources, record.key)
    return msgspec.structs.replace(bolus, last_at=max(bolus.last_at, record.at), **changes)


def _is_valid_end(end: BolusEnd, event: Event) -> bool:
    """Whether ``end`` stays instead of ``event``'s end: without sequence numbers, the one read last counts."""
    return event.seq is None and (end.record.seq is not None or end.received_at > event.received_at)


def _newest_end(
    before: BolusEnd | None, event: Event, record: SourceRecord, duration_min: float | None = None
) -> BolusEnd:
    """Return the end that ``event`` reports, or ``before`` if that stays."""
    if before is not None and _is_valid_end(before, event):
        return before
    body = event.body
    return BolusEnd(
        record=record,
        received_at=event.received_at,
        status=body.status,
        delivered_u=_number(body.delivered_u),
        requested_u=_number(body.requested_u),
        duration_min=duration_min,
    )


def _request(bolus: JoinedBolus, body: BolusRequested, record: SourceRecord) -> dict[str, Any]:
    changes: dict[str, Any] = {"request": bolus.request or record}
    if body.part == 1:
        changes["bolus_type"] = body.bolus_type
        changes["carbs_g"] = _number(body.carbs_g, bolus.carbs_g)
        changes["glucose_mg_dl"] = _number(body.glucose_mg_dl, bolus.glucose_mg_dl)
    elif body.part == 2:
        changes["options"] = body.options
        changes["immediate_percent"] = _number(body.immediate_percent)
        changes["extended_duration_min"] = _number(body.extended_duration_min or None, bolus.extended_duration_min)
        changes["override"] = bolus.override or bool(body.user_override)
        changes["declined_correction"] = bool(body.declined_correction)
    else:
        changes["food_u"] = _number(body.food_u)
        changes["correction_u"] = _number(body.correction_u, bolus.correction_u)
        changes["total_u"] = _number(body.total_u, bolus.total_u)
    return changes


def _delivery(bolus: JoinedBolus, body: BolusDelivered, record: SourceRecord, received_at: datetime) -> dict[str, Any]:
    now, later = _number(body.requested_now_u), _number(body.requested_later_u)
    changes: dict[str, Any] = {
        "types": tuple(body.types or bolus.types),
        "bolus_source": body.bolus_source or bolus.bolus_source,
        "override": bolus.override or "override" in body.types,
        "requested_now_u": _number(now, bolus.requested_now_u),
        "requested_later_u": _number(later, bolus.requested_later_u),
        "extended_duration_min": _number(body.extended_duration_min or None, bolus.extended_duration_min),
        "correction_u": bolus.correction_u if bolus.correction_u is not None else _number(body.correction_u),
        "total_u": bolus.total_u if now is None else now + (later or 0.0),
    }
    delivered = _number(body.delivered_u)
    if body.status == "completed":
        changes["whole"] = BolusEnd(
            record=record,
            received_at=received_at,
            status="ended",
            delivered_u=delivered,
            requested_u=changes["total_u"],
        )
    elif delivered == 0:
        changes["delivery_started"] = bolus.delivery_started or record
    elif delivered is not None and (bolus.progress is None or delivered >= bolus.progress.delivered_u):
        changes["progress"] = BolusProgress(record=record, delivered_u=delivered)
    return changes


def _completion(bolus: JoinedBolus, body: BolusCompleted) -> dict[str, Any]:
    return {
        "bolus_source": bolus.bolus_source or body.bolus_source,
        "notes": body.notes or bolus.notes,
        "carbs_g": bolus.carbs_g if bolus.carbs_g is not None else _number(body.carbs_g),
        "glucose_mg_dl": bolus.glucose_mg_dl if bolus.glucose_mg_dl is not None else _number(body.glucose_mg_dl),
    }


def _number(value: float | None, otherwise: float | None = None) -> float | None:
    """Convert to float; -1 for NaN: a state has no NaN, and -1 is refused like any impossible amount."""
    if value is None:
        return otherwise
    return float(value) if math.isfinite(value) else -1.0
