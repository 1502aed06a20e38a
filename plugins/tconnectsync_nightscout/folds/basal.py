"""Basal as Temp Basal treatments: one for each span of constant commanded rate and source.

Sources of the rate, best first: record 279 or a row with its own length (``basal.delivered``), then record 3
(``basal.rate_changed``). Both describe the same delivery, so a change is ignored while a delivered rate applies.

``tconnectsync.statistics`` reads the same records for sums. This fold differs, because a site shows the scheduled rate where
no document is: the current span is drawn ahead of the newest record, under an identity that stays while the span grows. It
ends exactly when another pump takes over, and an impossible rate is set aside with the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs
import msgspec

from tconnectsync import Document, Event, events
from tconnectsync.events.basal_rates import CONFIRMED_FOR, JOINT, RESUME_PAIR, may_resume
from tconnectsync.events.limits import MAX_RATE_U_PER_H, is_possible
from tconnectsync.events.source_record import SourceRecord, record_of, utc_of
from tconnectsync_nightscout.folds.basal_spans import SUSPENDED, RateSpan, span_document
from tconnectsync_nightscout.folds.documents import impossible_note, milli, stamp

_RECORDS = frozenset({"basal.delivered", "basal.rate_changed", "pumping.resumed", "pumping.suspended"})
_WEAR = frozenset({"wear.began", "wear.ended"})
_NO_SIGNS = frozenset({"clock.changed", "pump.noted", "settings.captured", "unknown"})
_SIGNS_OF_LIFE = frozenset(events.BODIES) - events.FACTS - _RECORDS - _WEAR - _NO_SIGNS
"""Event kinds that confirm a suspension, or a rate that applies until the next change.

Omitted: settings (they carry the account's time), clock changes and unknown records (their time may be wrong), and
diagnostics (a third of a whole response; reading them is not worth it).
"""


class BasalState(msgspec.Struct, frozen=True, kw_only=True):
    """The current span, whether this pump is active, and when it last recorded a delivered rate.

    ``zero``: a rate of 0 as the newest rate during a suspension. If the pump resumes at once, it resumes with it.
    """

    worn: bool = True
    run: RateSpan | None = None
    zero: RateSpan | None = None
    delivered: SourceRecord | None = None


@attrs.frozen(kw_only=True)
class BasalFold:
    """``basal.delivered``, ``basal.rate_changed``, suspensions and pump changes as Temp Basal treatments.

    A rate ends at the next basal record or suspension, at most 15 minutes after the last record that confirmed it;
    then there is a gap. A suspension ends at ``pumping.resumed`` or a rate above 0. Spans of an inactive pump are
    not shown.

    The current span is shown ahead of the newest record (see :attr:`RateSpan.shown_until`), and cut when it ends.
    """

    name = "basal"
    version = 3
    kinds = _SIGNS_OF_LIFE | _RECORDS | _WEAR
    only_times = _SIGNS_OF_LIFE
    state_type = BasalState

    def initial(self) -> BasalState:
        """An active pump with no known rate."""
        return BasalState()

    def step(self, state: BasalState, event: Event) -> tuple[BasalState, Sequence[Document]]:
        """Return the state after ``event``, and the span that it ended."""
        body = event.body
        if isinstance(body, events.BasalDelivered):
            return _delivered(state, event, body)
        if isinstance(body, events.BasalRateChanged):
            return _changed(state, event, body)
        if isinstance(body, events.PumpingSuspended):
            return _suspended(state, event, body)
        if isinstance(body, events.PumpingResumed):
            return _resumed(state, event)
        if isinstance(body, events.WearEnded):
            return _taken_off(state, event)
        if isinstance(body, events.WearBegan):
            return _put_on(state, event)
        run = state.run
        if run is not None and run.until is None:
            return msgspec.structs.replace(state, run=run.seen(utc_of(event))), ()
        return state, ()

    def running(self, state: BasalState) -> Sequence[Document]:
        """The current span and a little ahead; otherwise the site shows the scheduled rate until the next upload."""
        run = state.run
        if run is None or not state.worn:
            return ()
        return span_document(run, run.shown_until)


def _delivered(state: BasalState, event: Event, body: events.BasalDelivered) -> tuple[BasalState, Sequence[Document]]:
    at, run, record = utc_of(event), state.run, record_of(event)
    span_s = body.span_s
    if span_s is not None and span_s < 0:
        return state, (impossible_note("basal span in seconds", span_s, record, "basal-impossible", record.key),)
    if not is_possible(body.rate_u_per_h, 0.0, MAX_RATE_U_PER_H):
        return _unknown_rate(state, record, body.rate_u_per_h)
    if span_s == 0:
        return state, ()
    rate, rate_source = milli(body.rate_u_per_h), body.rate_source or "unknown"
    hold = CONFIRMED_FOR if span_s is None else timedelta(seconds=span_s)
    until, spanned = at + hold, span_s is not None
    if (
        run is not None
        and run.until is not None
        and run.delivered
        and run.spanned == spanned
        and run.rate_u_per_h == rate
        and run.rate_source == rate_source
        and run.begin <= at <= run.until + (JOINT if spanned else timedelta())
    ):
        return BasalState(worn=state.worn, run=run.confirmed(record, until), delivered=record), ()
    started = RateSpan(
        first=record,
        begin=at,
        rate_u_per_h=rate,
        rate_source=rate_source,
        delivered=True,
        spanned=spanned,
        until=until,
        seen_at=at,
    )
    if run is not None and run.suspended and rate == 0:
        zero = started if may_resume(body) else None
        return BasalState(worn=state.worn, run=run.seen(at, record), zero=zero, delivered=record), ()
    return BasalState(worn=state.worn, run=started, delivered=record), _ended_by(state, record)


def _changed(state: BasalState, event: Event, body: events.BasalRateChanged) -> tuple[BasalState, Sequence[Document]]:
    at, run = utc_of(event), state.run
    if run is not None and run.delivered and run.until is not None and at <= run.until:
        return state, ()  # the delivered rate has the same information and more
    record = record_of(event)
    if not is_possible(body.rate_u_per_h, 0.0, MAX_RATE_U_PER_H):
        return _unknown_rate(state, record, body.rate_u_per_h)
    rate = milli(body.rate_u_per_h)
    # if a pump records deliveries, a gap means missing data, and a change applies no longer than a delivery
    until = None if state.delivered is None else at + CONFIRMED_FOR
    if (
        run is not None
        and not run.delivered
        and not run.suspended
        and run.rate_u_per_h == rate
        and run.begin <= at
        and (run.until is None or at <= run.until)
    ):
        return msgspec.structs.replace(state, run=run.confirmed(record, until)), ()
    started = RateSpan(
        first=record,
        begin=at,
        rate_u_per_h=rate,
        rate_source="temp_rate" if "temp_rate_start" in body.reasons else "rate_change",
        until=until,
        seen_at=at,
    )
    if run is not None and run.suspended and rate == 0:
        return msgspec.structs.replace(state, run=run.seen(at, record), zero=started if may_resume(body) else None), ()
    return msgspec.structs.replace(state, run=started), _ended_by(state, record)


def _suspended(state: BasalState, event: Event, body: events.PumpingSuspended) -> tuple[BasalState, Sequence[Document]]:
    run, record = state.run, record_of(event)
    if run is not None and run.suspended:
        return msgspec.structs.replace(state, run=run.seen(record.at, record), zero=None), ()
    started = RateSpan(
        first=record,
        begin=record.at,
        rate_u_per_h=0.0,
        rate_source=SUSPENDED,
        suspended=True,
        reason=body.reason,
        seen_at=record.at,
    )
    return msgspec.structs.replace(state, run=started), _ended_by(state, record)


def _resumed(state: BasalState, event: Event) -> tuple[BasalState, Sequence[Document]]:
    at, run, zero = utc_of(event), state.run, state.zero
    if run is None:
        return state, ()
    if run.suspended and zero is not None and run.begin <= zero.begin and at - zero.begin <= RESUME_PAIR:
        return msgspec.structs.replace(state, run=zero, zero=None), _ended_by(state, zero.first)
    if run.suspended or run.rate_source == SUSPENDED:
        record = record_of(event)
        return msgspec.structs.replace(state, run=None), _drawn(
            state, run.seen(at, record).ended(at, shown=stamp(record.at, record.seq))
        )
    if at - run.newest_at <= RESUME_PAIR or run.spanned:
        return state, ()  # the rate with which it resumed came first
    # the suspension before it is missing: the rate is unknown after its last confirmation
    return msgspec.structs.replace(state, run=None), _drawn(state, run.ended(run.seen_at))


def _taken_off(state: BasalState, event: Event) -> tuple[BasalState, Sequence[Document]]:
    if not state.worn:
        return state, ()
    ended = () if state.run is None else _drawn(state, state.run.ended(utc_of(event)))
    return msgspec.structs.replace(state, worn=False), ended


def _put_on(state: BasalState, event: Event) -> tuple[BasalState, Sequence[Document]]:
    if state.worn:
        return state, ()
    if state.run is None:
        return msgspec.structs.replace(state, worn=True), ()
    # the part before the pump change may have been shown with the span's own identity
    run = msgspec.structs.replace(state.run, begin=utc_of(event), part=state.run.part + 1)
    return msgspec.structs.replace(state, worn=True, run=run), ()


def _unknown_rate(state: BasalState, record: SourceRecord, rate: float) -> tuple[BasalState, Sequence[Document]]:
    problem = impossible_note("basal rate in U/h", rate, record, "basal-impossible", record.key)
    run = state.run
    if run is None:
        return state, (problem,)
    if run.suspended:
        return msgspec.structs.replace(state, run=run.seen(record.at), zero=None), (problem,)
    return msgspec.structs.replace(state, run=None), (*_drawn(state, run.ended(record.at)), problem)


def _ended_by(state: BasalState, record: SourceRecord) -> Sequence[Document]:
    """End the current span at the document that begins with ``record``, without gap or overlap."""
    if state.run is None:
        return ()
    run = state.run
    if run.until is not None and run.until <= record.at:
        return _drawn(state, run.ended(run.until))
    return _drawn(state, run.ended(record.at, shown=stamp(record.at, record.seq)))


def _drawn(state: BasalState, documents: Sequence[Document]) -> Sequence[Document]:
    return documents if state.worn else ()
