"""Glucose readings of an older bridge, and the documents of ours that replace them. Its name is in ``device``.

A warm-up reading of 0 is not glucose. The older bridge sent it; we deliver nothing in its place.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from tconnectsync import Document, LegacyMatch, StoredDocument
from tconnectsync.events.limits import GLUCOSE_MG_DL, is_possible
from tconnectsync.events.readings import HIGH_MG_DL, LOW_MG_DL
from tconnectsync_nightscout.api.document_format import ENTRIES
from tconnectsync_nightscout.delivery.legacy_documents import REACH, is_deletable, is_legacy, sequence_numbers

_SAME_READING = timedelta(minutes=5)
"""The older bridge stamped a reading when the pump received it, up to one interval after the measurement."""
_SAME_MINUTE = timedelta(minutes=3)
"""Two uploaders' copies of one reading are closer together than two readings."""
_COVERED = timedelta(minutes=15)


def match_legacy_readings(documents: Sequence[Document], foreign: Sequence[StoredDocument]) -> Sequence[LegacyMatch]:
    """See :class:`tconnectsync.Adopting`. A reading of another uploader beside ours is unclear: both would be shown."""
    ours = _OwnReadings.of(documents)
    found = []
    for stored in foreign:
        if stored.collection != ENTRIES or stored.unique_slot not in ("sgv", "mbg"):
            continue
        if not is_legacy(stored.content):
            if stored.unique_slot == "sgv" and ours.near(stored, _SAME_MINUTE):
                found.append(LegacyMatch(stored=stored, same=None))
        elif not is_deletable(stored.content):
            found.append(LegacyMatch(stored=stored, same=None if ours.near(stored, _COVERED) else False))
        elif not is_possible(_value(stored.unique_slot, stored.content), *GLUCOSE_MG_DL):
            found.append(LegacyMatch(stored=stored, same=True, impossible=True))
        else:
            found.append(LegacyMatch(stored=stored, same=ours.says_same(stored)))
    return found


class _OwnReadings(msgspec.Struct, frozen=True, kw_only=True):
    """Our readings by type and time, and the type and time of each sequence number."""

    by_time: Mapping[str, Sequence[tuple[datetime, float | None]]]
    by_number: Mapping[int, Sequence[tuple[str, datetime]]]

    @classmethod
    def of(cls, documents: Sequence[Document]) -> _OwnReadings:
        by_time: defaultdict[str, list[tuple[datetime, float | None]]] = defaultdict(list)
        by_number: defaultdict[int, list[tuple[str, datetime]]] = defaultdict(list)
        for document in documents:
            if document.collection != ENTRIES:
                continue
            by_time[document.unique_slot].append((document.at, _value(document.unique_slot, document.content)))
            pump = document.content.get("pump")
            for number in pump.get("events", ()) if isinstance(pump, Mapping) else ():
                by_number[number].append((document.unique_slot, document.at))
        return cls(
            by_time={slot: sorted(some, key=lambda each: each[0]) for slot, some in by_time.items()},
            by_number=by_number,
        )

    def near(self, stored: StoredDocument, reach: timedelta) -> Sequence[float | None]:
        """The values of our readings around its time."""
        some = self.by_time.get(stored.unique_slot, ())
        first = bisect_left(some, stored.at - reach, key=lambda each: each[0])
        last = bisect_right(some, stored.at + reach, key=lambda each: each[0])
        return [value for _, value in some[first:last]]

    def says_same(self, stored: StoredDocument) -> bool | None:
        """Match by sequence number, else by time and value. None: our reading of that time has another value."""
        numbers = sequence_numbers(stored.content)
        same_records = (each for number in numbers for each in self.by_number.get(number, ()))
        if any(slot == stored.unique_slot and abs(at - stored.at) <= REACH for slot, at in same_records):
            return True
        if _value(stored.unique_slot, stored.content) in self.near(stored, _SAME_READING):
            return True
        return None if not numbers and self.near(stored, _COVERED) else False


def _value(slot: str, item: Mapping[str, Any]) -> float | None:
    """Its glucose. A value outside the sensor's range is HIGH or LOW, as in ours. None: it is not a number."""
    value = item.get(slot)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if slot == "sgv" and is_possible(value, *GLUCOSE_MG_DL):
        return float(min(max(value, LOW_MG_DL), HIGH_MG_DL))
    return float(value)
