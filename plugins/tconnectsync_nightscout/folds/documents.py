"""Shared by all Nightscout documents: times, identities, provenance, number formats, impossible values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from tconnectsync import Document, document_id
from tconnectsync.events.source_record import SourceRecord

TREATMENTS = "treatments"
_MILLISECOND = timedelta(milliseconds=1)


def stamp(at: datetime, seq: int | None) -> datetime:
    """``at`` in whole seconds plus ``seq`` mod 1000 milliseconds, which makes (time, eventType) unique."""
    whole = whole_second(at)
    return whole if seq is None else whole + seq % 1000 * _MILLISECOND


def whole_second(at: datetime) -> datetime:
    """``at`` without its part of a second. Most have none, and ``replace`` is slow."""
    return at.replace(microsecond=0) if at.microsecond else at


def stream_id(pump: str, group: int | None, *parts: str | int) -> str:
    """An identity within one stream (a pump and its sequence group)."""
    return document_id(pump, "-" if group is None else group, *parts)


def treatment(
    event_type: str,
    record: SourceRecord,
    *identity: str | int,
    fields: Mapping[str, Any],
    sources: Iterable[int | str] | None = None,
    at: datetime | None = None,
    worth_s: float | None = None,
) -> Document:
    """Return a document of the treatments collection; its time is ``record``'s unless ``at`` is given.

    None and empty texts in ``fields`` are omitted: "the pump did not record it" is not a value. ``sources`` are the
    records it was made from (the record's own by default).
    """
    made_from = [record.name] if sources is None else list(dict.fromkeys(sources))
    content = {"eventType": event_type}
    content.update({name: value for name, value in fields.items() if value is not None and value != ""})
    content["pump"] = provenance(record.pump, made_from)
    return Document(
        id=stream_id(record.pump, record.group, *identity),
        collection=TREATMENTS,
        at=at or stamp(record.at, record.seq),
        content=content,
        unique_slot=event_type,
        ttl_s=worth_s,
    )


def provenance(pump: str, sources: Iterable[int | str]) -> Any:
    """The pump and the records that a document was made from."""
    return {"serial": pump, "events": list(sources)}


def impossible_note(
    what: str, value: object, record: SourceRecord, *identity: str | int, collection: str = TREATMENTS
) -> Document:
    """A value that the pump cannot produce: rejected with the reason, never sent."""
    reason = f"{what} of {_shown(value)} is not possible"
    return Document(
        id=stream_id(record.pump, record.group, *identity),
        collection=collection,
        at=stamp(record.at, record.seq),
        content={"notes": reason, "pump": provenance(record.pump, [record.name])},
        unique_slot=f"impossible {what}",
        problem=reason,
    )


def milli(value: float) -> float:
    """Round to the pump's resolution, 0.001; never minus zero."""
    return round(float(value), 3) + 0.0


def amount(value: float) -> str:
    """Format a number: at most three decimals, no trailing zeros."""
    return f"{milli(value):.3f}".rstrip("0").rstrip(".")


def minutes(span: timedelta) -> float:
    """Return minutes with four decimals (6 ms), so that rate times duration loses less than 0.0001 U."""
    return round(span.total_seconds() / 60, 4) + 0.0


def glucose_fields(mg_dl: float, kind: str | None) -> dict[str, Any]:
    """The fields of a glucose value as in Nightscout's careportal. The receiver converts it to the site's units."""
    return {"glucose": milli(mg_dl), "units": "mg/dl", "glucoseType": kind}


def words(name: str) -> str:
    """Convert a vocabulary name to text: ``empty_cartridge`` -> ``empty cartridge``."""
    return name.replace("_", " ").strip()


def plain_notes(*phrases: str | None) -> str:
    """Join the phrases that are present; "" if there are none."""
    return "; ".join(phrase for phrase in phrases if phrase)


def _shown(value: object) -> str:
    return amount(value) if isinstance(value, (int, float)) and math.isfinite(value) else str(value)
