"""Boluses: each bolus as one point at the start of its delivery."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from tconnectsync import Document, Event
from tconnectsync.events.bolus_join import KINDS, join_record
from tconnectsync.events.boluses import JoinedBolus
from tconnectsync.events.limits import MAX_BOLUS_U, is_possible
from tconnectsync_influxdb.folds.point_documents import point_document


@attrs.frozen(kw_only=True)
class BolusPointState:
    """The boluses of the last hours."""

    open: tuple[JoinedBolus, ...] = ()


class BolusPointFold:
    """Records 64, 65, 66, 55, 59, 280, 20 and 21 as one ``bolus`` for each bolus that delivered insulin or has carbs."""

    name = "boluses"
    version = 4
    kinds = KINDS
    state_type = BolusPointState

    def initial(self) -> BolusPointState:
        """No bolus known."""
        return BolusPointState()

    def step(self, state: BolusPointState, event: Event) -> tuple[BolusPointState, Sequence[Document]]:
        """Return the state after ``event``, and the boluses that are now finished."""
        still_open, finished = join_record(state.open, event, JoinedBolus)
        return BolusPointState(open=still_open), _documents(finished)

    def running(self, state: BolusPointState) -> Sequence[Document]:
        """The boluses of the last hours; late records may change them."""
        return _documents(state.open)


def _documents(boluses: Iterable[JoinedBolus]) -> Sequence[Document]:
    return [_document(bolus) for bolus in boluses if _insulin_u(bolus) or bolus.carbs_g]


def _insulin_u(bolus: JoinedBolus) -> float | None:
    """The units delivered so far, by the larger of two reports. An impossible one stays, so that the document is set aside."""
    amounts = bolus.amounts_so_far
    if amounts is None:
        return None
    impossible = (amount for amount in amounts if not is_possible(amount, 0.0, MAX_BOLUS_U))
    return next(impossible, max(sum(amounts), bolus.reported_u or 0.0))


def _document(bolus: JoinedBolus) -> Document:
    """The identity is that of the first record; the time is the start of delivery, else the request."""
    extended = bolus.extension_planned
    fields = {
        "insulin_u": _insulin_u(bolus),
        "extended_u": bolus.amounts_so_far[1] if extended and bolus.amounts_so_far is not None else None,
        "requested_u": bolus.requested_u,
        "carbs_g": bolus.carbs_g or None,
        "duration_min": bolus.extended_duration_min if extended else None,
        "status": bolus.status,
    }
    start = bolus.started or bolus.delivery_started or bolus.request or bolus.first
    kind = "extended" if extended else "automatic" if bolus.automatic else "standard"
    return point_document("bolus", bolus.first, at=start.at, kind=kind, fields=fields)
