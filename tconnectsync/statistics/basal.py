"""Basal rates as spans: when which rate was delivered, and when delivery was suspended.

``basal.delivered`` (record 279, or a row with its own length) is better than ``basal.rate_changed`` (record 3), which reports
the same delivery: it is ignored while a delivered rate applies.

Nightscout's and InfluxDB's folds read the same records, but not for sums. Sums need the end of each span, and nothing after
the newest record. Nightscout's fold draws the current span ahead, and InfluxDB's stores no ends. The caller removes the time
in which another pump was worn, so this reader does not decide that.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import attrs

from tconnectsync import events
from tconnectsync.events import Event
from tconnectsync.events.basal_rates import CONFIRMED_FOR, JOINT, RESUME_PAIR, may_resume
from tconnectsync.events.limits import MAX_RATE_U_PER_H, is_possible
from tconnectsync.statistics.therapy import BasalSpan

KINDS = frozenset({"basal.delivered", "basal.rate_changed", "pumping.resumed", "pumping.suspended"})
NO_SIGNS = frozenset({"clock.changed", "settings.captured", "unknown", "wear.began", "wear.ended"})
"""Kinds that do not confirm that a rate or suspension still applies: their time may be wrong."""


@attrs.define(kw_only=True)
class _RunningRate:
    """The rate that applies now.

    ``until``: it applies at most so long without another record; None: until something ends it. ``told_at``: the newest record
    of this rate. ``seen_at``: the newest event of any kind that confirms it.
    """

    begin: datetime
    rate_u_per_h: float
    rate_source: str
    until: datetime | None
    told_at: datetime
    seen_at: datetime
    delivered: bool = False
    spanned: bool = False
    suspended: bool = False
    reason: str | None = None

    def continues(self, other: _RunningRate) -> bool:
        """Whether ``other``, which is later, is the same rate without a gap."""
        same = (self.rate_u_per_h, self.rate_source, self.delivered, self.spanned, self.suspended) == (
            other.rate_u_per_h, other.rate_source, other.delivered, other.spanned, other.suspended,
        )  # fmt: skip
        return same and (self.until is None or other.begin <= self.until + (JOINT if self.spanned else timedelta()))


@attrs.define(kw_only=True)
class BasalReader:
    """Reads the spans of one stream. Give it events with UTC times in the pump's order, then call :meth:`end`."""

    pump: str = ""
    _running: _RunningRate | None = None
    _zero: _RunningRate | None = None
    """A rate of 0 as the newest rate during a suspension. If the pump resumes at once, it resumes with it."""
    _records_deliveries: bool = False

    def add(self, event: Event) -> Iterator[BasalSpan]:
        """Yield the span that ``event`` ended, if it did. Kinds other than :data:`KINDS` only confirm the current rate."""
        at, body = event.at, event.body
        if at is None:
            return
        if event.kind not in KINDS:
            if self._running is not None and self._running.until is None and event.kind not in NO_SIGNS:
                self._running.seen_at = max(self._running.seen_at, at)
            return
        if isinstance(body, events.BasalDelivered):
            yield from self._delivered(at, body)
        elif isinstance(body, events.BasalRateChanged):
            yield from self._changed(at, body)
        elif isinstance(body, events.PumpingSuspended):
            yield from self._suspended(at, body)
        elif isinstance(body, events.PumpingResumed):
            yield from self._resumed(at)

    def end(self, at: datetime) -> Iterator[BasalSpan]:
        """Yield the rate that still applies, up to ``at``: the newest event."""
        yield from self._end_at(at)

    def _delivered(self, at: datetime, body: events.BasalDelivered) -> Iterator[BasalSpan]:
        span_s = body.span_s
        if span_s is not None and span_s <= 0:
            return
        if not is_possible(body.rate_u_per_h, 0.0, MAX_RATE_U_PER_H):
            yield from self._unknown(at)
            return
        running = self._running
        self._records_deliveries = True
        rate = _RunningRate(
            begin=at,
            rate_u_per_h=body.rate_u_per_h,
            rate_source=body.rate_source or "unknown",
            until=at + (CONFIRMED_FOR if span_s is None else timedelta(seconds=span_s)),
            told_at=at,
            seen_at=at,
            delivered=True,
            spanned=span_s is not None,
        )
        if running is not None and running.suspended and body.rate_u_per_h == 0:
            self._zero = rate if may_resume(body) else None
            return
        yield from self._begin(rate)

    def _changed(self, at: datetime, body: events.BasalRateChanged) -> Iterator[BasalSpan]:
        running = self._running
        if running is not None and running.delivered and running.until is not None and at <= running.until:
            return
        if not is_possible(body.rate_u_per_h, 0.0, MAX_RATE_U_PER_H):
            yield from self._unknown(at)
            return
        rate = _RunningRate(
            begin=at,
            rate_u_per_h=body.rate_u_per_h,
            rate_source="temp_rate" if "temp_rate_start" in body.reasons else "rate_change",
            # if the pump records deliveries, a gap means missing data, and a change applies no longer than a delivery
            until=at + CONFIRMED_FOR if self._records_deliveries else None,
            told_at=at,
            seen_at=at,
        )
        if running is not None and running.suspended and body.rate_u_per_h == 0:
            self._zero = rate if may_resume(body) else None
            return
        yield from self._begin(rate)

    def _suspended(self, at: datetime, body: events.PumpingSuspended) -> Iterator[BasalSpan]:
        self._zero = None
        yield from self._begin(
            _RunningRate(
                begin=at,
                rate_u_per_h=0.0,
                rate_source="suspended",
                until=None,
                told_at=at,
                seen_at=at,
                suspended=True,
                reason=body.reason,
            )
        )

    def _resumed(self, at: datetime) -> Iterator[BasalSpan]:
        running, zero = self._running, self._zero
        if running is None:
            return
        if running.suspended and zero is not None and running.begin <= zero.begin and at - zero.begin <= RESUME_PAIR:
            yield from self._begin(zero)
        elif running.suspended or running.rate_source == "suspended":
            yield from self._end_at(at)
        elif at - running.told_at > RESUME_PAIR and not running.spanned:
            yield from self._end_at(running.seen_at)  # the suspension before it is missing

    def _unknown(self, at: datetime) -> Iterator[BasalSpan]:
        self._zero = None
        if self._running is not None and not self._running.suspended:
            yield from self._end_at(at)

    def _begin(self, other: _RunningRate) -> Iterator[BasalSpan]:
        running = self._running
        if running is not None and running.begin <= other.begin and running.continues(other):
            running.told_at = running.seen_at = other.told_at
            if running.until is not None and other.until is not None:
                running.until = max(running.until, other.until)
            return
        yield from self._end_at(other.begin)
        self._running = other

    def _end_at(self, at: datetime) -> Iterator[BasalSpan]:
        running, self._running = self._running, None
        if running is None:
            return
        end = at if running.until is None else min(at, running.until)
        if end > running.begin:
            yield BasalSpan(
                begin=running.begin,
                end=end,
                rate_u_per_h=running.rate_u_per_h,
                rate_source=running.rate_source,
                suspended=running.suspended or running.rate_source == "suspended",
                reason=running.reason,
                pump=self.pump,
            )
