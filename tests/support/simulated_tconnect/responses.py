"""The older t:connect's responses about some days, made from the records: JSON, JSONP and the CSV export.

Times are texts without a zone, or seconds that show the wearer's wall clock if they are read in Pacific time.
"""

from __future__ import annotations

import csv
import io
import json
from bisect import bisect_left
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Protocol, TypeVar
from zoneinfo import ZoneInfo

from tests.support.simulated_tconnect.boluses import BOLUS_COLUMNS, bolus_event, bolus_row
from tests.support.simulated_tconnect.records import (
    ALGORITHM,
    CONTROL_IQ,
    PREVIOUS,
    PROFILE,
    TEMP,
    ReadingRow,
    SuspensionRow,
    TconnectRecords,
)

PACIFIC = ZoneInfo("America/Los_Angeles")
DEVICE = "t:slim X2 Insulin Pump"
BASAL_LISTS = {"tempDeliveryEvents": TEMP, "algorithmDeliveryEvents": ALGORITHM, "profileDeliveryEvents": PROFILE}
_DAY = timedelta(days=1)


class _Timed(Protocol):
    @property
    def at(self) -> datetime: ...


Timed = TypeVar("Timed", bound=_Timed)
Days = tuple[date, date]
"""First and last day, both inclusive."""


def within(rows: Sequence[Timed], days: Days) -> Sequence[Timed]:
    """Return the rows that begin on these days; the rows are in order."""
    first = bisect_left(rows, datetime.combine(days[0], time()), key=lambda row: row.at)
    return rows[first : bisect_left(rows, datetime.combine(days[1] + _DAY, time()), key=lambda row: row.at)]


def pacific_s(wall: datetime) -> int:
    """``x``: the seconds at which a clock in Pacific time shows ``at``."""
    return int(wall.replace(tzinfo=PACIFIC).timestamp())


def therapy_timeline(records: TconnectRecords, days: Days) -> dict[str, Any]:
    """Basal by kind, suspensions, sleep and exercise that begin on these days."""
    basal = within(records.basal, days)
    return {
        "basal": {
            name: [
                {"x": pacific_s(row.at), "y": row.rate_u_per_h, "type": kind, "duration": row.span_s}
                for row in basal
                if row.kind == kind
            ]
            for name, kind in BASAL_LISTS.items()
        },
        "suspensionDeliveryEvents": [
            {"x": pacific_s(row.at), "suspendReason": row.reason, "continuation": None, "type": 0}
            for row in within(records.suspensions, days)
        ],
        "events": [
            {
                "duration": row.span_s,
                "eventType": row.kind,
                "continuation": None,
                "timeZoneId": "America/Los_Angeles",
                "x": pacific_s(row.at),
            }
            for row in within(records.events, days)
        ],
    }


def therapy_events(records: TconnectRecords, days: Days, serial: str) -> dict[str, Any]:
    """Boluses, readings and temporary rates of these days."""
    first, last = (day.isoformat() for day in days)
    found = [bolus_event(bolus) for bolus in records.boluses if days[0] <= bolus.event_at.date() <= days[1]]
    found += [_reading_event(row, serial) for row in within(records.readings, days)]
    found += [
        {
            "type": "Basal",
            "eventDateTime": at.isoformat(),
            "basalRate": {"value": rate, "percent": 0, "duration": 0},
        }
        for at, rate in records.temp_rates
        if first <= at.date().isoformat() <= last
    ]
    return {"event": sorted(found, key=lambda event: str(event["eventDateTime"]))}


def _reading_event(row: ReadingRow, serial: str) -> dict[str, Any]:
    if row.sensor:
        return {
            "type": "CGM",
            "eventDateTime": row.at.isoformat(),
            "eventID": row.number,
            "serialNumber": serial,
            "egv": {"estimatedGlucoseValue": row.glucose_mg_dl},
        }
    return {
        "type": "BG",
        "eventDateTime": row.at.isoformat(),
        "bg": row.glucose_mg_dl,
        "cgmCalibration": int(row.calibration),
        "iob": row.iob_u,
    }


def suspensions(records: TconnectRecords, days: Days, *, reasons: frozenset[str] | None = None) -> list[dict[str, str]]:
    """The list of suspensions and site changes; one that lasts over midnight is repeated as ``previous``."""
    rows: list[tuple[datetime, str]] = []
    for row in records.sites if reasons is None else records.suspensions:
        if reasons is None or row.reason in reasons:
            rows += [(row.at, row.reason), *((at, PREVIOUS) for at in _midnights(row, days[1]))]
    begin, end = datetime.combine(days[0], time()), datetime.combine(days[1] + _DAY, time())
    return [
        {"EventDateTime": f"/Date({pacific_s(at) * 1000}-0000)/", "SuspendReason": reason}
        for at, reason in sorted(rows)
        if begin <= at < end
    ]


def _midnights(row: SuspensionRow, last: date) -> list[datetime]:
    found, at = [], datetime.combine(row.at.date() + _DAY, time())
    while at < (row.ended_at or datetime.combine(last + _DAY, time())):
        found.append(at)
        at += _DAY
    return found


def jsonp(callback: str, value: object) -> bytes:
    """``callback(...)``."""
    return f"{callback}({json.dumps(value)})".encode()


def csv_export(records: TconnectRecords, days: Days, serial: str, basal_until: date | None) -> bytes:
    """The export: a preamble, then readings, insulin on board, basal (only days before ``basal_until``) and boluses."""
    text = io.StringIO()
    text.write(f'"t:connect Therapy Timeline Data Export"\r\n"Simulated Wearer"\r\n"{days[0]:%m/%d/%Y}"\r\n\r\n')
    text.write("DeviceType,SerialNumber,Description,EventDateTime,Readings (CGM / BGM)\r\n")
    for reading in within(records.readings, days):
        said = "EGV" if reading.sensor else "BG"
        text.write(f'"{DEVICE}","{serial}","{said}","{reading.at.isoformat()}","{reading.glucose_mg_dl}",\r\n')
    iob = [["IOB", str(row.code), row.at.isoformat(), f"{row.iob_u:.2f}"] for row in within(records.iob, days)]
    _table(text, ("Type", "EventID", "EventDateTime", "IOB"), iob)
    basal = [
        ["Basal", "3", at.isoformat(), f"{rate:.3f}"]
        for at, rate in _basal_starts(records)
        if days[0] <= at.date() <= days[1] and (basal_until is None or at.date() < basal_until)
    ]
    if basal:
        _table(text, ("Type", "EventID", "EventDateTime", "BasalRate"), basal)
    boluses = [bolus_row(bolus) for bolus in records.boluses if days[0] <= bolus.event_at.date() <= days[1]]
    _table(text, BOLUS_COLUMNS, boluses)
    return text.getvalue().encode()


def _basal_starts(records: TconnectRecords) -> list[tuple[datetime, float]]:
    """The changes of the rate; suspensions have rate 0."""
    starts = {row.at: 0.0 for row in records.suspensions if row.reason != CONTROL_IQ}
    starts |= {row.at: row.rate_u_per_h for row in records.basal}
    found: list[tuple[datetime, float]] = []
    for at, rate in sorted(starts.items()):
        if not found or found[-1][1] != rate:
            found.append((at, rate))
    return found


def _table(text: io.StringIO, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    text.write("\r\n" + ",".join(header) + "\r\n")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
