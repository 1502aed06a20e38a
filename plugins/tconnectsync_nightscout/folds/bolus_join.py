"""Join the records of one bolus. Independent of Nightscout."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from typing import Any

import attrs

from tconnectsync import Event, events
from tconnectsync_nightscout.folds.documents import SourceRecord, record_of

FINGERSTICK_BEFORE = timedelta(minutes=15)
"""A request refers to a glucose value that was typed at most this long before it."""
SAME_BOLUS = timedelta(minutes=10)
"""A second request, start or end with the same bolus id within this time is a repetition; later it is another bolus."""


@attrs.frozen(kw_only=True)
class Fingerstick:
    """The newest glucose value entered in the bolus calculator (record 16)."""

    at: datetime
    glucose_mg_dl: float
    typed: bool


@attrs.frozen(kw_only=True)
class Part:
    """The end of the immediate or extended part (records 20, 21), or of the whole bolus (280).

    Amounts in U, as recorded.
    """

    mark: SourceRecord
    received_at: datetime
    status: str
    delivered_u: float | None = None
    requested_u: float | None = None
    duration_min: float | None = None


@attrs.frozen(kw_only=True)
class BolusProgress:
    """The delivered amount of both parts at one moment (a 280 that is not the end)."""

    mark: SourceRecord
    delivered_u: float


@attrs.frozen(kw_only=True)
class JoinedBolus:
    """The records of one bolus. ``epoch`` tells boluses with the same id apart. None: not recorded."""

    bolus_id: int
    epoch: str
    first_at: datetime
    last_at: datetime
    request: SourceRecord | None = None
    started: SourceRecord | None = None
    delivery_started: SourceRecord | None = None
    extended_started: SourceRecord | None = None
    immediate: Part | None = None
    extended: Part | None = None
    whole: Part | None = None
    progress: BolusProgress | None = None
    sources: tuple[str, ...] = ()
    bolus_type: str | None = None
    options: str | None = None
    bolus_source: str | None = None
    types: tuple[str, ...] = ()
    carbs_g: float | None = None
    glucose_mg_dl: float | None = None
    glucose_kind: str | None = None
    food_u: float | None = None
    correction_u: float | None = None
    total_u: float | None = None
    immediate_percent: float | None = None
    now_u: float | None = None
    extended_u: float | None = None
    override: bool = False
    declined_correction: bool = False
    said: str | None = None

    @property
    def extension_planned(self) -> bool:
        """Whether an extended part was requested."""
        return (
            self.extended_started is not None
            or self.extended is not None
            or (self.extended_u or 0) > 0
            or "later" in self.types
            or (self.options in ("extended", "ble_extended") and (self.immediate_percent or 0) < 100)
        )

    @property
    def immediate_over(self) -> bool:
        """Whether the immediate part is over: it ended, or there is none."""
        if self.immediate is not None or self.whole is not None:
            return True
        nothing_now = self.immediate_percent == 0 or (bool(self.types) and "now" not in self.types)
        return nothing_now and self.extension_planned and self.begun

    @property
    def begun(self) -> bool:
        """Whether delivery of any part was seen."""
        return any((self.started, self.delivery_started, self.extended_started, self.extended, self.progress))

    @property
    def over(self) -> bool:
        """Whether the bolus has ended, so that the delivered amount is final."""
        if self.whole is not None:
            return True
        if not self.extension_planned:
            return self.immediate is not None
        if self.extended is not None:
            return self.immediate_over
        cut_short = self.immediate is not None and self.immediate.status != "completed"
        return cut_short and self.extended_started is None

    @property
    def amounts(self) -> tuple[float, float] | None:
        """Units delivered immediately and extended so far; None while unknown. From records 20 and 21, else 280."""
        total = None if self.whole is None else self.whole.delivered_u
        later = None if self.extended is None else self.extended.delivered_u
        now = None if self.immediate is None else self.immediate.delivered_u
        if now is None and self.immediate is None and self.immediate_over and self.whole is None:
            now = 0.0
        if now is None and total is not None:
            now = max(total - later, 0.0) if later is not None else self._immediate_of(total)
        if now is None:
            return None
        if later is None:
            so_far = total if total is not None else self._so_far
            later = max(so_far - now, 0.0) if so_far is not None and self.extension_planned else 0.0
        return now, later

    def _immediate_of(self, total: float) -> float:
        """The immediate part of ``total``: at most what was requested."""
        if not self.extension_planned:
            return total
        if self.types and "now" not in self.types:
            return 0.0
        return total if self.now_u is None else min(total, max(self.now_u, 0.0))

    @property
    def _so_far(self) -> float | None:
        return None if self.progress is None else self.progress.delivered_u

    @property
    def start(self) -> SourceRecord:
        """The start of delivery: 55, else the start in 280, else the request, else the times of the parts."""
        records = (self.started, self.delivery_started, self.request, self.extended_started)
        ends = (self.immediate, self.extended, self.whole, self.progress)
        for record in (*records, *(end.mark for end in ends if end is not None)):
            if record is not None:
                return record
        raise ValueError(f"bolus {self.bolus_id} has no record")

    @property
    def extension_start(self) -> datetime:
        """The start of the extended part: 59, else the end of the immediate part, else the start of the bolus."""
        if self.extended_started is not None:
            return self.extended_started.at
        return self.immediate.mark.at if self.immediate is not None else self.start.at

    @property
    def extension_end(self) -> datetime:
        """The end of the extended part, or how far it is known to have come."""
        for end in (self.extended, self.whole, self.progress):
            if end is not None:
                return end.mark.at
        return self.extension_start


def is_other_bolus(bolus: JoinedBolus, event: Event) -> bool:
    """Whether ``event`` with the same bolus id is another bolus, because the id was reused.

    A source without sequence numbers reads its rows repeatedly, perhaps with another time. A row that is already part
    of an open bolus, by its name, is the same one. Two other rows are two boluses.
    """
    body, record = event.body, record_of(event)
    if event.seq is None and any(_row(key) == _row(record.key) for key in bolus.sources):
        return False
    if isinstance(body, events.BolusRequested | events.BolusStarted):
        if bolus.immediate is not None or bolus.extended is not None or bolus.whole is not None:
            return True
        before = bolus.request if isinstance(body, events.BolusRequested) else bolus.started
        return before is not None and abs(record.at - before.at) > SAME_BOLUS
    if isinstance(body, events.BolusExtendedStarted):
        return bolus.extended is not None or bolus.whole is not None
    end: Part | None = None
    if isinstance(body, events.BolusCompleted):
        end = bolus.immediate
    elif isinstance(body, events.BolusExtendedCompleted):
        end = bolus.extended
    elif isinstance(body, events.BolusDelivered):
        end = bolus.whole
    return end is not None and (event.seq is None or abs(record.at - end.mark.at) > SAME_BOLUS)


def _row(key: str) -> str:
    """The part of an event's id before the part of the bolus."""
    return key.rpartition("/")[0] or key


def add_record(bolus: JoinedBolus, event: Event, fingerstick: Fingerstick | None) -> JoinedBolus:
    record, body = record_of(event), event.body
    changes: dict[str, Any] = {"last_at": max(bolus.last_at, record.at)}
    if isinstance(body, events.BolusRequested):
        changes |= _request(bolus, body, record, fingerstick)
    elif isinstance(body, events.BolusStarted):
        changes["started"] = bolus.started or record
        changes["now_u"] = _number(body.size_u, bolus.now_u)
    elif isinstance(body, events.BolusExtendedStarted):
        changes["extended_started"] = bolus.extended_started or record
        changes["extended_u"] = _number(body.size_u, bolus.extended_u)
    elif isinstance(body, events.BolusDelivered):
        changes |= _delivery(bolus, body, record, event.received_at)
    elif isinstance(body, events.BolusCompleted):
        changes |= _completion(bolus, body)
        if not _is_valid_end(bolus.immediate, event):
            changes["immediate"] = Part(
                mark=record,
                received_at=event.received_at,
                status=body.status,
                delivered_u=_number(body.delivered_u),
                requested_u=_number(body.requested_u),
            )
    elif isinstance(body, events.BolusExtendedCompleted) and not _is_valid_end(bolus.extended, event):
        changes["extended"] = Part(
            mark=record,
            received_at=event.received_at,
            status=body.status,
            delivered_u=_number(body.delivered_u),
            requested_u=_number(body.requested_u),
            duration_min=_number(body.duration_min),
        )
    repeats = (
        isinstance(body, events.BolusDelivered) and "whole" not in changes and changes.get("delivery_started") != record
    )
    if not repeats and record.key not in bolus.sources:
        changes["sources"] = (*bolus.sources, record.key)
    return attrs.evolve(bolus, **changes)


def _is_valid_end(end: Part | None, event: Event) -> bool:
    """Whether ``end`` stays instead of ``event``'s end: without sequence numbers, the one read last counts."""
    return end is not None and event.seq is None and (end.mark.seq is not None or end.received_at > event.received_at)


def _request(
    bolus: JoinedBolus, body: events.BolusRequested, record: SourceRecord, fingerstick: Fingerstick | None
) -> dict[str, Any]:
    changes: dict[str, Any] = {"request": bolus.request or record}
    if body.part == 1:
        changes["bolus_type"] = body.bolus_type
        changes["carbs_g"] = _number(body.carbs_g, bolus.carbs_g)
        if body.glucose_mg_dl is not None:
            changes["glucose_mg_dl"] = _number(body.glucose_mg_dl)
            changes["glucose_kind"] = "Finger" if _typed(body.glucose_mg_dl, record, fingerstick) else "Sensor"
    elif body.part == 2:
        changes["options"] = body.options
        changes["immediate_percent"] = _number(body.immediate_percent)
        changes["override"] = bolus.override or bool(body.user_override)
        changes["declined_correction"] = bool(body.declined_correction)
    else:
        changes["food_u"] = _number(body.food_u)
        changes["correction_u"] = _number(body.correction_u, bolus.correction_u)
        changes["total_u"] = _number(body.total_u, bolus.total_u)
    return changes


def _delivery(
    bolus: JoinedBolus, body: events.BolusDelivered, record: SourceRecord, received_at: datetime
) -> dict[str, Any]:
    now, later = _number(body.requested_now_u), _number(body.requested_later_u)
    changes: dict[str, Any] = {
        "types": tuple(body.types or bolus.types),
        "bolus_source": body.bolus_source or bolus.bolus_source,
        "override": bolus.override or "override" in body.types,
        "now_u": _number(now, bolus.now_u),
        "extended_u": _number(later, bolus.extended_u),
        "correction_u": bolus.correction_u if bolus.correction_u is not None else _number(body.correction_u),
        "total_u": bolus.total_u if now is None else now + (later or 0.0),
    }
    delivered = _number(body.delivered_u)
    if body.status == "completed":
        changes["whole"] = Part(
            mark=record, received_at=received_at, status="ended", delivered_u=delivered, requested_u=changes["total_u"]
        )
    elif delivered == 0:
        changes["delivery_started"] = bolus.delivery_started or record
    elif delivered is not None and (bolus.progress is None or delivered >= bolus.progress.delivered_u):
        changes["progress"] = BolusProgress(mark=record, delivered_u=delivered)
    return changes


def _completion(bolus: JoinedBolus, body: events.BolusCompleted) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "bolus_source": bolus.bolus_source or body.bolus_source,
        "said": body.notes or bolus.said,
    }
    if bolus.carbs_g is None:
        changes["carbs_g"] = _number(body.carbs_g)
    if bolus.glucose_mg_dl is None and body.glucose_mg_dl is not None:
        changes["glucose_mg_dl"] = _number(body.glucose_mg_dl)
    return changes


def _typed(glucose_mg_dl: float, record: SourceRecord, fingerstick: Fingerstick | None) -> bool:
    return (
        fingerstick is not None
        and fingerstick.typed
        and fingerstick.glucose_mg_dl == glucose_mg_dl
        and timedelta() <= record.at - fingerstick.at <= FINGERSTICK_BEFORE
    )


def _number(value: float | None, otherwise: float | None = None) -> float | None:
    """Convert to float; -1 for NaN: a state has no NaN, and -1 is refused like any impossible amount."""
    if value is None:
        return otherwise
    return float(value) if math.isfinite(value) else -1.0
