"""Boluses: the records of one bolus joined into one point, at the start of delivery."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from tconnectsync import Document, Event, events
from tconnectsync.events.boluses import is_automatic
from tconnectsync.events.limits import MAX_BOLUS_U, is_possible
from tconnectsync_influxdb.folds.point_documents import PointRecord, point_document, record_of, within

QUIET, EXTENDED_QUIET = timedelta(hours=6), timedelta(hours=12)
"""A bolus without a record for so long is finished; an extended part without an end lasts eight hours at most."""
SAME_BOLUS = timedelta(minutes=10)
"""A record that repeats a part of the bolus within this time belongs to it; later the pump has used the number again."""
_MOST_OPEN = 64
_ENDS = frozenset({"bolus.completed", "bolus.extended_completed"})
_BEGINS = frozenset({"bolus.requested", "bolus.started"})


@attrs.frozen(kw_only=True)
class OpenBolusPoint:
    """A bolus of the last hours, as far as it is known. Amounts in U; None: not recorded.

    ``row`` names the row of a source without sequence numbers. ``seen``: the kinds of records so far.
    """

    bolus_id: int
    row: str
    first: PointRecord
    last_at: datetime
    request: PointRecord | None = None
    start: PointRecord | None = None
    seen: tuple[str, ...] = ()
    automatic: bool = False
    extended: bool = False
    status: str | None = None
    carbs_g: float | None = None
    requested_u: float | None = None
    immediate_u: float | None = None
    extended_u: float | None = None
    together_u: float | None = None
    duration_min: float | None = None

    @property
    def insulin_u(self) -> float | None:
        """What was delivered so far. Two kinds of records report the same insulin, so the larger sum is the complete one."""
        amounts = (self.immediate_u, self.extended_u, self.together_u)
        for amount in amounts:
            if amount is not None and not is_possible(amount, 0.0, MAX_BOLUS_U):
                return amount  # impossible: the document says so
        if all(amount is None for amount in amounts):
            return None
        return max((self.immediate_u or 0.0) + (self.extended_u or 0.0), self.together_u or 0.0)

    @property
    def later_u(self) -> float | None:
        """The extended part of it."""
        if self.extended_u is not None or self.insulin_u is None or not self.extended or self.immediate_u is None:
            return self.extended_u
        return self.insulin_u - self.immediate_u

    @property
    def kind(self) -> str:
        """The tag ``kind``."""
        return "extended" if self.extended else "automatic" if self.automatic else "standard"


@attrs.frozen(kw_only=True)
class BolusPointState:
    """The boluses of the last hours."""

    open: tuple[OpenBolusPoint, ...] = ()


class BolusPointFold:
    """Records 64, 65, 66, 55, 59, 280, 20 and 21 as one ``bolus`` for each bolus that delivered insulin or has carbs."""

    name = "boluses"
    version = 2
    kinds = _ENDS | _BEGINS | {"bolus.delivered", "bolus.extended_started"}
    state_type = BolusPointState

    def initial(self) -> BolusPointState:
        """No bolus known."""
        return BolusPointState()

    def step(self, state: BolusPointState, event: Event) -> tuple[BolusPointState, Sequence[Document]]:
        """Return the state after ``event``, and the boluses that are now finished."""
        record, row = record_of(event), _row(event)
        closing = [bolus for bolus in state.open if _is_quiet(bolus, record.at)]
        keeping = [bolus for bolus in state.open if not _is_quiet(bolus, record.at)]
        bolus = next((known for known in keeping if (known.bolus_id, known.row) == (event.body.bolus_id, row)), None)
        if bolus is not None:
            keeping.remove(bolus)
            if _is_other(bolus, event.kind, record):
                closing.append(bolus)
                bolus = None
        if bolus is None:
            bolus = OpenBolusPoint(bolus_id=event.body.bolus_id, row=row, first=record, last_at=record.at)
        keeping.append(_with(bolus, event, record))
        closing.extend(keeping[:-_MOST_OPEN])
        return BolusPointState(open=tuple(keeping[-_MOST_OPEN:])), _documents(closing)

    def running(self, state: BolusPointState) -> Sequence[Document]:
        """The boluses of the last hours; late records may change them."""
        return _documents(state.open)


def _row(event: Event) -> str:
    """ "" for a numbered record; else the part of the event's id before the part of the bolus."""
    return "" if event.seq is not None else event.id.rpartition("/")[0] or event.id


def _is_quiet(bolus: OpenBolusPoint, now: datetime) -> bool:
    waits = bolus.extended and "bolus.extended_completed" not in bolus.seen
    return now - bolus.last_at > (EXTENDED_QUIET if waits else QUIET)


def _is_other(bolus: OpenBolusPoint, kind: str, record: PointRecord) -> bool:
    if record.seq is None or within(SAME_BOLUS, bolus.last_at, record.at):
        return False
    ended = not _ENDS.isdisjoint(bolus.seen)
    return (kind in _BEGINS and (ended or kind in bolus.seen)) or (kind in _ENDS and kind in bolus.seen)


def _with(bolus: OpenBolusPoint, event: Event, record: PointRecord) -> OpenBolusPoint:
    changes: dict[str, Any] = {
        "last_at": max(bolus.last_at, record.at),
        "automatic": bolus.automatic or is_automatic(event.body),
        "seen": bolus.seen if event.kind in bolus.seen else (*bolus.seen, event.kind),
    }
    body = event.body
    if isinstance(body, events.BolusRequested):
        changes |= {
            "request": bolus.request or record,
            "carbs_g": _number(body.carbs_g, bolus.carbs_g),
            "requested_u": _number(body.total_u, bolus.requested_u),
            "duration_min": _number(body.extended_duration_min or None, bolus.duration_min),
            "extended": bolus.extended or "extended" in (body.options or ""),
        }  # fmt: skip
    elif isinstance(body, events.BolusStarted):
        changes["start"] = record if bolus.start is None or "bolus.started" not in bolus.seen else bolus.start
    elif isinstance(body, events.BolusExtendedStarted):
        changes["extended"] = True
    elif isinstance(body, events.BolusDelivered):
        changes |= _delivery(bolus, body, record)
    elif isinstance(body, events.BolusCompleted):
        changes |= {
            "immediate_u": _number(body.delivered_u, bolus.immediate_u),
            "requested_u": bolus.requested_u if bolus.requested_u is not None else _number(body.requested_u),
            "carbs_g": bolus.carbs_g if bolus.carbs_g is not None else _number(body.carbs_g),
            "status": body.status,
        }
    elif isinstance(body, events.BolusExtendedCompleted):
        changes |= {
            "extended": True,
            "extended_u": _number(body.delivered_u, bolus.extended_u),
            "duration_min": _number(body.duration_min, bolus.duration_min),
            "status": body.status,
        }
    return attrs.evolve(bolus, **changes)


def _delivery(bolus: OpenBolusPoint, body: events.BolusDelivered, record: PointRecord) -> dict[str, Any]:
    so_far, now = _number(body.delivered_u, bolus.together_u), body.requested_now_u
    changes: dict[str, Any] = {
        "extended": bolus.extended or "later" in body.types,
        "duration_min": _number(body.extended_duration_min or None, bolus.duration_min),
        "together_u": so_far if so_far is None or so_far < 0 else max(so_far, bolus.together_u or 0.0),
    }
    if now is not None and bolus.requested_u is None:
        changes["requested_u"] = _number(now + (body.requested_later_u or 0.0))
    if body.status != "completed" and not body.delivered_u and bolus.start is None:
        changes["start"] = record
    return changes


def _number(value: float | None, otherwise: float | None = None) -> float | None:
    """Convert to float; -1 for NaN: a state has no NaN, and -1 is refused like any impossible amount."""
    if value is None:
        return otherwise
    return float(value) if math.isfinite(value) else -1.0


def _documents(boluses: Iterable[OpenBolusPoint]) -> Sequence[Document]:
    return [_document(bolus) for bolus in boluses if bolus.insulin_u or bolus.carbs_g]


def _document(bolus: OpenBolusPoint) -> Document:
    """The identity is that of the first record; the time is the start of delivery, else the request."""
    fields = {
        "insulin_u": bolus.insulin_u,
        "extended_u": bolus.later_u if bolus.extended else None,
        "requested_u": bolus.requested_u,
        "carbs_g": bolus.carbs_g or None,
        "duration_min": bolus.duration_min if bolus.extended else None,
        "status": bolus.status,
    }
    at = (bolus.start or bolus.request or bolus.first).at
    return point_document("bolus", bolus.first, at=at, kind=bolus.kind, fields=fields)
