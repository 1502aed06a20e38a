"""Basal rates: one point where each span of a constant rate begins.

``tconnectsync.statistics`` and Nightscout's fold read the same records as spans. A point has one time and no end: a rate lasts
until the next point, so this fold need not know what confirms a rate. A chart must not continue a rate that has ended:
a suspension and a pump that is taken off are points with the rate 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import attrs

from tconnectsync import Document, Event, events
from tconnectsync.events.basal_rates import CONFIRMED_FOR, JOINT
from tconnectsync.events.limits import MAX_RATE_U_PER_H, is_possible
from tconnectsync.events.source_record import record_of, utc_of
from tconnectsync_influxdb.folds.point_documents import point_document


@attrs.frozen(kw_only=True)
class BasalRateState:
    """The present span (``rate_u_per_h`` None: unknown), and until when it is known to last (None: until the next change)."""

    worn: bool = True
    rate_u_per_h: float | None = None
    rate_source: str = ""
    suspended: bool = False
    delivered: bool = False
    until: datetime | None = None


class BasalPointFold:
    """``basal``: the rate from record 279 or a row with its own length, else from record 3, and 0 during a suspension.

    A pump that is taken off gets a last point with the rate 0, so that no chart continues its line.
    """

    name = "basal"
    version = 1
    kinds = frozenset(
        {"basal.delivered", "basal.rate_changed", "pumping.resumed", "pumping.suspended", "wear.began", "wear.ended"}
    )
    state_type = BasalRateState

    def initial(self) -> BasalRateState:
        """An active pump with no known rate."""
        return BasalRateState()

    def step(self, state: BasalRateState, event: Event) -> tuple[BasalRateState, Sequence[Document]]:
        """Return the state after ``event``, and the point of the span that began."""
        body = event.body
        if isinstance(body, events.WearBegan):
            return BasalRateState(delivered=state.delivered), ()
        if isinstance(body, events.WearEnded):
            had_rate = state.worn and state.rate_u_per_h is not None
            point = _point(event, 0.0, "not worn") if had_rate else ()
            return BasalRateState(worn=False, delivered=state.delivered), point
        if not state.worn:
            return state, ()
        if isinstance(body, events.PumpingSuspended):
            suspended = attrs.evolve(state, rate_u_per_h=0.0, rate_source="suspended", suspended=True, until=None)
            return suspended, () if state.suspended else _point(event, 0.0, "suspended")
        if isinstance(body, events.PumpingResumed):
            return (attrs.evolve(state, rate_u_per_h=None, suspended=False) if state.suspended else state), ()
        if isinstance(body, events.BasalDelivered):
            span = CONFIRMED_FOR if body.span_s is None else timedelta(seconds=max(body.span_s, 0))
            return _rate(state, event, body.rate_u_per_h, body.rate_source, span, delivered=True)
        at = utc_of(event)
        if state.delivered and state.until is not None and at <= state.until:
            return state, ()  # the delivered rate has the same information and more
        return _rate(state, event, body.rate_u_per_h, "change", CONFIRMED_FOR if state.delivered else None)

    def running(self, state: BasalRateState) -> Sequence[Document]:  # noqa: ARG002 - the protocol's signature
        """Nothing: the beginning of a span does not change."""
        return ()


def _rate(
    state: BasalRateState,
    event: Event,
    rate: float,
    rate_source: str,
    span: timedelta | None,
    *,
    delivered: bool = False,
) -> tuple[BasalRateState, Sequence[Document]]:
    at = utc_of(event)
    if span == timedelta() or (state.suspended and rate == 0):
        return state, ()
    known = is_possible(rate, 0.0, MAX_RATE_U_PER_H)
    until = None if span is None else at + span
    continues = (
        state.rate_u_per_h is not None
        and (state.rate_u_per_h, state.rate_source) == (rate, rate_source)
        and (state.until is None or at <= state.until + JOINT)
    )
    changed = attrs.evolve(
        state,
        rate_u_per_h=float(rate) if known else None,
        rate_source=rate_source,
        suspended=False,
        delivered=state.delivered or delivered,
        until=until,
    )
    return changed, () if continues else _point(event, rate, rate_source)


def _point(event: Event, rate: float, rate_source: str) -> Sequence[Document]:
    return (point_document("basal", record_of(event), fields={"rate_u_per_h": rate, "rate_source": rate_source}),)
