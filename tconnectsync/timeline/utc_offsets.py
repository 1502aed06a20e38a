"""Splits a step of a pump's clock into a new offset from UTC and a correction of drift."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

DAY_S = 86400
HOUR_S, HALF_HOUR_S = 3600, 1800
LONGEST_DRIFT_S = 25 * 60
"""A step up to this size that no zone explains corrects drift: the offset stays. A zone explains a step within this."""
USUAL_DRIFT_S = 20 * 60
"""How far a step may be from a real offset. Otherwise the nearest multiple of half an hour is used."""
TO_THE_MINUTE_S = 120
ZONE_STEP_S = 26 * 3600
"""The largest difference of two zones. A longer step changed the date from or to a wrong one."""
FACTORY_DRIFT_S = 60
"""If such a step is further from a multiple of half an hour, the clock showed no zone's time before it or after it."""

_HALVES_H = (-9.5, -3.5, -2.5, 3.5, 4.5, 5.5, 6.5, 9.5, 10.5)
_QUARTERS_H = (5.75, 8.75, 12.75, 13.75)
REAL_OFFSETS_S: frozenset[int] = frozenset(
    round(hours * 3600) for hours in (*range(-12, 15), *_HALVES_H, *_QUARTERS_H)
)  # the offsets of the IANA zones of today, in standard and in daylight-saving time
"""Every offset that some place on Earth has, in seconds."""


class ZoneOffsets(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets of the configured zones at one time: ``offset_s`` holds then, ``others_s`` within half a year of it."""

    offset_s: int
    others_s: tuple[int, ...] = ()


def half_hours_s(seconds: float) -> int:
    """Return the nearest multiple of half an hour in seconds; exactly between two, the full hour."""
    return round(seconds / HALF_HOUR_S) * HALF_HOUR_S


def is_real_offset(offset_s: int) -> bool:
    """Whether some place has this offset, apart from whole days (a wrong date)."""
    return any((offset_s - real_s) % DAY_S == 0 for real_s in REAL_OFFSETS_S)


def offset_across_step_s(
    known_s: int, moved_s: float, zone: ZoneOffsets | None, *, zone_moved: bool, before: bool
) -> int:
    """Return the unknown offset on one side of a step, from the offset on its other side.

    ``known_s``: the known offset. ``moved_s``: the step, seen from the known side (negated if the unknown side is earlier).
    ``zone``: the configured zones' offsets on the unknown side. ``zone_moved``: whether they differ from those on the known
    side. ``before``: whether the unknown side is the earlier one.

    The step also corrects drift, so the result is only near ``known_s + moved_s``. The first of these that fits is used:

    1. the zone's own offset, if its rules (daylight saving, a listed move) explain the step, or if it fits to the minute;
    2. no change, if the step is at most 25 minutes;
    3. an offset of the configured zones at any time of the year, at most 20 minutes away;
    4. one hour, if the step is 40 to 80 minutes and the result is a real offset;
    5. a real offset that fits to the minute (such as a flight to Kathmandu), or that is at most 20 minutes away and a multiple
       of half an hour from the known one;
    6. the nearest multiple of half an hour.

    If the zone's rules, drift alone or one hour explain the step, times are wrong by the drift at most, for up to 20 minutes of
    drift. For any other change this holds up to 9 minutes of drift, and mostly up to 14.
    """
    target_s = known_s + moved_s
    if abs(moved_s) > ZONE_STEP_S:
        return _offset_after_date_s(known_s, moved_s, zone, before=before)
    homes_s = [] if zone is None else [_same_date_s(home_s, target_s) for home_s in (zone.offset_s, *zone.others_s)]
    if zone_moved and homes_s and abs(homes_s[0] - target_s) <= LONGEST_DRIFT_S:
        return homes_s[0]
    exact_s = _nearest(homes_s, target_s, TO_THE_MINUTE_S)
    if exact_s is not None:
        return exact_s
    if abs(moved_s) <= LONGEST_DRIFT_S:
        return known_s
    near_s = _nearest(homes_s, target_s, USUAL_DRIFT_S)
    return _nearest_real_offset_s(known_s, target_s) if near_s is None else near_s


def _offset_after_date_s(known_s: int, moved_s: float, zone: ZoneOffsets | None, *, before: bool) -> int:
    """Return :func:`offset_across_step_s` for a step that changed the date: only the date was wrong, not the minutes.

    This is not so for a factory date or a reset clock, which may be the earlier side of a step.
    """
    target_s = known_s + moved_s
    for home_s in () if zone is None else (zone.offset_s, *zone.others_s):
        dated_s = _same_date_s(home_s, target_s)
        allowed_s = FACTORY_DRIFT_S if before and dated_s != home_s else LONGEST_DRIFT_S
        if abs(dated_s - target_s) <= allowed_s:
            return dated_s
    left_s = abs(moved_s - half_hours_s(moved_s))
    return round(target_s) if left_s > FACTORY_DRIFT_S else known_s + half_hours_s(moved_s)


def _nearest_real_offset_s(known_s: int, target_s: float) -> int:
    hour_s = known_s + (HOUR_S if target_s > known_s else -HOUR_S)
    if abs(hour_s - target_s) <= USUAL_DRIFT_S and is_real_offset(hour_s):
        return hour_s
    real_s = [_same_date_s(offset_s, target_s) for offset_s in REAL_OFFSETS_S]
    exact_s = _nearest(real_s, target_s, TO_THE_MINUTE_S)
    if exact_s is not None:
        return exact_s
    half_hours = [offset_s for offset_s in real_s if (offset_s - known_s) % HALF_HOUR_S == 0]
    near_s = _nearest(half_hours, target_s, USUAL_DRIFT_S)
    if near_s is not None:
        return near_s
    on_grid = known_s % (HALF_HOUR_S // 2) == 0
    return known_s + half_hours_s(target_s - known_s) if on_grid else half_hours_s(target_s)


def _same_date_s(offset_s: int, target_s: float) -> int:
    """Return the offset plus the whole days that bring it nearest to the target."""
    return offset_s + round((target_s - offset_s) / DAY_S) * DAY_S


def _nearest(offsets_s: Iterable[int], target_s: float, allowed_s: float) -> int | None:
    nearest_s = min(offsets_s, key=lambda offset_s: (abs(offset_s - target_s), offset_s), default=None)
    return nearest_s if nearest_s is not None and abs(nearest_s - target_s) <= allowed_s else None
