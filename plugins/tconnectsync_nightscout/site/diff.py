"""Whether a stored copy says what our document says: servers add fields, drop empty ones, and write times in their own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tconnectsync import FieldDiff
from tconnectsync_nightscout.site.document_format import SINK_FIELD, SYNC_IDENTIFIER, moment_of
from tconnectsync_nightscout.site.glucose_units import in_units

DROPPED_WHEN_EMPTY = frozenset({"insulin", "carbs", "percent", "relative", "notes", "preBolus", "glucose"})
"""Fields of treatments that a server removes when they are 0 or empty (``absolute`` and ``duration`` keep their 0)."""
SPEAKING = DROPPED_WHEN_EMPTY | {
    "absolute", "duration", "rate", "enteredinsulin", "splitNow", "splitExt", "protein", "fat", "iob",
}  # fmt: skip
"""Fields that change what a document says even where ours has none; other additions are the server's or nobody's business."""
_SIGNS = frozenset({"_id", "identifier", SYNC_IDENTIFIER, "enteredBy", SINK_FIELD})
"""Who wrote it and which copy it is: no part of what it says."""
_WITH_GLUCOSE = frozenset({"glucoseType", "units"})


def diff(body: Mapping[str, Any], fields: Mapping[str, Any]) -> list[FieldDiff]:
    """In what the stored ``fields`` differ from ``body``, which is in the form that is sent.

    The same glucose in other units is the same: a site may have changed its units since.
    """
    body, fields = in_units(body, fields.get("units")), in_units(fields, body.get("units"))
    found = []
    for name in sorted((body.keys() | (SPEAKING & fields.keys())) - _SIGNS):
        ours, theirs = _said(name, body), _said(name, fields)
        if ours != theirs:
            found.append(FieldDiff(field=name, ours=ours, theirs=theirs))
    return found


def _said(name: str, fields: Mapping[str, Any]) -> Any:
    value = fields.get(name)
    if name == "created_at":
        moment = moment_of(value)
        return value if moment is None else moment.isoformat()
    if name in DROPPED_WHEN_EMPTY and value in (0, ""):
        return None
    if name in _WITH_GLUCOSE and _said("glucose", fields) is None:
        return None
    return value
