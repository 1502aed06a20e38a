"""Convert each therapy event to the equivalent row of the CSV export, so that both give the same facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from tconnectsync import events
from tconnectsync_tconnect.rows import cells as values
from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.boluses import bolus_facts
from tconnectsync_tconnect.rows.csv_rows import facts_of
from tconnectsync_tconnect.rows.csv_tables import DEVICE, TIME, CsvRow
from tconnectsync_tconnect.rows.row_event import RowEvent
from tconnectsync_tconnect.rows.timeline import named

THERAPY = "therapy event"
_TYPES = {kind.lower(): kind for kind in ("Bolus", "CGM", "BG", "Basal")}
_PUMP = "t:slim X2 Insulin Pump"
_READINGS = "Readings (CGM / BGM)"


def therapy_facts(row: Mapping[str, Any], _around: Mapping[str, Any]) -> Sequence[RowEvent]:
    """Return the facts of a therapy event. Raises BadRow."""
    kind = row.get("type")
    if not isinstance(kind, str) or not kind:
        raise BadRow("is not a type of therapy event", column="type")
    kind = _TYPES.get(kind.lower(), kind)
    if kind == "Bolus":
        return bolus_facts(bolus_cells(row))
    if kind == "CGM":
        return facts_of(_reading(row, "EGV", _part(row, "egv").get("estimatedGlucoseValue")))
    if kind == "BG":
        return [_fingerstick(row, fact) for fact in facts_of(_reading(row, "BG", row.get("bg")))]
    at = values.needed_time({TIME: cell(row.get("eventDateTime"))}, TIME)
    if kind == "Basal":  # the timeline and the CSV export have the delivered basal
        body = events.PumpNoted(name="basal_event", values=_plain(_part(row, "basalRate")))
        return [RowEvent(name=f"pump.noted:basal_event:{at.isoformat()}", kind="pump.noted", at=at, body=body)]
    code = kind[:40]
    return [named("unknown", at, events.Unknown(code=code, reason="no such type of therapy event"))]


def bolus_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a bolus as a row of the CSV export's Bolus table. Raises BadRow."""
    now, later = _part(row, "standard"), _part(row, "bolex")
    if now and "bolusIsComplete" not in now:
        raise BadRow("is not there", column="bolusIsComplete")
    now_insulin, later_insulin = _part(now, "insulinDelivered"), _part(later, "insulinDelivered")
    found = {
        "Type": "Bolus",
        "Description": row.get("description"),
        "BG": row.get("bg"),
        "IOB": row.get("iob"),
        "BolusRequestID": now.get("bolusRequestId"),
        "BolusCompletionID": now.get("bolusCompletionId"),
        "CompletionDateTime": now_insulin.get("completionDateTime"),
        "InsulinDelivered": now_insulin.get("value"),
        "FoodDelivered": now.get("foodDelivered"),
        "CorrectionDelivered": now.get("correctionDelivered"),
        "CompletionStatusID": now.get("completionStatusId"),
        "CompletionStatusDesc": now.get("completionStatusDesc"),
        "BolusIsComplete": now.get("bolusIsComplete"),
        "BolexCompletionID": later.get("bolexCompletionId"),
        "BolexSize": later.get("size"),
        "BolexStartDateTime": later.get("bolexStartDateTime"),
        "BolexCompletionDateTime": later_insulin.get("completionDateTime"),
        "BolexInsulinDelivered": later_insulin.get("value"),
        "BolexIOB": later.get("iob"),
        "BolexCompletionStatusID": later.get("completionStatusId"),
        "BolexCompletionStatusDesc": later.get("completionStatusDesc"),
        "ExtendedBolusIsComplete": later.get("extendedBolusIsComplete"),
        TIME: row.get("eventDateTime"),
        "RequestDateTime": row.get("requestDateTime"),
        "BolusType": row.get("bolusType"),
        "BolusRequestOptions": row.get("bolusRequestOptions"),
        "StandardPercent": row.get("standardPercent"),
        "Duration": row.get("duration"),
        "CarbSize": row.get("carbSize"),
        "UserOverride": row.get("userOverride"),
        "TargetBG": row.get("targetBG"),
        "CorrectionFactor": row.get("correctionFactor"),
        "FoodBolusSize": row.get("foodBolusSize"),
        "CorrectionBolusSize": row.get("correctionBolusSize"),
        "ActualTotalBolusRequested": row.get("actualTotalBolusRequested"),
        "IsQuickBolus": row.get("isQuickBolus"),
        "Note": row.get("note"),
    }
    return {column: cell(value) for column, value in found.items()}


def cell(value: Any) -> str:
    """Return a JSON value as the CSV export writes it; empty for an object or list."""
    if value is None or isinstance(value, (dict, list)):
        return ""
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def _reading(row: Mapping[str, Any], description: str, glucose: Any) -> CsvRow:
    cells = {
        "DeviceType": _PUMP,
        "SerialNumber": cell(row.get("serialNumber")) or "-",
        "Description": description,
        TIME: cell(row.get("eventDateTime")),
        _READINGS: cell(glucose),
    }
    return CsvRow(table=DEVICE, line=0, cells=cells)


def _fingerstick(row: Mapping[str, Any], fact: RowEvent) -> RowEvent:
    cells = {"cgmCalibration": cell(row.get("cgmCalibration")), "iob": cell(row.get("iob"))}
    body = msgspec.structs.replace(
        fact.body, calibration=values.flag(cells, "cgmCalibration"), iob_u=values.number(cells, "iob")
    )
    return attrs.evolve(fact, body=body)


def _part(row: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = row.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise BadRow("has no parts", column=key)
    return found


def _plain(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if isinstance(value, (str, int, float))}
