"""A cache of a pump's records in the cloud: encoded, by pump day, each with its upload time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from random import Random
from typing import NamedTuple

import attrs
import msgspec

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, Simulation
from tconnectsync_simulator.pump.records import SimulatedRecord


class CachedUpload(NamedTuple):
    """One record: time on the pump's clock, upload (Unix s), JSON."""

    text: str
    uploaded_s: int
    json: bytes


@attrs.define
class UploadCache:
    """All uploads of one pump, also future ones."""

    pump: SimulatedPump
    _days: dict[str, list[CachedUpload]] = attrs.field(factory=dict, repr=False)
    _clock_changes: list[CachedUpload] = attrs.field(factory=list, repr=False)
    _newest: dict[int, str] = attrs.field(factory=dict, repr=False)  # by upload: the greatest reading in it
    _uploads: list[int] = attrs.field(factory=list, repr=False)
    _reached: list[str] = attrs.field(factory=list, repr=False)  # by upload: the greatest reading so far
    _first: list[str] = attrs.field(factory=list, repr=False)  # by upload: the smallest reading so far
    _oldest: dict[int, str] = attrs.field(factory=dict, repr=False)

    def add_records(self, records: Iterable[SimulatedRecord]) -> None:
        encode = msgspec.json.encode
        days, newest, oldest = self._days, self._newest, self._oldest
        for entry, _, uploaded_s in records:
            text: str = entry["pumpDateTime"]
            kept = CachedUpload(text, uploaded_s, encode(entry))
            days.setdefault(text[:10], []).append(kept)
            if entry["eventCode"] in {13, 14}:
                self._clock_changes.append(kept)
            if newest.get(uploaded_s, "") < text:
                newest[uploaded_s] = text
            if oldest.get(uploaded_s, "9") > text:
                oldest[uploaded_s] = text

    def sort(self) -> None:
        """Compute the range of the data after each upload; call it once, after the last record."""
        self._uploads = sorted(self._newest)
        reached, first = "", "9"
        for uploaded_s in self._uploads:
            reached, first = max(reached, self._newest[uploaded_s]), min(first, self._oldest[uploaded_s])
            self._reached.append(reached)
            self._first.append(first)

    def last_upload_s(self, now_s: float) -> int | None:
        """The newest upload with data."""
        place = bisect_right(self._uploads, now_s)
        return self._uploads[place - 1] if place else None

    def reach(self, now_s: float) -> tuple[str, str] | None:
        """The first and the last time on the pump's clock in the cloud."""
        place = bisect_right(self._uploads, now_s)
        return (self._first[place - 1], self._reached[place - 1]) if place else None

    def events(self, first: str, last: str, now_s: float) -> list[bytes]:
        """The uploaded records between two times, both inclusive, in the same arbitrary order each time."""
        found = [
            kept.json
            for day in sorted(self._days)
            if first[:10] <= day <= last[:10]
            for kept in self._days[day]
            if first <= kept.text <= last and kept.uploaded_s <= now_s
        ]
        Random(f"{first}{last}").shuffle(found)
        return found

    def clock_changes(self, now_s: float) -> list[bytes]:
        """Every uploaded record 13 and 14."""
        return [kept.json for kept in self._clock_changes if kept.uploaded_s <= now_s]


def cache_uploads(pump: SimulatedPump | SimulationPlan) -> UploadCache:
    """Return the cache of a pump. For a plan, the records are simulated day by day, to save memory."""
    if isinstance(pump, SimulatedPump):
        cache = UploadCache(pump)
        cache.add_records(pump.log)
    else:
        simulation = Simulation(pump)
        cache = UploadCache(simulation.pump())
        for day in simulation.days():
            cache.add_records(day)
        cache.pump = simulation.pump()
    cache.sort()
    return cache
