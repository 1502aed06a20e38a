"""Exports made up for the tests, by the columns that the website wrote."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import attrs
import msgspec

from tconnectsync import Document, Event, Fold
from tconnectsync_tconnect.importer import read

RECEIVED = datetime(2026, 5, 14, 12, 0, tzinfo=timezone.utc)
PUMP = "90556643"
PREAMBLE = 't:connect Therapy Timeline Data Export\r\n"Patient name","Jane Q. Sample"\r\n"DOB","01/02/1970"\r\n'
DEVICE_COLUMNS = ("DeviceType", "SerialNumber", "Description", "EventDateTime", "Readings (CGM / BGM)", "")
IOB_COLUMNS = ("Type", "EventID", "EventDateTime", "IOB")
BASAL_COLUMNS = ("Type", "EventID", "EventDateTime", "BasalRate")
BOLUS_COLUMNS = (
    *("Type", "Description", "BG", "IOB", "BolusRequestID", "BolusCompletionID", "CompletionDateTime"),
    *("InsulinDelivered", "FoodDelivered", "CorrectionDelivered", "CompletionStatusID", "CompletionStatusDesc"),
    *("BolusIsComplete", "BolexCompletionID", "BolexSize", "BolexStartDateTime", "BolexCompletionDateTime"),
    *("BolexInsulinDelivered", "BolexIOB", "BolexCompletionStatusID", "BolexCompletionStatusDesc"),
    *("ExtendedBolusIsComplete", "EventDateTime", "RequestDateTime", "BolusType", "BolusRequestOptions"),
    *("StandardPercent", "Duration", "CarbSize", "UserOverride", "TargetBG", "CorrectionFactor", "FoodBolusSize"),
    *("CorrectionBolusSize", "ActualTotalBolusRequested", "IsQuickBolus", "EventHistoryReportEventDesc"),
    *("EventHistoryReportDetails", "NoteID", "IndexID", "Note"),
)
STANDARD: Mapping[str, str] = {
    "Type": "Bolus", "Description": "Standard/Correction", "BG": "141", "BolusRequestID": "7007.000",
    "BolusCompletionID": "7007.000", "CompletionDateTime": "2021-04-01T12:58:26", "InsulinDelivered": "13.53",
    "FoodDelivered": "12.50", "CorrectionDelivered": "1.03", "CompletionStatusID": "3",
    "CompletionStatusDesc": "Completed", "BolusIsComplete": "1", "BolexCompletionID": "0", "BolexCompletionStatusID": "0",
    "ExtendedBolusIsComplete": "0", "BolexStartDateTime": "0001-01-01T00:00:00", "EventDateTime": "2021-04-01T12:53:36",
    "RequestDateTime": "2021-04-01T12:53:36", "BolusType": "Carb", "BolusRequestOptions": "Standard/Correction",
    "StandardPercent": "100.00", "Duration": "0", "CarbSize": "75", "UserOverride": "0", "TargetBG": "110",
    "FoodBolusSize": "12.50", "CorrectionBolusSize": "1.03", "ActualTotalBolusRequested": "13.53", "IsQuickBolus": "0",
}  # fmt: skip
EXTENDED: Mapping[str, str] = {
    **STANDARD, "Description": "Extended", "BG": "", "BolusRequestID": "7010", "BolusCompletionID": "7010",
    "CompletionDateTime": "2021-04-01T15:00:00", "InsulinDelivered": "0.2", "BolexCompletionID": "7011",
    "BolexSize": "0.2", "BolexStartDateTime": "2021-04-01T15:00:00", "BolexCompletionDateTime": "2021-04-01T15:30:00",
    "BolexInsulinDelivered": "0.2", "BolexCompletionStatusID": "3", "BolexCompletionStatusDesc": "Completed",
    "ExtendedBolusIsComplete": "1", "EventDateTime": "2021-04-01T14:59:40", "RequestDateTime": "2021-04-01T14:59:40",
    "BolusRequestOptions": "Extended", "StandardPercent": "50.00", "Duration": "30", "CarbSize": "0",
    "ActualTotalBolusRequested": "0.4",
}  # fmt: skip


@attrs.frozen(kw_only=True)
class ImportArguments:
    """The output of a command line."""

    pump: str | None = None
    skip_bad: bool = False
    received_at: datetime = RECEIVED
    check_only: bool = False


def table(columns: Sequence[str], *rows: Sequence[str], end: str = "\r\n") -> str:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=end)
    text.write(",".join(columns) + end)
    writer.writerows(rows)
    return text.getvalue()


def boluses(*rows: Mapping[str, str], columns: Sequence[str] = BOLUS_COLUMNS, end: str = "\r\n") -> str:
    return table(columns, *([row.get(column, "") for column in columns] for row in rows), end=end)


def device(*readings: tuple[str, str], serial: str = PUMP, description: str = "EGV") -> str:
    rows = [("t:slim X2 Insulin Pump", serial, description, f"2021-04-01T{at}", value, "") for at, value in readings]
    return table(DEVICE_COLUMNS, *rows)


def iob(*values: tuple[str, str]) -> str:
    return table(IOB_COLUMNS, *(("IOB", "81", f"2021-04-01T{at}", value) for at, value in values))


def basal(*rates: tuple[str, str]) -> str:
    return table(BASAL_COLUMNS, *(("Basal", "3", f"2021-04-01T{at}", rate) for at, rate in rates))


def export(*tables: str) -> bytes:
    return "\r\n".join((PREAMBLE, *tables)).encode()


def events_of(content: bytes, **asked: Any) -> list[Event]:
    return [event for batch in read(io.BytesIO(content), ImportArguments(**asked)) for event in batch.events]


def ended(events: Sequence[Event]) -> Event:
    """The one end of an immediate part among them."""
    (found,) = [event for event in events if event.kind == "bolus.completed"]
    return found


def documents_of(fold: Fold[Any], events: Sequence[Event]) -> list[Document]:
    """What a sink holds after all of them, on a wall clock that is UTC, in the log's order."""
    state, finished = fold.initial(), []
    for event in sorted(events, key=lambda each: each.pump_time):
        if event.kind in fold.kinds:
            at = event.pump_time.replace(tzinfo=timezone.utc)
            state, documents = fold.step(state, msgspec.structs.replace(event, at=at))
            finished.extend(documents)
    return [*finished, *fold.running(state)]
