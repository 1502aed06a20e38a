"""Decode a stored fact again: from ``raw`` to kind and body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from tconnectsync.events import Body, Unknown
from tconnectsync_tconnect.rows import infusion_sites, therapy_events, timeline
from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.csv_rows import BasalStart, basal_fact, basal_start, facts_of
from tconnectsync_tconnect.rows.csv_tables import BASAL as BASAL_TABLE
from tconnectsync_tconnect.rows.csv_tables import BOLUS, DEVICE, IOB, CsvRow
from tconnectsync_tconnect.rows.provenance import Reader
from tconnectsync_tconnect.rows.row_event import RowEvent

DECODER = 2
"""Version of the decoding of a vendor's row."""
CSV, CSV_BASAL = "csv", "csv basal"


def csv_facts(row: Mapping[str, Any], _around: Mapping[str, Any]) -> Sequence[RowEvent]:
    """Return the facts of a row of any table of the CSV export but Basal. Raises BadRow."""
    cells = {str(column): str(value) for column, value in row.items()}
    first = cells.get("Type", "").strip()
    table = first if first in (BOLUS, IOB, BASAL_TABLE) else DEVICE
    if table == BASAL_TABLE:
        raise BadRow("does not say how long it lasted")
    return facts_of(CsvRow(table=table, line=0, cells=cells))


def csv_basal_facts(row: Mapping[str, Any], around: Mapping[str, Any]) -> Sequence[RowEvent]:
    """Return the relevant part of a Basal row: ``span_s`` seconds from ``at``. Raises BadRow."""
    start = basal_start(CsvRow(table=BASAL_TABLE, line=0, cells={str(key): str(value) for key, value in row.items()}))
    try:
        at = datetime.fromisoformat(str(around["at"]))
        end = at + timedelta(seconds=int(around["span_s"]))
    except (KeyError, ValueError, OverflowError):
        raise BadRow("does not say how long it lasted") from None
    return [basal_fact(BasalStart(at=at, rate_u_per_h=start.rate_u_per_h), end)]


READERS: Mapping[str, Reader] = {
    CSV: csv_facts,
    CSV_BASAL: csv_basal_facts,
    infusion_sites.SITE: infusion_sites.site_facts,
    therapy_events.THERAPY: therapy_events.therapy_facts,
    timeline.BASAL: timeline.basal,
    timeline.MODE: timeline.mode_changed,
    timeline.RESUMPTION: timeline.resumed,
    timeline.SUSPENSION: timeline.suspended,
}


def decode(raw: Mapping[str, Any]) -> tuple[str, Body]:
    """Return kind and body of a stored row; ``unknown`` if it is unreadable. An imported file's row is one itself."""
    origin, row, name = raw.get("from", CSV), raw.get("row", raw), raw.get("fact")
    reader = READERS.get(str(origin))
    if reader is None or not isinstance(row, Mapping):
        return _unknown(origin, "no such table")
    try:
        facts = reader(row, raw)
    except BadRow as problem:
        return _unknown(origin, problem.reason)
    chosen = [fact for fact in facts if name is None or fact.name == name]
    if len(chosen) != 1:
        return _unknown(origin, "does not say which fact of the row it was")
    return chosen[0].kind, chosen[0].body


def _unknown(origin: object, reason: str) -> tuple[str, Body]:
    return "unknown", Unknown(code=str(origin)[:40], reason=reason)
