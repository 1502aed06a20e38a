"""Read a row of the Bolus table: one whole bolus with its request, its immediate and its extended part."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from tconnectsync import events
from tconnectsync_tconnect.rows import cells as values
from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.csv_tables import TIME
from tconnectsync_tconnect.rows.row_event import RowEvent

Cells = Mapping[str, str]

_ENDS = {
    "completed": "completed",
    "user aborted": "user_aborted",
    "user terminated": "user_aborted",
    "terminated by alarm": "stopped_by_alarm",
    "terminated by malfunction": "stopped_by_malfunction",
}
_END_NUMBERS = {0: "user_aborted", 1: "stopped_by_alarm", 2: "stopped_by_malfunction", 3: "completed"}


def bolus_facts(cells: Cells) -> list[RowEvent]:
    """Return the facts of a bolus. Raises BadRow.

    Only complete parts have an end with an amount: for others, the final amount is unknown. Both parts of an extended
    bolus count, each with its own amount. No fact's name contains the completion's id, which may come later.
    """
    bolus_id = values.identity(cells, "BolusRequestID")
    if bolus_id is None:
        raise BadRow("does not name a bolus", column="BolusRequestID")
    complete, extended = values.flag(cells, "BolusIsComplete"), _is_extended(cells)
    ended = _immediate(cells, bolus_id, extended=extended) if complete else None
    facts = _request(cells, bolus_id, ended, extended=extended)
    if ended is not None:
        facts.append(ended)
    if extended:
        facts += _extended(cells, bolus_id)
    return facts


def _immediate(cells: Cells, bolus_id: int, *, extended: bool) -> RowEvent:
    at = values.time(cells, "CompletionDateTime") or values.time(cells, TIME)
    if at is None:
        raise BadRow("is not a time, although the bolus is complete", column="CompletionDateTime")
    delivered_u = values.number(cells, "InsulinDelivered")
    if delivered_u is None:
        raise BadRow("is empty, although the bolus is complete", column="InsulinDelivered")
    automatic = any(
        "automatic" in values.text(cells, column).lower()
        for column in ("BolusRequestOptions", "BolusType", "Description")
    )
    body = events.BolusCompleted(
        bolus_id=bolus_id,
        status=_status(cells, "CompletionStatus"),
        delivered_u=delivered_u,
        # for an extended bolus this is the amount of both parts
        requested_u=None if extended else values.number(cells, "ActualTotalBolusRequested"),
        carbs_g=values.number(cells, "CarbSize"),
        glucose_mg_dl=values.number(cells, "BG") or None,
        bolus_source="algorithm" if automatic else None,
        notes=values.text(cells, "Note") or None,
    )
    return RowEvent(name=f"bolus:{bolus_id}/completed", kind="bolus.completed", at=at, body=body)


def _request(cells: Cells, bolus_id: int, ended: RowEvent | None, *, extended: bool) -> list[RowEvent]:
    """Return the request, with the time closest to the start of delivery in the row.

    The facts are the same whether the row is complete or not, so that a bolus does not depend on when it was fetched.
    If it starts and ends at the same second, only its end is returned, because the end must not be read before the
    start.
    """
    at = values.time(cells, "RequestDateTime") or values.time(cells, TIME)
    if at is None and ended is None:
        raise BadRow("is not a time", column="RequestDateTime")
    if at is None or (ended is not None and at >= ended.at):
        return []
    amounts = events.BolusRequested(
        bolus_id=bolus_id,
        part=3,
        food_u=values.number(cells, "FoodBolusSize"),
        correction_u=values.number(cells, "CorrectionBolusSize"),
        total_u=values.number(cells, "ActualTotalBolusRequested"),
    )
    facts = [RowEvent(name=f"bolus:{bolus_id}/requested", kind="bolus.requested", at=at, body=amounts)]
    carbs_g, glucose = values.number(cells, "CarbSize") or None, values.number(cells, "BG") or None
    if carbs_g is not None or glucose is not None:
        reasons = events.BolusRequested(bolus_id=bolus_id, part=1, carbs_g=carbs_g, glucose_mg_dl=glucose)
        facts.append(RowEvent(name=f"bolus:{bolus_id}/reasons", kind="bolus.requested", at=at, body=reasons))
    if extended:
        split = events.BolusRequested(
            bolus_id=bolus_id,
            part=2,
            options="extended",
            immediate_percent=values.number(cells, "StandardPercent"),
            extended_duration_min=values.number(cells, "Duration"),
        )
        facts.append(RowEvent(name=f"bolus:{bolus_id}/split", kind="bolus.requested", at=at, body=split))
    return facts


def _extended(cells: Cells, bolus_id: int) -> list[RowEvent]:
    begin, end = values.time(cells, "BolexStartDateTime"), values.time(cells, "BolexCompletionDateTime")
    size_u = values.number(cells, "BolexSize")
    complete = values.flag(cells, "ExtendedBolusIsComplete")
    if complete and end is None:
        raise BadRow("is not a time, although the extended part is complete", column="BolexCompletionDateTime")
    facts = []
    # if it starts and ends at the same second, only the end counts; it must not be read before the start
    if begin is not None and (not complete or end is None or begin < end):
        started = events.BolusExtendedStarted(bolus_id=bolus_id, size_u=size_u)
        facts.append(
            RowEvent(name=f"bolus:{bolus_id}/extended_started", kind="bolus.extended_started", at=begin, body=started)
        )
    if complete and end is not None:
        if begin is not None and begin > end:
            raise BadRow("is before the extended part's start", column="BolexCompletionDateTime")
        facts.append(_extended_end(cells, bolus_id, end, size_u))
    return facts


def _extended_end(cells: Cells, bolus_id: int, end: datetime, size_u: float | None) -> RowEvent:
    delivered_u = values.number(cells, "BolexInsulinDelivered")
    if delivered_u is None:
        raise BadRow("is empty, although the extended part is complete", column="BolexInsulinDelivered")
    body = events.BolusExtendedCompleted(
        bolus_id=bolus_id,
        status=_status(cells, "BolexCompletionStatus"),
        delivered_u=delivered_u,
        requested_u=size_u,
        duration_min=values.number(cells, "Duration"),
    )
    return RowEvent(name=f"bolus:{bolus_id}/extended_completed", kind="bolus.extended_completed", at=end, body=body)


def _is_extended(cells: Cells) -> bool:
    """Whether the row has any value that only extended boluses have; other rows have zeros or nothing there."""
    return (
        bool(values.number(cells, "BolexSize"))
        or bool(values.number(cells, "BolexInsulinDelivered"))
        or values.time(cells, "BolexStartDateTime") is not None
        or values.time(cells, "BolexCompletionDateTime") is not None
        or "extended" in values.text(cells, "BolusRequestOptions").lower()
    )


def _status(cells: Cells, prefix: str) -> str:
    """How a part ended: by the description, else by the pump's number."""
    ending = values.text(cells, f"{prefix}Desc").lower()
    if ending:
        return _ENDS.get(ending, "_".join(ending.split()))
    found = values.identity(cells, f"{prefix}ID")
    return _END_NUMBERS.get(found or 0, f"status_{found}") if values.text(cells, f"{prefix}ID") else "unknown"
