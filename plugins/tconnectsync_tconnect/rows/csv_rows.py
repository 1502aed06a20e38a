"""Convert one row to facts in the product's vocabulary."""

from __future__ import annotations

from datetime import datetime

import attrs

from tconnectsync import events
from tconnectsync.events import Body
from tconnectsync.events.readings import mark_of
from tconnectsync_tconnect.rows import cells as values
from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.boluses import bolus_facts
from tconnectsync_tconnect.rows.csv_tables import BOLUS, IOB, READINGS, SERIAL, TIME, CsvRow
from tconnectsync_tconnect.rows.row_event import RowEvent
from tconnectsync_tconnect.rows.serial_numbers import plain_serial

_SENSOR = frozenset({"egv", "cgm"})
_METER = frozenset({"bg", "bgm"})


@attrs.frozen(kw_only=True)
class BasalStart:
    """A basal row: the rate from here to the next row; None if the row has none."""

    at: datetime
    rate_u_per_h: float | None


def facts_of(row: CsvRow) -> list[RowEvent]:
    """Return the facts of a row of any table but Basal. Raises BadRow."""
    if row.table == BOLUS:
        return bolus_facts(row.cells)
    at = values.needed_time(row.cells, TIME)
    if row.table == IOB:
        return [_at("day.summary", at, events.DaySummary(iob_u=values.needed_number(row.cells, "IOB")))]
    return [_glucose(row, at)]


def basal_start(row: CsvRow) -> BasalStart:
    """Return what a row of the Basal table says. Raises BadRow."""
    return BasalStart(at=values.needed_time(row.cells, TIME), rate_u_per_h=values.needed_number(row.cells, "BasalRate"))


def basal_fact(start: BasalStart, end: datetime) -> RowEvent:
    """Return the basal of a row with its length. Raises BadRow if the rate is unknown."""
    if start.rate_u_per_h is None:
        raise BadRow("is empty", column="BasalRate", empty=True)
    span_s = round((end - start.at).total_seconds())
    return _at("basal.delivered", start.at, events.BasalDelivered(rate_u_per_h=start.rate_u_per_h, span_s=span_s))


def serial_of(row: CsvRow) -> str | None:
    """The pump's serial number, if it is in this row of the device table; other devices have serial numbers too."""
    if "pump" not in values.text(row.cells, "DeviceType").lower():
        return None
    return plain_serial(values.text(row.cells, SERIAL)) or None


def reading_column(row: CsvRow) -> str:
    """The column with a device row's glucose."""
    return next((column for column in READINGS if column in row.cells), READINGS[0])


def _glucose(row: CsvRow, at: datetime) -> RowEvent:
    described = values.text(row.cells, "Description")
    if serial_of(row) is None or described.lower() not in _SENSOR | _METER:
        name = described or "no description"
        return _at(
            "unknown",
            at,
            events.Unknown(code=name, reason="no such description of a reading"),
            name=f"unknown:{name}",
        )
    if described.lower() in _METER:
        iob_u = values.number(row.cells, "IOB") if reading_column(row) != READINGS[0] else None
        body = events.GlucoseFingerstick(glucose_mg_dl=_reading(row), entry="manual", iob_u=iob_u)
        return _at("glucose.fingerstick", at, body)
    return _at("glucose.reading", at, _sensor_reading(row, at))


def _sensor_reading(row: CsvRow, at: datetime) -> Body:
    reading = values.text(row.cells, reading_column(row)).lower()
    if reading in ("high", "low"):
        return events.GlucoseReading(mark=reading, reading_time=at)
    glucose = _reading(row)
    mark = mark_of(glucose)
    return events.GlucoseReading(mark=mark, reading_time=at, glucose_mg_dl=glucose if mark == "value" else None)


def _reading(row: CsvRow) -> float:
    column = reading_column(row)
    glucose = values.needed_number(row.cells, column)
    if glucose <= 0:
        raise BadRow("is not a glucose value", column=column)
    return glucose


def _at(kind: str, at: datetime, body: Body, *, name: str | None = None) -> RowEvent:
    return RowEvent(name=f"{name or kind}:{at.isoformat()}", kind=kind, at=at, body=body)
