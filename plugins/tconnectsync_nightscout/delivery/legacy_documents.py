"""Legacy documents: how to recognise them, and which documents of ours replace them.

The older bridge marks treatments with ``enteredBy`` and, since Tandem Source, with ``pump_event_id``: the sequence
numbers of the pump's records. Doses are stamped at their end, all in the configured time zone, so a time alone proves
little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs
import msgspec

from tconnectsync import Document, LegacyMatch, StoredDocument
from tconnectsync_nightscout.api.client import is_mongo_id
from tconnectsync_nightscout.api.document_format import SINK_FIELD, slot_of

LEGACY_AUTHOR = "Pump (tconnectsync)"
KINDS_OF_SINK = {
    "nightscout-treatments": frozenset({"dose", "basal"}),
    "nightscout-pump-events": frozenset({"other"}),
    "nightscout-cgm": frozenset({"glucose"}),
}
"""Event types of each sink that the older bridge wrote as well."""

_DOSES = frozenset({"Bolus", "Meal Bolus", "Correction Bolus", "Snack Bolus", "Combo Bolus", "Carb Correction"})
REACH = timedelta(hours=36)
"""A wrong zone shifts times by 26 hours at most. A repeated sequence number is from another pump, or years away."""
_LATEST_END = timedelta(minutes=45)
"""A legacy dose without record numbers is stamped at most this long after its start: 25 U take fifteen minutes."""
_SLACK = timedelta(minutes=5)
_SPARSE = timedelta(hours=12)
"""Events other than doses are hours apart. If one is matched wrongly, it costs a duplicate note, not a dose."""


def is_legacy(item: Mapping[str, Any]) -> bool:
    """Whether an older bridge wrote this treatment or entry. Entries have its name in ``device``."""
    marked = LEGACY_AUTHOR in (item.get("enteredBy"), item.get("device")) or bool(item.get("pump_event_id"))
    return marked and not item.get(SINK_FIELD)


def belongs_to_sink(sink: str, item: Mapping[str, Any]) -> bool:
    """Whether an older bridge wrote it, and this sink delivers its kind of event."""
    return is_legacy(item) and _kind(slot_of(item)) in KINDS_OF_SINK.get(sink, ())


def is_deletable(item: Mapping[str, Any]) -> bool:
    """Whether it has an id made by the server, which identifies this document only."""
    mongo_id = item.get("_id")
    return is_legacy(item) and isinstance(mongo_id, str) and is_mongo_id(mongo_id)


def sequence_numbers(item: Mapping[str, Any]) -> frozenset[int]:
    """The sequence numbers of its records; empty if it has none, or none in a known form."""
    numbers = item.get("pump_event_id")
    parts = numbers if isinstance(numbers, list) else str(numbers or "").split(",")
    texts = [str(part).strip() for part in parts]
    return (
        frozenset(map(int, texts))
        if texts and all(text.isascii() and text.isdigit() for text in texts)
        else frozenset()
    )


def match_legacy(
    documents: Sequence[Document], foreign: Sequence[StoredDocument], claimed: set[str], *, kinds: frozenset[str]
) -> Sequence[LegacyMatch]:
    """See :class:`tconnectsync.Adopting`; ``kinds`` are the sink's of :data:`KINDS_OF_SINK`."""
    ours = [_OwnDocument.of(document) for document in documents]
    found = []
    for stored in foreign:
        item = stored.content
        if stored.collection != "treatments" or not is_legacy(item) or _kind(stored.unique_slot) not in kinds:
            continue
        numbers = sequence_numbers(item)
        kind, at = _kind(stored.unique_slot), stored.at
        near = [one for one in ours if one.kind == kind and one.near_from <= at <= one.near_until]
        if not is_deletable(item):
            found.append(LegacyMatch(stored=stored, same=None if near else False))
            continue
        if numbers:
            by_number = _same_records(numbers, [one for one in near if one.numbers])
            near = [one for one in near if not one.numbers]  # without numbers, amounts and times decide
            if by_number is not False or not near:
                found.append(LegacyMatch(stored=stored, same=by_number))
                continue
        like = [one for one in near if one.document.id not in claimed and one.is_like(stored)]
        alike = min(like, key=lambda one: abs(stored.at - one.until), default=None)
        if alike is not None and alike.kind != "basal":
            claimed.add(alike.document.id)
        found.append(LegacyMatch(stored=stored, same=True if alike is not None else None if near else False))
    return found


class _OwnDocument(msgspec.Struct, frozen=True, kw_only=True):
    document: Document
    kind: str
    pump: str
    numbers: frozenset[int]
    first: int
    last: int
    until: datetime
    near_from: datetime
    near_until: datetime

    @classmethod
    def of(cls, document: Document) -> _OwnDocument:
        content = document.content
        pump = content.get("pump")
        provenance = pump if isinstance(pump, Mapping) else {}
        until = document.at + timedelta(minutes=float(content.get("duration") or 0))
        numbers = frozenset(number for number in provenance.get("events", ()) if isinstance(number, int))
        return cls(
            document=document, kind=_kind(document.unique_slot), pump=str(provenance.get("serial", "")),
            numbers=numbers, first=min(numbers, default=0), last=max(numbers, default=-1),
            until=until, near_from=document.at - REACH, near_until=until + REACH,
        )  # fmt: skip

    def has_records(self, numbers: frozenset[int]) -> frozenset[int]:
        """A basal span names its first and its last record."""
        if self.kind != "basal":
            return self.numbers & numbers
        return frozenset(number for number in numbers if self.first <= number <= self.last)

    def is_like(self, stored: StoredDocument) -> bool:
        content, item, at = self.document.content, stored.content, self.document.at
        if self.kind == "dose":
            units = [_amount(fields, "enteredinsulin", "insulin") for fields in (content, item)]
            grams = [_amount(fields, "carbs") for fields in (content, item)]
            same = abs(units[0] - units[1]) < 0.006 and abs(grams[0] - grams[1]) < 0.6
            return same and at - _SLACK <= stored.at <= self.until + _LATEST_END
        if self.kind == "basal":
            rates = _amount(content, "absolute"), _amount(item, "absolute", "rate")
            return abs(rates[0] - rates[1]) < 0.0006 and at - _SLACK <= stored.at <= self.until + _SLACK
        return self.document.unique_slot == stored.unique_slot and abs(stored.at - at) <= _SLACK


def _same_records(numbers: frozenset[int], near: Sequence[_OwnDocument]) -> bool | None:
    """Whether documents of one pump describe it.

    Unclear if two pumps match. One common record identifies a dose; a basal span needs all of its records.
    """
    pumps = set()
    low, high = min(numbers), max(numbers)
    reached = [one for one in near if one.first <= high and low <= one.last]
    for pump in {one.pump for one in reached}:
        covered = frozenset[int]().union(*(one.has_records(numbers) for one in reached if one.pump == pump))
        if covered == numbers or (covered and reached[0].kind != "basal"):
            pumps.add(pump)
    return None if len(pumps) > 1 else bool(pumps)


def _kind(event_type: str) -> str:
    if event_type in ("sgv", "mbg"):
        return "glucose"
    return "dose" if event_type in _DOSES else "basal" if event_type == "Temp Basal" else "other"


@attrs.define
class Covered:
    """The time span of one sink's delivered documents, per event type.

    Documents of others within it were there before.
    """

    spans: dict[str, tuple[datetime, datetime]] = attrs.field(factory=dict)

    def add(self, ours: StoredDocument) -> None:
        """Include a document of the sink."""
        kind = _kind(ours.unique_slot)
        first, last = self.spans.get(kind, (ours.at, ours.at))
        self.spans[kind] = min(first, ours.at), max(last, ours.at)

    def holds(self, event_type: str, at: datetime) -> bool:
        """Whether the sink delivered such events at this time, so that the user has seen the documents beside them."""
        kind = _kind(event_type)
        first, last = self.spans.get(kind, (None, None))
        before, after = (_SPARSE, _SPARSE) if kind == "other" else (_SLACK, _LATEST_END)
        return first is not None and last is not None and first - before <= at <= last + after


def _amount(item: Mapping[str, Any], *names: str) -> float:
    for name in names:
        value = item.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    return 0.0
