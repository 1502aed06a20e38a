"""Compare a stored copy with our document. Servers add fields, drop empty ones, and format times their own way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tconnectsync import FieldDiff
from tconnectsync_nightscout.api.document_format import SINK_FIELD, SYNC_IDENTIFIER, moment_of
from tconnectsync_nightscout.api.glucose_units import in_units

DROPPED_WHEN_EMPTY = frozenset({"insulin", "carbs", "percent", "relative", "notes", "preBolus", "glucose"})
"""Fields of treatments that a server removes if they are 0 or empty (``absolute`` and ``duration`` keep their 0)."""
SPEAKING = DROPPED_WHEN_EMPTY | {
    "absolute", "duration", "rate", "enteredinsulin", "splitNow", "splitExt", "protein", "fat", "iob",
}  # fmt: skip
"""Fields that change a document's meaning even if ours does not have them; other additions are ignored."""
_SIGNS = frozenset({"_id", "identifier", SYNC_IDENTIFIER, "enteredBy", SINK_FIELD})
"""Author and identity of the copy, which are not compared."""
_WITH_GLUCOSE = frozenset({"glucoseType", "units"})


def diff(body: Mapping[str, Any], fields: Mapping[str, Any]) -> list[FieldDiff]:
    """Return how the stored ``fields`` differ from ``body``, which is in the form that is sent.

    Glucose in other units is converted first: the site may have changed its units since.
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
