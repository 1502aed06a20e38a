"""The offsets from UTC that clocks have, and which part of a step is a new offset and which is drift being corrected."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

DAY_S = 86400
HOUR_S, HALF_HOUR_S = 3600, 1800
LONGEST_DRIFT_S = 25 * 60
"""A step up to this size that no zone explains corrects drift: the offset stays. A zone explains a step that misses by this."""
USUAL_DRIFT_S = 20 * 60
"""How far a step may miss an offset that some place has before the nearest multiple of half an hour is taken instead."""
TO_THE_MINUTE_S = 120
ZONE_STEP_S = 26 * 3600
"""The longest way between two zones. A longer step put a wrong date right, or wrong."""
FACTORY_DRIFT_S = 60
"""A longer step that misses the half hour by more led to or from a clock that was set to no zone at all."""

_HALVES_H = (-9.5, -3.5, -2.5, 3.5, 4.5, 5.5, 6.5, 9.5, 10.5)
_QUARTERS_H = (5.75, 8.75, 12.75, 13.75)
REAL_OFFSETS_S: frozenset[int] = frozenset(
    round(hours * 3600) for hours in (*range(-12, 15), *_HALVES_H, *_QUARTERS_H)
)  # the offsets of the IANA zones of today, in standard and in daylight-saving time
"""Every offset that a clock somewhere on Earth has."""


@attrs.frozen(kw_only=True)
class ZoneOffsets:
    """What the configured zones say of a moment: the offset that holds, and the others within half a year of it."""

    offset_s: int
    others_s: tuple[int, ...] = ()


def half_hours_s(seconds: float) -> int:
    """The nearest multiple of half an hour; of two, the one that is a whole hour."""
    return round(seconds / HALF_HOUR_S) * HALF_HOUR_S


def offset_change_s(step_s: float) -> int:
    """The offset change in a step that nothing else is known about. Up to 25 minutes is drift; from 26 on, half hours.

    A step of 26 to 29 minutes is read as half an hour and a little drift: a clock that is off by so much was set so.
    """
    return 0 if abs(step_s) <= LONGEST_DRIFT_S else half_hours_s(step_s)


def is_real_offset(offset_s: int) -> bool:
    """Whether some zone has this offset, a wrong date set aside."""
    return any((offset_s - place_s) % DAY_S == 0 for place_s in REAL_OFFSETS_S)


def offset_across_step_s(
    known_s: int, moved_s: float, zone: ZoneOffsets | None, *, zone_moved: bool, before: bool
) -> int:
    """The offset on the other side of a step whose one side is known.

    ``moved_s`` is the step, seen from the known side (negated when looking back). ``zone`` is what the configured zones say
    of the side that is looked for, ``zone_moved`` whether that is another offset than on the known side; ``before`` whether the
    side looked for is the earlier one. The clock is as wrong as it had drifted, so the offset that is looked for lies near
    ``known_s + moved_s``. Of the readings that fit, the first in this order counts:

    1. the zone's own offset, where its rules (daylight saving, a move in the list) explain the step, or it fits to the minute;
    2. no change: the step is at most 25 minutes long;
    3. an offset that the configured zones have now or at another time of the year, at most 20 minutes away;
    4. one hour, if the step is 40 to 80 minutes long and some place has the offset that results;
    5. an offset that a place on Earth has, to the minute (so a flight to Kathmandu is right), or at most 20 minutes away and a
       multiple of half an hour from the known one;
    6. the nearest multiple of half an hour.

    So whatever the clock had drifted by, up to 20 minutes, times are wrong by no more than that if the zone's rules, drift alone
    or one hour explain the step. For any other change that holds up to 9 minutes of drift, and mostly up to 14.
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
    """As :func:`offset_beside_s`, where the step changed the date: a clock with a wrong date is right to the zone's minute.

    Not so a factory date or a reset clock, which may be what a step leads from.
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
    places_s = [_same_date_s(place_s, target_s) for place_s in REAL_OFFSETS_S]
    exact_s = _nearest(places_s, target_s, TO_THE_MINUTE_S)
    if exact_s is not None:
        return exact_s
    half_hours = [place_s for place_s in places_s if (place_s - known_s) % HALF_HOUR_S == 0]
    near_s = _nearest(half_hours, target_s, USUAL_DRIFT_S)
    if near_s is not None:
        return near_s
    on_grid = known_s % (HALF_HOUR_S // 2) == 0
    return known_s + half_hours_s(target_s - known_s) if on_grid else half_hours_s(target_s)


def _same_date_s(offset_s: int, target_s: float) -> int:
    """The offset with a date as wrong as the target's."""
    return offset_s + round((target_s - offset_s) / DAY_S) * DAY_S


def _nearest(offsets_s: Iterable[int], target_s: float, allowed_s: float) -> int | None:
    nearest_s = min(offsets_s, key=lambda offset_s: (abs(offset_s - target_s), offset_s), default=None)
    return nearest_s if nearest_s is not None and abs(nearest_s - target_s) <= allowed_s else None
