"""Decide whether unreadable records show a change at the vendor, and on which days they are.

A few unreadable records are reported for a week. Then their days count as read: no error may stay for ever because the
vendor stores a damaged dose. The log has such a record as it came, so a later release can still read it. If not even its time
can be read, its number tells its day.

Only records that a user would miss count. A new record type in otherwise normal data is no change: pumps learn new
ones. An entry with an unreadable type counts as a bolus if any part of it mentions one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from datetime import date, datetime, time, timedelta
from typing import Any

import attrs

from tconnectsync import Event, SourceChanged, short_serial
from tconnectsync_tandem.api.responses import Place
from tconnectsync_tandem.api.transport import CHANGED_WAIT_S, NEW_RELEASE
from tconnectsync_tandem.decode.entries import NO_CODE, NO_SUCH_CODE, RECORDS, HistoryEntry
from tconnectsync_tandem.polling.planner import Window, days_between

MOST_SHARE = 0.05
"""Up to this share, the unreadable records are few: then they are no change, apart from those below."""
REPORTED_FOR = timedelta(days=7)
FEW_WAIT_S = 600.0
"""How long the next poll waits if few records were unreadable. The other data must not be late."""
FEW_REMEDY = "All other records are delivered as usual. These are fetched again for a week. Check for a newer release of tconnectsync."
ANY = ("bolus.", "carbs.", "clock.", "pumping.")
"""Kinds of which every record must be readable: doses, suspensions, and the time of all later records."""
WHOLE_KIND = 2
"""If this many records of a kind are unreadable and none is readable, the kind has changed, however rare it is."""
NEAR = 3_000
"""A record without a readable time is of the day of the nearest record, if that is within so many numbers: some days' records."""
NOT_MISSED = frozenset({"pump.noted"})
UNREAD_TYPE, UNREAD_BOLUS = "records of an unreadable type", "bolus records of an unreadable type"
_DAY = timedelta(days=1)
_SHOWN = 5


@attrs.frozen
class _Undated:
    """An unreadable record without a time: its likely kind, the reason, its place, and the record before it."""

    kind: str
    reason: str
    place: Place
    before: HistoryEntry | None

    def nearest_time(self, after: HistoryEntry | None) -> datetime | None:
        """The time of the record with the nearest number; None if none is near."""
        near = [
            (abs(self.place[1] - entry.seq), entry.pump_time)
            for entry in (self.before, after)
            if entry is not None and entry.seq is not None and entry.group == self.place[0]
        ]
        distance, at = min(near, default=(NEAR, None), key=lambda each: each[0])
        return at if distance < NEAR else None


@attrs.define
class UnreadableEvents:
    """Count the records of one window.

    ``reported``: days whose unreadable records were reported for long enough. ``kinds``: unreadable records by kind;
    ``reason``: that of the most important one.
    """

    window: Window
    reported: Set[date] = frozenset()
    read: int = 0
    kinds: Counter[str] = attrs.field(factory=Counter)
    reason: str = ""
    _read_kinds: set[str] = attrs.field(factory=set)
    _days: set[date] = attrs.field(factory=set)
    _before: HistoryEntry | None = None
    """The newest record that could be read."""
    _undated: list[_Undated] = attrs.field(factory=list)
    """Records without a readable time that wait for the next record."""
    _unplaced: bool = False
    """Whether there are some of which not even the day is known."""

    def note(self, event: Event, entry: HistoryEntry, place: Place) -> None:
        """Count a record. They come ordered by ``place``."""
        if event.kind != "unknown":
            self.read += event.kind not in NOT_MISSED
            self._read_kinds.add(event.kind)
            if self._undated:
                self._date_all(entry)
            self._before = entry
            return
        kind = _kind_of(entry, event.raw)
        if kind is None:
            return
        if entry.pump_time is None:
            self._undated.append(_Undated(kind, entry.body.reason, place, self._before))
        else:
            self._count(kind, entry.body.reason, entry.pump_time)

    def end(self) -> None:
        """All records were noted."""
        self._date_all(None)

    def _date_all(self, after: HistoryEntry | None) -> None:
        for each in self._undated:
            at = each.nearest_time(after)
            if at is None and each.kind == "clock.changed":
                continue  # every response has all clock changes of the pump: this one is of another time
            self._unplaced |= at is None
            self._count(each.kind, each.reason, at or datetime.combine(self.window[0], time()))
        self._undated.clear()

    def _count(self, kind: str, reason: str, at: datetime) -> None:
        if kind == "clock.changed" and not self.window[0] - _DAY <= at.date() <= self.window[1] + _DAY:
            return  # every response has all clock changes of the pump
        if not self.reason or (_is_of_any(kind) and not any(map(_is_of_any, self.kinds))):
            self.reason = reason
        self.kinds[kind] += 1
        self._days.add(at.date())

    @property
    def is_few(self) -> bool:
        """Whether most records could be read."""
        count = self.kinds.total()
        return count <= MOST_SHARE * (count + self.read)

    @property
    def is_damaged(self) -> bool:
        """Whether a dose, a whole kind, or more than :data:`MOST_SHARE` of the records could not be read."""
        if any(map(_is_of_any, self.kinds)) or not self.is_few:
            return True
        return any(number >= WHOLE_KIND and kind not in self._read_kinds for kind, number in self.kinds.items())

    @property
    def is_changed(self) -> bool:
        """Whether it is damaged, and not only by few records that were reported for long enough."""
        return self.is_damaged and (not self.is_few or bool(self._days - self.reported))

    @property
    def damaged_days(self) -> Set[date]:
        """The days of the records that could not be read; none if they are no change."""
        return self._days if self.is_damaged else frozenset()

    def finished(self) -> Iterator[Window]:
        """The spans of days that were read completely. A server may return a record under the next day."""
        if not self.is_changed:
            yield self.window
            return
        days = self._days - self.reported if self.is_few else self._days
        unread = {day + step * _DAY for day in days for step in (-1, 0, 1)}
        if (self._unplaced and not self.is_few) or not unread & set(days_between(*self.window)):
            return
        first: date | None = None
        for day in [*days_between(*self.window), self.window[1] + _DAY]:
            if day not in unread and day <= self.window[1]:
                first = first or day
            elif first is not None:
                yield first, day - _DAY
                first = None


def changed_records(pump: str, found: Sequence[UnreadableEvents]) -> SourceChanged:
    """The error for windows of one pump of which too much could not be read."""
    kinds: Counter[str] = Counter()
    for one in found:
        kinds += one.kinds
    count, read = kinds.total(), sum(one.read for one in found)
    worst = next((one for one in found if any(map(_is_of_any, one.kinds))), found[0])
    first, last = min(one.window[0] for one in found), max(one.window[1] for one in found)
    is_few = all(one.is_few for one in found)
    return SourceChanged(
        f"Tandem's records have changed: {count:,} of {count + read:,} of pump {short_serial(pump)} from {first} to {last} cannot be"
        f" read ({kind_words(kinds)}; {worst.reason})",
        after_s=FEW_WAIT_S if is_few else CHANGED_WAIT_S,
        remedy=FEW_REMEDY
        if is_few
        else f"Readable records are delivered; the rest is fetched again automatically. {NEW_RELEASE}",
    )


def kind_words(kinds: Counter[str]) -> str:
    """Counts by kind, the most frequent first."""
    listed = [f"{number:,} {kind.replace('.', ' ')}" for kind, number in kinds.most_common(_SHOWN)]
    return ", ".join([*listed, *(["others"] if len(kinds) > _SHOWN else [])])


def _is_of_any(kind: str) -> bool:
    return kind == UNREAD_BOLUS or kind.startswith(ANY)


def _kind_of(entry: HistoryEntry, raw: Any) -> str | None:
    """The likely kind of an unreadable entry; None if no user would miss it."""
    code, reason = entry.body.code, entry.body.reason
    if reason == NO_SUCH_CODE:
        return None
    if code == NO_CODE:
        return UNREAD_BOLUS if "bolus" in json.dumps(raw, default=str).lower() else UNREAD_TYPE
    record = RECORDS.get(int(code)) if code.lstrip("-").isdecimal() else None
    return None if record is None or record.kind in NOT_MISSED else record.kind
