"""A span of constant basal rate, and its Temp Basal treatment."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from tconnectsync import Document
from tconnectsync.events.source_record import SourceRecord
from tconnectsync_nightscout.folds.documents import minutes, stamp, treatment, words

SUSPENDED = "suspended"
"""The rate source of a suspension, and of record 279 during one."""

SUSPENSION_AHEAD = timedelta(hours=2)
"""An open suspension is shown this far past the newest event: phones upload about hourly."""
RATE_AHEAD = timedelta(minutes=5)
"""The current rate is shown this far past its newest record: the next one comes five minutes later."""

SUSPENSION_WORDS = {
    "user": "suspended by the wearer",
    "alarm": "suspended by an alarm",
    "malfunction": "suspended by a malfunction of the pump",
    "plgs": "suspended because low glucose was predicted",
}


class RateSpan(msgspec.Struct, frozen=True, kw_only=True):
    """One constant rate. ``first`` names it; it is shown from ``begin`` (later than ``first.at`` after a pump change).

    ``until``: how long it applies at most (None: until something ends it). ``seen_at``: the newest event that confirms
    it. ``delivered``: from a delivery record, ``spanned``: from a row with its own length. ``part`` counts pump
    changes.
    """

    first: SourceRecord
    begin: datetime
    rate_u_per_h: float
    rate_source: str
    seen_at: datetime
    until: datetime | None = None
    delivered: bool = False
    spanned: bool = False
    suspended: bool = False
    reason: str | None = None
    last: SourceRecord | None = None
    part: int = 0

    @property
    def newest_at(self) -> datetime:
        """The time of the last record of this rate."""
        return (self.last or self.first).at

    @property
    def shown_until(self) -> datetime:
        """How far it is shown until something ends it. A row with its own length is shown to its end."""
        if self.spanned and self.until is not None:
            return self.until
        ahead = self.seen_at + (SUSPENSION_AHEAD if self.suspended else RATE_AHEAD)
        return ahead if self.until is None else min(ahead, self.until)

    def seen(self, at: datetime, record: SourceRecord | None = None) -> RateSpan:
        """Return the span, still current at ``at``; ``record`` confirms it."""
        return msgspec.structs.replace(self, seen_at=max(self.seen_at, at), last=record or self.last)

    def confirmed(self, record: SourceRecord, until: datetime | None) -> RateSpan:
        """Return the span, confirmed by another record of the same rate."""
        if until is not None and self.until is not None:
            until = max(until, self.until)
        return msgspec.structs.replace(self, seen_at=max(self.seen_at, record.at), until=until, last=record)

    def ended(self, at: datetime, *, shown: datetime | None = None) -> Sequence[Document]:
        """The final document of a span that ended at ``at`` (its document at ``shown``); none if it has no length."""
        if self.until is not None and self.until < at:
            at, shown = self.until, None
        return span_document(self, at, shown=shown)


def span_document(span: RateSpan, end: datetime, *, shown: datetime | None = None) -> Sequence[Document]:
    """The Temp Basal of ``span`` up to ``end``; none if it has no length."""
    if end <= span.begin:
        return ()
    at = stamp(span.begin, span.first.seq)
    duration = (shown or end) - at
    if duration.total_seconds() <= 0:
        return ()
    sources = [span.first.name] if span.last is None else [span.first.name, span.last.name]
    identity = ["basal", span.first.key] if span.part == 0 else ["basal", span.first.key, span.part]
    document = treatment(
        "Temp Basal",
        span.first,
        *identity,
        at=at,
        sources=sources,
        fields={
            "absolute": span.rate_u_per_h,
            "rate": span.rate_u_per_h,
            "duration": minutes(duration),
            "reason": words(span.rate_source),
            "notes": suspension_words(span.reason) if span.suspended else None,
        },
    )
    return (document,)


def suspension_words(reason: str | None) -> str:
    """The reason of a suspension as text."""
    return "Delivery " + SUSPENSION_WORDS.get(reason or "", "suspended")
