"""Read the therapy timeline: basal by kind, suspensions, sleep and exercise, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from tconnectsync import events
from tconnectsync_tconnect.rows import timestamps as wall
from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.row_event import RowEvent

BASAL, SUSPENSION, RESUMPTION, MODE = "timeline basal", "timeline suspension", "timeline resumption", "timeline event"
_SOURCES = {0: "suspended", 1: "profile", 2: "temp_rate", 3: "algorithm"}
_REASONS = {"manual": "user", "site-cart": "user", "alarm": "alarm", "control-iq": "plgs", "basal-iq": "plgs"}
_CARRIED_OVER = frozenset({"previous", "basal-profile"})
"""Rows that are no suspensions of their own: a repetition after midnight, and one that the profile explains."""
_MODES = {1: "sleep", 2: "exercise"}
_MOST_S = 7 * 86_400


@attrs.frozen(kw_only=True)
class BasalTimelineRow:
    """A basal row: the rate from ``at`` for ``span_s`` seconds."""

    at: datetime
    span_s: int
    rate_u_per_h: float
    type: int
    row: Mapping[str, Any]

    @property
    def end(self) -> datetime:
        return self.at + timedelta(seconds=self.span_s)


@attrs.frozen(kw_only=True)
class Suspension:
    at: datetime
    reason: str
    row: Mapping[str, Any]


@attrs.frozen(kw_only=True)
class ModeRow:
    """Sleep or exercise, from ``at`` to ``end``."""

    at: datetime
    end: datetime
    mode: str
    row: Mapping[str, Any]


def segment_of(row: Mapping[str, Any]) -> BasalTimelineRow:
    """Read a row of one of the three basal lists. Raises BadRow."""
    kind = wall.plain(row.get("type"))
    return BasalTimelineRow(
        at=wall.at_seconds(row),
        span_s=_span_s(row),
        rate_u_per_h=wall.number(row, "y"),
        type=kind if type(kind) is int else -1,
        row=row,
    )


def suspension_of(row: Mapping[str, Any]) -> Suspension | None:
    """Read a suspension row; None if it is no suspension of its own. Raises BadRow."""
    reason = str(row.get("suspendReason") or "unknown")
    return None if reason in _CARRIED_OVER else Suspension(at=wall.at_seconds(row), reason=reason, row=row)


def mode_of(row: Mapping[str, Any]) -> ModeRow | None:
    """Read a row of the events; None if it is neither sleep nor exercise. Raises BadRow."""
    kind = wall.plain(row.get("eventType"))
    mode = _MODES.get(kind) if type(kind) is int else None
    if mode is None:
        return None
    at = wall.at_seconds(row)
    return ModeRow(at=at, end=at + timedelta(seconds=_span_s(row)), mode=mode, row=row)


def basal(row: Mapping[str, Any], around: Mapping[str, Any]) -> Sequence[RowEvent]:
    """``basal.delivered``; ``suspended`` in the context is the reason of the suspension that begins with it."""
    segment = segment_of(row)
    explained = around.get("suspended") is not None and segment.rate_u_per_h == 0
    body = events.BasalDelivered(
        rate_u_per_h=segment.rate_u_per_h,
        rate_source="suspended" if explained else _SOURCES.get(segment.type, "unknown"),
        span_s=segment.span_s,
    )
    return [named("basal.delivered", segment.at, body)]


def suspended(row: Mapping[str, Any], _around: Mapping[str, Any]) -> Sequence[RowEvent]:
    """``pumping.suspended`` for a suspension without a basal row."""
    found = suspension_of(row)
    if found is None:
        return []
    body = events.PumpingSuspended(reason=_REASONS.get(found.reason, found.reason))
    return [named("pumping.suspended", found.at, body)]


def resumed(_row: Mapping[str, Any], around: Mapping[str, Any]) -> Sequence[RowEvent]:
    """``pumping.resumed`` at the time, ``at``, of the basal that ends a suspension. Raises BadRow."""
    try:
        at = datetime.fromisoformat(str(around.get("at")))
    except ValueError:
        raise BadRow("is not a time", column="at") from None
    return [named("pumping.resumed", at, events.PumpingResumed())]


def mode_changed(row: Mapping[str, Any], around: Mapping[str, Any]) -> Sequence[RowEvent]:
    """``mode.changed`` at the start of a row, or at its ``end``, to the then current ``mode``."""
    found = mode_of(row)
    if found is None:
        return []
    after = str(around.get("mode", found.mode))
    ends = bool(around.get("ends"))
    body = events.ModeChanged(
        mode=after, previous=found.mode if ends else None, action=f"{'stop' if ends else 'start'}_{found.mode}"
    )
    return [named("mode.changed", found.end if ends else found.at, body)]


def named(kind: str, at: datetime, body: events.Body) -> RowEvent:
    """A fact named by its kind and time, as in every other format."""
    return RowEvent(name=f"{kind}:{at.isoformat()}", kind=kind, at=at, body=body)


def _span_s(row: Mapping[str, Any]) -> int:
    found = wall.number(row, "duration")
    if not 0 <= found <= _MOST_S:
        raise BadRow("is not a duration", column="duration")
    return round(found)
