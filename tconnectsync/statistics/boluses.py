"""Boluses: the records of one bolus joined into one value. Records 64, 65, 66, 55, 59, 280, 20 and 21 report it in parts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs

from tconnectsync import events
from tconnectsync.events import Event
from tconnectsync.events.boluses import is_automatic
from tconnectsync.events.limits import GLUCOSE_MG_DL, MAX_BOLUS_U, MAX_CARBS_G, is_possible
from tconnectsync.statistics.therapy import Bolus

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
LONGEST = timedelta(hours=12)
"""A bolus without a record for this long is finished. An extended part lasts eight hours at most."""
TOLERANCE_U = 0.01


@attrs.define(kw_only=True)
class _End:
    """The end of a part, or of the whole bolus, and the amount that was delivered."""

    at: datetime
    delivered_u: float | None
    status: str


@attrs.define(kw_only=True)
class _Draft:
    """The records of one bolus so far."""

    bolus_id: int
    last_at: datetime
    request: datetime | None = None
    started: datetime | None = None
    delivery_started: datetime | None = None
    extended_started: datetime | None = None
    immediate: _End | None = None
    later: _End | None = None
    whole: _End | None = None
    progress: _End | None = None
    now_u: float | None = None
    later_u: float | None = None
    total_u: float | None = None
    correction_u: float | None = None
    carbs_g: float | None = None
    glucose_mg_dl: float | None = None
    types: tuple[str, ...] = ()
    options: str | None = None
    immediate_percent: float | None = None
    automatic: bool = False
    rows: set[str] = attrs.field(factory=set)

    @property
    def extension_planned(self) -> bool:
        """Whether an extended part was requested."""
        return (
            self.extended_started is not None
            or self.later is not None
            or (self.later_u or 0.0) > 0.0
            or "later" in self.types
            or (self.options in ("extended", "ble_extended") and (self.immediate_percent or 0.0) < 100.0)
        )

    @property
    def amounts(self) -> tuple[float, float]:
        """The units delivered immediately and extended so far: by records 20 and 21, else by 280."""
        total = None if self.whole is None else self.whole.delivered_u
        so_far = total if total is not None else None if self.progress is None else self.progress.delivered_u
        later = None if self.later is None else self.later.delivered_u
        now = None if self.immediate is None else self.immediate.delivered_u
        if now is None and self.immediate is None and so_far is not None:
            now = max(so_far - later, 0.0) if later is not None else self._immediate_of(so_far)
        now = now or 0.0
        if later is None:
            later = max(so_far - now, 0.0) if so_far is not None and self.extension_planned else 0.0
        return now, later

    def _immediate_of(self, total: float) -> float:
        if not self.extension_planned:
            return total
        if self.types and "now" not in self.types:
            return 0.0
        return total if self.now_u is None else min(total, self.now_u)

    def is_other(self, event: Event, at: datetime) -> bool:
        """Whether ``event`` with the same id is another bolus: a pump reuses its ids.

        A source without sequence numbers may read a row again with another time; it is known by its row's name.
        """
        body = event.body
        if event.seq is None and _row(event.id) in self.rows:
            return False
        if isinstance(body, events.BolusRequested | events.BolusStarted):
            if self.immediate or self.later or self.whole:
                return True
            before = self.request if isinstance(body, events.BolusRequested) else self.started
            return before is not None and abs(at - before) > SAME_BOLUS
        if isinstance(body, events.BolusExtendedStarted):
            return bool(self.later or self.whole)
        end = (
            self.immediate
            if isinstance(body, events.BolusCompleted)
            else self.later
            if isinstance(body, events.BolusExtendedCompleted)
            else self.whole
        )
        return end is not None and (event.seq is None or abs(at - end.at) > SAME_BOLUS)

    def add(self, event: Event, at: datetime) -> None:
        """Add the data of ``event``."""
        body = event.body
        self.last_at = max(self.last_at, at)
        self.rows.add(_row(event.id))
        self.automatic = self.automatic or is_automatic(body)
        if isinstance(body, events.BolusRequested):
            self._requested(body, at)
        elif isinstance(body, events.BolusStarted):
            self.started = self.started or at
            self.now_u = _units(body.size_u, self.now_u)
        elif isinstance(body, events.BolusExtendedStarted):
            self.extended_started = self.extended_started or at
            self.later_u = _units(body.size_u, self.later_u)
        elif isinstance(body, events.BolusDelivered):
            self._delivered(body, at)
        elif isinstance(body, events.BolusCompleted):
            self.immediate = _End(at=at, delivered_u=_units(body.delivered_u), status=body.status)
            self.total_u = self.total_u if self.total_u is not None else _units(body.requested_u)
            self.carbs_g = self.carbs_g if self.carbs_g is not None else _carbs(body.carbs_g)
            self.glucose_mg_dl = self.glucose_mg_dl or _glucose(body.glucose_mg_dl)
        elif isinstance(body, events.BolusExtendedCompleted):
            self.later = _End(at=at, delivered_u=_units(body.delivered_u), status=body.status)

    def _requested(self, body: events.BolusRequested, at: datetime) -> None:
        self.request = self.request or at
        if body.part == 1:
            self.carbs_g = _carbs(body.carbs_g)
            self.glucose_mg_dl = _glucose(body.glucose_mg_dl)
        elif body.part == 2:
            self.options, self.immediate_percent = body.options, body.immediate_percent
        else:
            self.correction_u = _units(body.correction_u, self.correction_u)
            self.total_u = _units(body.total_u, self.total_u)

    def _delivered(self, body: events.BolusDelivered, at: datetime) -> None:
        self.types = tuple(body.types or self.types)
        self.now_u = _units(body.requested_now_u, self.now_u)
        self.later_u = _units(body.requested_later_u, self.later_u)
        if self.correction_u is None:
            self.correction_u = _units(body.correction_u)
        delivered = _units(body.delivered_u)
        if body.status == "completed":
            self.whole = _End(at=at, delivered_u=delivered, status="completed")
        elif delivered == 0:
            self.delivery_started = self.delivery_started or at
        elif delivered is not None and (self.progress is None or delivered >= (self.progress.delivered_u or 0.0)):
            self.progress = _End(at=at, delivered_u=delivered, status="running")

    def bolus(self, pump: str) -> Bolus:
        """Return the bolus as far as it is known."""
        now_u, later_u = self.amounts
        started = self.started or self.delivery_started or self.request or self.extended_started or self.last_at
        ended = self._ended_at
        extended = self.extension_planned
        extended_from = extended_until = None
        if extended:
            extended_from = self.extended_started or (self.immediate.at if self.immediate else started)
            last = self.later or self.whole or self.progress
            extended_until = max(extended_from, last.at) if last is not None else extended_from
        requested = self.total_u
        if requested is None and self.now_u is not None:
            requested = self.now_u + (self.later_u or 0.0)
        return Bolus(
            bolus_id=self.bolus_id,
            started_at=started,
            ended_at=ended,
            immediate_u=round(now_u, 3),
            extended_u=round(later_u, 3),
            extended_from=extended_from,
            extended_until=extended_until,
            requested_u=None if requested is None else round(requested, 3),
            carbs_g=self.carbs_g,
            glucose_mg_dl=self.glucose_mg_dl,
            correction_u=self.correction_u,
            automatic=self.automatic,
            extended=extended,
            status=self._status,
            pump=pump,
        )

    @property
    def _ended_at(self) -> datetime | None:
        if not self.extension_planned:
            end = self.immediate or self.whole
        elif self.immediate is not None and self.immediate.status != "completed" and self.extended_started is None:
            end = self.immediate
        else:
            end = self.later or self.whole
        return None if end is None else end.at

    @property
    def _status(self) -> str | None:
        for end in (self.later, self.immediate, self.whole):
            if end is not None:
                return end.status
        return None


@attrs.define(kw_only=True)
class BolusReader:
    """Reads the boluses of one stream. Give it events with UTC times in the pump's order, then call :meth:`end`."""

    pump: str = ""
    _open: dict[int, _Draft] = attrs.field(factory=dict)

    def add(self, event: Event) -> Iterator[Bolus]:
        """Yield the boluses that are finished once ``event`` (of one of :data:`KINDS`) happened."""
        at = event.at
        if at is None or event.kind not in KINDS:
            return
        for quiet in [draft for draft in self._open.values() if at - draft.last_at > LONGEST]:
            yield self._open.pop(quiet.bolus_id).bolus(self.pump)
        bolus_id = event.body.bolus_id
        draft = self._open.get(bolus_id)
        if draft is not None and draft.is_other(event, at):
            yield self._open.pop(bolus_id).bolus(self.pump)
            draft = None
        if draft is None:
            draft = self._open[bolus_id] = _Draft(bolus_id=bolus_id, last_at=at)
        draft.add(event, at)

    def end(self) -> Iterator[Bolus]:
        """Yield the other boluses, also those that are still running."""
        drafts, self._open = self._open, {}
        for draft in drafts.values():
            yield draft.bolus(self.pump)


def _row(id_: str) -> str:
    """The part of an event's id before the part of the bolus."""
    return id_.rpartition("/")[0] or id_


def _units(value: float | None, otherwise: float | None = None) -> float | None:
    return value if is_possible(value, 0.0, MAX_BOLUS_U + TOLERANCE_U) else otherwise


def _carbs(value: float | None) -> float | None:
    return value if is_possible(value, 0.0, MAX_CARBS_G) and value > 0 else None


def _glucose(value: float | None) -> float | None:
    return value if is_possible(value, *GLUCOSE_MG_DL) else None
