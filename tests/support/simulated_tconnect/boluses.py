"""Boluses in the formats of the older t:connect: an entry of the therapy events, or a row of the CSV export."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.support.simulated_tconnect.records import BolusRecords

NO_TIME = "0001-01-01T00:00:00"
EXTENDED_OPTIONS = frozenset({1, 5})
ENDS = {
    0: "User Aborted",
    1: "Terminated by Alarm",
    2: "Terminated by Malfunction",
    3: "Completed",
    6: "Terminated by PLGS",
}
BOLUS_COLUMNS = (
    "Type", "Description", "BG", "IOB", "BolusRequestID", "BolusCompletionID", "CompletionDateTime", "InsulinDelivered",
    "FoodDelivered", "CorrectionDelivered", "CompletionStatusID", "CompletionStatusDesc", "BolusIsComplete",
    "BolexCompletionID", "BolexSize", "BolexStartDateTime", "BolexCompletionDateTime", "BolexInsulinDelivered",
    "BolexIOB", "BolexCompletionStatusID", "BolexCompletionStatusDesc", "ExtendedBolusIsComplete", "EventDateTime",
    "RequestDateTime", "BolusType", "BolusRequestOptions", "StandardPercent", "Duration", "CarbSize", "UserOverride",
    "TargetBG", "CorrectionFactor", "FoodBolusSize", "CorrectionBolusSize", "ActualTotalBolusRequested",
    "IsQuickBolus", "EventHistoryReportEventDesc", "EventHistoryReportDetails", "NoteID", "IndexID", "Note",
)  # fmt: skip


def is_extended(bolus: BolusRecords) -> bool:
    """Whether it has an extended part, by any of its records."""
    return 59 in bolus.said or 21 in bolus.said or bolus.value(65, "options") in EXTENDED_OPTIONS


def bolus_event(bolus: BolusRecords) -> dict[str, Any]:
    """The entry of the therapy events."""
    value = bolus.value
    total, percent = float(value(66, "totalBolusSize")), int(value(65, "standardPercent", 100))
    entry: dict[str, Any] = {
        "type": "Bolus",
        "actualTotalBolusRequested": total,
        "bg": int(value(64, "bg")),
        "bolusRequestOptions": _options(bolus),
        "bolusType": _kind(bolus),
        "carbSize": int(value(64, "carbAmount")),
        "correctionBolusSize": float(value(66, "correctionBolusSize")),
        "correctionFactor": float(value(65, "isf")),
        "declinedCorrection": int(value(65, "declinedCorrection")),
        "duration": int(value(65, "duration")),
        "eventDateTime": bolus.event_at.isoformat(),
        "foodBolusSize": float(value(66, "foodBolusSize")),
        "iob": float(value(64, "iob")),
        "isQuickBolus": int(value(65, "options") == 2),
        "note": {"id": 0, "indexId": 0, "eventTypeId": 64, "sourceRecordId": 0, "eventId": 0, "active": False},
        "requestDateTime": _time(bolus, 64),
        "standard": _standard(bolus, total * percent / 100),
        "standardPercent": percent,
        "targetBG": int(value(65, "targetBg")),
        "userOverride": int(value(65, "userOverride")),
        "description": _options(bolus),
        "sourceRecId": 1_171_853_000 + bolus.bolus_id,
    }
    if is_extended(bolus):
        entry["bolex"] = _bolex(bolus, total - total * percent / 100)
    return entry


def bolus_row(bolus: BolusRecords) -> list[str]:
    """The row of the CSV export: amounts with two digits, ids with three."""
    event = bolus_event(bolus)
    now, later = event["standard"], event.get("bolex", {})
    now_insulin, later_insulin = now.get("insulinDelivered", {}), later.get("insulinDelivered", {})
    cells = {
        "Type": "Bolus",
        "Description": event["description"],
        "BG": str(event["bg"]) if event["bg"] else "",
        "IOB": _amount(event["iob"]),
        "BolusRequestID": f"{bolus.bolus_id}.000",
        "BolusCompletionID": f"{now['bolusCompletionId']:.3f}",
        "CompletionDateTime": now_insulin.get("completionDateTime", ""),
        "InsulinDelivered": _amount(now_insulin.get("value", 0)),
        "FoodDelivered": _amount(now["foodDelivered"]),
        "CorrectionDelivered": _amount(now["correctionDelivered"]),
        "CompletionStatusID": str(now["completionStatusId"]),
        "CompletionStatusDesc": now.get("completionStatusDesc", ""),
        "BolusIsComplete": str(now["bolusIsComplete"]),
        "EventDateTime": event["eventDateTime"],
        "RequestDateTime": event["requestDateTime"],
        "BolusType": event["bolusType"],
        "BolusRequestOptions": event["bolusRequestOptions"],
        "StandardPercent": _amount(event["standardPercent"]),
        "Duration": str(event["duration"]),
        "CarbSize": str(event["carbSize"]),
        "UserOverride": str(event["userOverride"]),
        "TargetBG": str(event["targetBG"]),
        "CorrectionFactor": _amount(event["correctionFactor"]),
        "FoodBolusSize": _amount(event["foodBolusSize"]),
        "CorrectionBolusSize": _amount(event["correctionBolusSize"]),
        "ActualTotalBolusRequested": _amount(event["actualTotalBolusRequested"]),
        "IsQuickBolus": str(event["isQuickBolus"]),
        "EventHistoryReportEventDesc": f"{event['bolusType']} Bolus, {event['description']}",
        "NoteID": "0",
        "IndexID": "0",
    }
    if later:
        cells |= {
            "BolexCompletionID": f"{later['bolexCompletionId']:.3f}",
            "BolexSize": _amount(later["size"]),
            "BolexStartDateTime": later["bolexStartDateTime"],
            "BolexCompletionDateTime": later_insulin.get("completionDateTime", ""),
            "BolexInsulinDelivered": _amount(later_insulin["value"]) if later_insulin else "",
            "BolexIOB": _amount(later["iob"]),
            "BolexCompletionStatusID": str(later["completionStatusId"]),
            "BolexCompletionStatusDesc": later.get("completionStatusDesc", ""),
            "ExtendedBolusIsComplete": str(later["extendedBolusIsComplete"]),
        }
    return [cells.get(column, "") for column in BOLUS_COLUMNS]


def _standard(bolus: BolusRecords, asked_u: float) -> dict[str, Any]:
    food, correction = bolus.value(66, "foodBolusSize"), bolus.value(66, "correctionBolusSize")
    part: dict[str, Any] = {
        "foodDelivered": 0.0,
        "correctionDelivered": 0.0,
        "insulinRequested": float(bolus.value(20, "insulinRequested", asked_u)),
        "completionStatusId": 0,
        "bolusIsComplete": 0,
        "bolusRequestId": float(bolus.bolus_id),
        "bolusCompletionId": 0.0,
    }
    if 20 in bolus.said:
        delivered = float(bolus.value(20, "insulinDelivered"))
        share = delivered / (food + correction) if food + correction else 0.0
        part |= {"foodDelivered": food * share, "correctionDelivered": correction * share}
        part |= _end(bolus, 20, delivered)
        part |= {"bolusIsComplete": 1, "bolusCompletionId": float(bolus.bolus_id)}
    return part


def _bolex(bolus: BolusRecords, asked_u: float) -> dict[str, Any]:
    part: dict[str, Any] = {
        "size": float(bolus.value(59, "bolexSize", bolus.value(21, "insulinRequested", asked_u))),
        "bolexStartDateTime": _time(bolus, 59),
        "iob": float(bolus.value(59, "iob")),
        "completionStatusId": 0,
        "extendedBolusIsComplete": 0,
        "insulinRequested": 0.0,
        "bolexCompletionId": 0.0,
    }
    if 21 in bolus.said:
        part |= _end(bolus, 21, float(bolus.value(21, "insulinDelivered")))
        part |= {
            "insulinRequested": float(bolus.value(21, "insulinRequested")),
            "extendedBolusIsComplete": 1,
            "bolexCompletionId": float(bolus.bolus_id),
        }
    return part


def _end(bolus: BolusRecords, code: int, delivered_u: float) -> dict[str, Any]:
    status = int(bolus.value(code, "completionStatus"))
    return {
        "insulinDelivered": {"completionDateTime": bolus.at[code].isoformat(), "value": delivered_u},
        "completionStatusId": status,
        "completionStatusDesc": ENDS.get(status, ""),
    }


def _options(bolus: BolusRecords) -> str:
    options = bolus.value(65, "options")
    if is_extended(bolus):
        return "Extended"
    if options == 3:
        return "Automatic Bolus/Correction"
    if options == 2:
        return "Quick"
    return "Standard/Correction" if bolus.value(64, "correctionBolusIncluded") else "Standard"


def _kind(bolus: BolusRecords) -> str:
    if bolus.value(65, "options") == 3:
        return "Automatic Correction"
    return "Carb" if bolus.value(64, "carbAmount") else "Insulin"


def _time(bolus: BolusRecords, code: int) -> str:
    at: datetime | None = bolus.at.get(code)
    return NO_TIME if at is None else at.isoformat()


def _amount(value: float) -> str:
    return f"{value:.2f}"
