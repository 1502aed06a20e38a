"""Sensor readings: what every reader of them must decide alike. A live one and its backfilled copy are one measurement."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import msgspec

from tconnectsync.events.envelope import Event
from tconnectsync.events.glucose import GlucoseReading
from tconnectsync.events.limits import GLUCOSE_MG_DL, is_possible
from tconnectsync.events.source_record import utc_of

SENSOR_MG_DL = (40.0, 400.0)
"""The sensor's range."""
HIGH_MG_DL, LOW_MG_DL = 401.0, 39.0
"""The numbers for readings above and below it, as Nightscout's own uploaders write them."""
STEEPEST_MG_DL_PER_MIN = 8.0
"""A larger change is not a measurement: sensors send such values for "unknown"."""
REMEMBERED = timedelta(days=2)
"""A sensor backfills readings that the pump missed for up to a day; the source rejects older ones."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MINUTE = timedelta(minutes=1)
_MINUTES = REMEMBERED // _MINUTE
_ALL_MINUTES = (1 << _MINUTES) - 1


def mark_of(glucose_mg_dl: float) -> str:
    """Return the mark of a sensor's number: "high" above its range, "low" below it, else "value"."""
    low, high = SENSOR_MG_DL
    return "low" if glucose_mg_dl < low else "high" if glucose_mg_dl > high else "value"


def shown_mg_dl(body: GlucoseReading) -> float | None:
    """Return the number to show, perhaps an impossible one; None if there is none."""
    mark, number = body.mark, body.glucose_mg_dl
    if mark == "value" and is_possible(number, *GLUCOSE_MG_DL):
        mark = mark_of(number)
    return {"high": HIGH_MG_DL, "low": LOW_MG_DL, "value": number}.get(mark)


def measured_at(event: Event) -> datetime:
    """Return the UTC time at which the reading of ``event`` was measured."""
    body: GlucoseReading = event.body
    return utc_of(event) + (body.reading_time - event.pump_time)


def valid_trend(mg_dl_per_min: float | None) -> float | None:
    """Return the rate of change; None if the sensor's value is no measurement."""
    return mg_dl_per_min if is_possible(mg_dl_per_min, -STEEPEST_MG_DL_PER_MIN, STEEPEST_MG_DL_PER_MIN) else None


def shown_trend(body: GlucoseReading) -> float | None:
    """Return the rate of change; None if it is unknown. Above and below the sensor's range sensors send 0, which means nothing."""
    number = shown_mg_dl(body)
    inside = number is not None and mark_of(number) == "value"
    return valid_trend(body.trend_mg_dl_per_min) if inside else None


class ReadingMinutes(msgspec.Struct, frozen=True, kw_only=True):
    """The minutes of the last days with a reading. ``newest`` is in minutes since 1970; bit n of ``seen`` (little-endian) is n
    minutes before it.
    """

    newest: int | None = None
    seen: bytes = b""


def with_minute(minutes: ReadingMinutes, measured_at: datetime) -> ReadingMinutes | None:
    """Return ``minutes`` with the minute of ``measured_at`` added; None if that minute already has a reading."""
    minute, newest = (measured_at - _EPOCH) // _MINUTE, minutes.newest
    if newest is None or abs(minute - newest) >= _MINUTES:
        newest, seen = minute, 0
    else:
        seen = int.from_bytes(minutes.seen, "little")
    if minute > newest:
        newest, seen = minute, (seen << minute - newest) & _ALL_MINUTES
    bit = 1 << newest - minute
    if seen & bit:
        return None
    return ReadingMinutes(newest=newest, seen=(seen | bit).to_bytes(_MINUTES // 8, "little"))
