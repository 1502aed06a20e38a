"""Decides which offset from UTC a part of a pump's clock has, and why. The choice becomes a ``clock.anchored`` event."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta

import msgspec

from tconnectsync.timeline.pump_clock import Component, zone_offset_after
from tconnectsync.timeline.utc_offsets import HOUR_S, REAL_OFFSETS_S, TO_THE_MINUTE_S, USUAL_DRIFT_S
from tconnectsync.timeline.zones import Zones

FRESH_S = 900.0
IMPOSSIBLE_S = FRESH_S + USUAL_DRIFT_S - HOUR_S + 1
"""An event cannot be later than its upload, but a pump's clock may be fast by 25 minutes. From there on the offset an hour further is
possible: its upload is then as fresh as it may be with a clock that is slow.
"""
FIT_S = (-120.0, 600.0)
"""Normal lag of an upload behind its newest event."""
STALE_S = 2700.0
MIN_MOVE_S = 1800
"""Uploads never change an offset by less: a quarter of an hour may be drift."""
QUARTER_S = 900
"""If the last setting was by this much, uploads may change the offset by it: a journey between India and Nepal."""
QUORUM, QUORUM_SPAN = 3, timedelta(hours=24)
LATE_QUORUM, LATE_SPAN = 6, timedelta(days=3)
MAX_FROM_ZONE_S = 14 * 3600
"""A clock that is further from the configured zone's is wrong by an unknown amount."""
TRIP_S = 9000
"""If an upload looks later than this, but fresh by an earlier setting, the last setting was made on a trip."""
MAX_LEAD = timedelta(days=2)
"""An upload whose newest event is later than it by more is ignored."""

EVIDENCE, AT_CHANGE, AT_FIRST = "evidence", "zone_at_clock_change", "zone_at_first_event"


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """An upload's true UTC time, and the newest pump time (wall clock) in it."""

    at: datetime
    newest: datetime

    def lag_s(self, offset_s: int) -> float:
        """Return the seconds from the newest event to the upload, if the clock is ``offset_s`` ahead of UTC."""
        return (self.at.replace(tzinfo=None) - self.newest).total_seconds() + offset_s


class Anchor(msgspec.Struct, frozen=True, kw_only=True):
    """The offset is ``offset_s`` at ``at_key``. ``basis``: why; ``zone``: the configured zone at the time of the choice."""

    at_key: int
    offset_s: int
    basis: str
    zone: str | None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The anchor of a component now, and one that uploads propose but a later upload has to confirm."""

    anchor: Anchor | None
    proposed: Anchor | None = None


class UploadedOffset(msgspec.Struct, frozen=True, kw_only=True):
    """The last piece's offset by uploads. ``confirmed``: without the newest upload they give the same offset."""

    offset_s: int
    confirmed: bool


def distinct_uploads(pairs: Iterable[Upload], *, bogus: bool = False) -> tuple[Upload, ...]:
    """Return the uploads with new events, in order of time: of several with the same newest event, the first.

    ``bogus``: include uploads whose newest event is days later than the upload.
    """
    first: dict[datetime, Upload] = {}
    for pair in pairs:
        if not bogus and pair.newest - pair.at.replace(tzinfo=None) > MAX_LEAD:
            continue
        known = first.get(pair.newest)
        if known is None or pair.at < known.at:
            first[pair.newest] = pair
    return tuple(sorted(first.values(), key=lambda pair: (pair.at, pair.newest)))


def choose_anchor(
    component: Component,
    *,
    known: Anchor | None,
    zones: Zones,
    first: tuple[int, datetime] | None,
    uploads: Sequence[Upload] = (),
    newest_key: int = 0,
    last_upload: Upload | None = None,
) -> Choice:
    """Return the anchor of a component, and the one that uploads propose.

    ``known``: the newest valid fact. ``first``: the component's first event (key, wall time). ``uploads``: those of
    :func:`distinct_uploads` whose newest event is after the component's last step (only for the last component).
    ``newest_key``: the key of the newest event. ``last_upload``: with the newest event of all; it decides a first choice without
    ``uploads``, as after a clock was set back.

    Without a known anchor, the zone at the wearer's last setting decides, then the zone at the first event, as far as uploads
    allow it. If they allow nothing within 14 hours of the zone, there is no anchor.
    """
    anchor = known or _first_choice(component, zones, first, uploads, newest_key, last_upload)
    if not uploads:
        return Choice(anchor=anchor)
    last_offset_s = None if anchor is None else _last_offset(component, anchor)
    local_day = uploads[-1].newest.date()
    by_quarter = bool(component.steps) and abs(abs(component.steps[-1].exact_s) - QUARTER_S) <= TO_THE_MINUTE_S
    uploaded = offset_by_uploads(
        uploads,
        current_s=last_offset_s,
        zone_offsets=zones.offsets_near(local_day),
        min_move_s=QUARTER_S if by_quarter else MIN_MOVE_S,
    )
    if uploaded is None:
        return Choice(anchor=anchor)
    by_uploads = _anchor_by_uploads(component, uploaded.offset_s, zones, local_day, newest_key)
    if uploaded.confirmed:
        return Choice(anchor=by_uploads)
    return Choice(anchor=anchor, proposed=by_uploads)


def offset_by_uploads(
    uploads: Sequence[Upload],
    *,
    current_s: int | None,
    zone_offsets: Sequence[int],
    min_move_s: int = MIN_MOVE_S,
) -> UploadedOffset | None:
    """Return the offset that enough uploads support instead of ``current_s`` (None: unknown), or None."""
    offset_s = _supported_offset(uploads, current_s, zone_offsets, min_move_s)
    if offset_s is None:
        return None
    before_s = _supported_offset(uploads[:-1], current_s, zone_offsets, min_move_s)
    return UploadedOffset(offset_s=offset_s, confirmed=before_s == offset_s)


def seconds_ahead(component: Component, anchor: Anchor | None, uploads: Sequence[Upload]) -> float:
    """Return by how many seconds the clock is ahead at least: its events are later than their uploads. 0 if it is not."""
    lag_s = 0.0 if anchor is None or not uploads else _lag_s(component, anchor, uploads)
    return -lag_s if IMPOSSIBLE_S <= lag_s < FIT_S[0] else 0.0


def _supported_offset(
    uploads: Sequence[Upload], current_s: int | None, zone_offsets: Sequence[int], min_move_s: int
) -> int | None:
    if not uploads:
        return None
    smallest_s = min(upload.lag_s(0) for upload in uploads)
    fit_s = FIT_S
    fitting = [offset_s for offset_s in sorted(REAL_OFFSETS_S) if fit_s[0] <= smallest_s + offset_s <= fit_s[1]]
    if not fitting and current_s is not None and smallest_s + current_s < IMPOSSIBLE_S:
        fit_s = (IMPOSSIBLE_S, FIT_S[1])  # the clock is also minutes ahead
        fitting = [offset_s for offset_s in zone_offsets if fit_s[0] <= smallest_s + offset_s <= fit_s[1]]
    if not fitting:
        return None
    offset_s = fitting[0]
    supporters = _fitting(uploads, offset_s, fit_s)
    if len(supporters) < QUORUM or supporters[-1].at - supporters[0].at < QUORUM_SPAN:
        return None
    if current_s is None:
        return offset_s
    if offset_s - current_s >= min_move_s:
        # uploads that fit the present offset count against a change; by that offset, supporters have impossible events
        return offset_s if len(supporters) >= 2 * len(_fitting(uploads, current_s, FIT_S)) else None
    if current_s - offset_s >= min_move_s:
        by_quarter = current_s - offset_s == QUARTER_S
        late_s = QUARTER_S + FIT_S[0] if by_quarter else STALE_S
        late = smallest_s + current_s >= late_s and (by_quarter or offset_s in zone_offsets)
        enough = len(uploads) >= LATE_QUORUM and uploads[-1].at - uploads[0].at >= LATE_SPAN
        return offset_s if late and enough else None
    return None


def _fitting(uploads: Sequence[Upload], offset_s: int, fit_s: tuple[float, float]) -> list[Upload]:
    return [upload for upload in uploads if fit_s[0] <= upload.lag_s(offset_s) <= fit_s[1]]


def _first_choice(
    component: Component,
    zones: Zones,
    first: tuple[int, datetime] | None,
    uploads: Sequence[Upload],
    newest_key: int,
    last_upload: Upload | None,
) -> Anchor | None:
    """Return the first likely anchor that uploads allow; if they allow none, the anchor by the uploads alone."""
    by_first = (
        None if component.jump is not None or first is None else _by_first_event(component, zones, first, uploads)
    )
    candidates = [*_by_settings(component, zones), *([] if by_first is None else [by_first])]
    if not candidates:
        return None
    if not uploads:
        return _unless_on_trip(component, candidates, [] if last_upload is None else [last_upload])
    possible = [anchor for anchor in candidates if _lag_s(component, anchor, uploads) >= IMPOSSIBLE_S]
    if not possible:
        return _by_upload(component, zones, uploads, newest_key)
    return _unless_on_trip(component, possible, uploads)


def _unless_on_trip(component: Component, possible: Sequence[Anchor], uploads: Sequence[Upload]) -> Anchor:
    """Return the first anchor, unless the last setting was on a trip, or a slip.

    With its offset the upload looks hours late then, and with the one at home it is fresh.
    """
    last_s = _last_offset(component, possible[0])
    for anchor in possible[1:] if uploads else ():
        is_fresh = IMPOSSIBLE_S <= _lag_s(component, anchor, uploads) <= FRESH_S
        if is_fresh and last_s - _last_offset(component, anchor) >= TRIP_S:
            return anchor
    return possible[0]


def _by_settings(component: Component, zones: Zones) -> Iterator[Anchor]:
    """Yield the zone's offsets at the wearer's settings of the clock, the last setting first."""
    for i in reversed(range(len(component.steps))):
        step = component.steps[i]
        day = step.wall.date()
        zone_s = zone_offset_after(component.steps, i, zones)
        for offset_s in (zone_s, *_other_offsets(zones, day, zone_s)):
            yield Anchor(at_key=step.done_key, offset_s=offset_s, basis=AT_CHANGE, zone=zones.name_at(day))


def _by_first_event(
    component: Component, zones: Zones, first: tuple[int, datetime], uploads: Sequence[Upload]
) -> Anchor:
    """Return the zone's offset at the first event, or its other one (standard or daylight-saving time) if uploads say so."""
    key, wall = first
    day = wall.date()
    zone_s = zones.offset_of(wall)
    anchor = Anchor(at_key=key, offset_s=zone_s, basis=AT_FIRST, zone=zones.name_at(day))
    others = [msgspec.structs.replace(anchor, offset_s=offset_s) for offset_s in _other_offsets(zones, day, zone_s)]
    lag_s = _lag_s(component, anchor, uploads) if uploads else 0.0
    if IMPOSSIBLE_S <= lag_s <= FRESH_S:
        return anchor
    lags = [(_lag_s(component, other, uploads), other) for other in others]
    fresh = [other for lag_s_, other in lags if FIT_S[0] <= lag_s_ <= FRESH_S]
    possible = [other for lag_s_, other in lags if lag_s < IMPOSSIBLE_S <= lag_s_]
    return (fresh + possible + [anchor])[0]


def _by_upload(component: Component, zones: Zones, uploads: Sequence[Upload], newest_key: int) -> Anchor | None:
    """Return the anchor with which the newest event is just before its upload; None if it is too far from the zone's.

    It is used if all offsets by the zone and the clock's records would put events after their uploads.
    """
    day = uploads[-1].newest.date()
    allowed = [
        (abs(lag_s - FIT_S[1] / 2), offset_s)
        for offset_s in REAL_OFFSETS_S
        if (lag_s := _typical_lag_s(uploads, offset_s)) >= IMPOSSIBLE_S
        and lag_s <= FRESH_S + USUAL_DRIFT_S
        and any(abs(offset_s - zone_s) <= MAX_FROM_ZONE_S for zone_s in zones.offsets_near(day))
    ]
    return _anchor_by_uploads(component, min(allowed)[1], zones, day, newest_key) if allowed else None


def _anchor_by_uploads(component: Component, offset_s: int, zones: Zones, day: date, newest_key: int) -> Anchor:
    """Return an anchor at the newest event: uploads tell only the present offset.

    The record of an earlier change of the clock may still come, and then must not move what uploads have shown.
    """
    at_key = max(newest_key, component.steps[-1].done_key if component.steps else component.from_key)
    return Anchor(at_key=at_key, offset_s=offset_s, basis=EVIDENCE, zone=zones.name_at(day))


def _last_offset(component: Component, anchor: Anchor) -> int:
    return component.offsets(anchor.at_key, anchor.offset_s)[-1]


def _lag_s(component: Component, anchor: Anchor, uploads: Sequence[Upload]) -> float:
    return _typical_lag_s(uploads, _last_offset(component, anchor))


def _typical_lag_s(uploads: Sequence[Upload], offset_s: int) -> float:
    """Return the lag at the first quartile: one odd upload must not decide."""
    return sorted(upload.lag_s(offset_s) for upload in uploads)[len(uploads) // 4]


def _other_offsets(zones: Zones, day: date, offset_s: int) -> list[int]:
    return [other_s for other_s in zones.offsets_near(day) if other_s != offset_s]
