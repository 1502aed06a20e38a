"""What lies across a border between a pump's numbered events and its rows without numbers: a basal rate, a bolus."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs
import msgspec

from tconnectsync.errors import LogCorrupt
from tconnectsync.eventlog import Stream
from tconnectsync.eventlog.codec import order_key
from tconnectsync.events import BasalDelivered, Event, PumpingSuspended
from tconnectsync.events.basal_rates import CONFIRMED_FOR
from tconnectsync.events.bolus_join import KINDS as BOLUS_KINDS
from tconnectsync.events.bolus_join import join_record
from tconnectsync.events.boluses import JoinedBolus
from tconnectsync.text.serials import short_serial
from tconnectsync.timeline.spans import Span, any_contains, intersection
from tconnectsync.timeline.time_index import KeyRange, TimeIndex

log = logging.getLogger("tconnectsync.timeline")
BASAL_STATE = frozenset({"basal.delivered", "basal.rate_changed", "pumping.resumed", "pumping.suspended"})
AROUND = timedelta(hours=12)
"""A bolus across a border lies within this time of it: an extended part lasts eight hours at most."""
LONGEST = timedelta(days=7)
"""A row that lasts longer is taken for a corrupt one: it neither goes on nor counts as the end of the rows."""
_BEGINNINGS = frozenset({"bolus.requested", "bolus.started"})
FIRST_KEY, LAST_KEY = -(1 << 63), (1 << 63) - 1
NEAR = timedelta(minutes=10)
"""The pump's clock and the zone's rules may give times that differ by this much; then a bolus just beside a border is at it."""


class CarriedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row that begins where numbered events are better, and goes on where they end: it counts from there (``at``) on."""

    key: int
    kind: str
    at: datetime


class BorderBolus(msgspec.Struct, frozen=True, kw_only=True):
    """A bolus of which both streams may have records: those of this stream, by key, all count (``shown``) or none does."""

    bolus_id: int
    first_key: int
    last_key: int
    shown: bool

    def has(self, event: Event, key: int) -> bool:
        """Whether ``event`` with this key is one of its records."""
        return (
            event.kind in BOLUS_KINDS
            and self.first_key <= key <= self.last_key
            and getattr(event.body, "bolus_id", None) == self.bolus_id
        )


class Border(msgspec.Struct, frozen=True, kw_only=True):
    """``carried`` of the rows, and the boluses by the stream's id. ``watched``: where new events may change it."""

    carried: CarriedRow | None = None
    boluses: tuple[tuple[int, BorderBolus], ...] = ()
    watched: tuple[tuple[int, int, int], ...] = ()


_Placed = Mapping[int, Sequence[tuple[int, Event]]]
"""Bolus events with their keys and UTC times, by bolus id."""


@attrs.define
class BorderReader:
    """Reads the borders of unnumbered streams, and keeps what it has read until new events may change it."""

    index_of: Callable[[Stream], TimeIndex]
    _known: dict[tuple[int, datetime, tuple[Span, ...]], Border] = attrs.field(factory=dict)
    _used: set[tuple[int, datetime, tuple[Span, ...]]] = attrs.field(factory=set)

    def forget(self, touched: Iterable[tuple[int, int]] | None = None) -> None:
        """Forget the borders that new events, given as (stream's id, key), may change; None: all of them, and the clocks too."""
        if touched is None:
            self._known = {}
            return
        new: dict[int, list[int]] = {}
        for id_, key in sorted(touched):
            new.setdefault(id_, []).append(key)
        self._known = {
            name: border
            for name, border in self._known.items()
            if not any(_has_key(new.get(id_, ()), first, last) for id_, first, last in border.watched)
        }

    def forget_unused(self) -> None:
        """Forget the borders that were not read since the last call."""
        self._known = {name: border for name, border in self._known.items() if name in self._used}
        self._used = set()

    def read(self, rows: Stream, numbered: Sequence[Stream], superseded: tuple[Span, ...], at: datetime) -> Border:
        """Return what lies across ``at``: one end of one of the spans ``superseded`` of the stream ``rows``."""
        reach = (
            4 * AROUND
        )  # events within AROUND are read, and a time index may give some that are 28 hours further away
        near = intersection(superseded, (Span(begin=at - reach, end=at + reach),))
        begin = next((span.begin for span in superseded if span.end == at), None)
        name = rows.id, at, (*near, Span(begin=begin))
        self._used.add(name)
        if name not in self._known:
            try:
                self._known[name] = _read(
                    self.index_of(rows), [self.index_of(each) for each in numbered], near, begin, at
                )
            except LogCorrupt as error:
                log.warning('border_not_read pump=%s reason="%s"', short_serial(rows.pump), error.message)
                return Border()
        return self._known[name]


def row_end(index: TimeIndex) -> datetime | None:
    """Return until when the last basal row of an unnumbered stream lasts; None if it has none, or one without a length."""
    last = index.log.neighbour(index.stream.id, index.stream.last_key + 1, frozenset({"basal.delivered"}), before=True)
    if last is None:
        return None
    try:
        events = index.log.read(index.stream.id, last[0], last[0], frozenset({"basal.delivered"}))
    except LogCorrupt:
        return None
    return max((_end_of(event, at) for event in events if (at := index.clock.utc(*last)) is not None), default=None)


def _read(
    rows: TimeIndex, numbered: Sequence[TimeIndex], near: tuple[Span, ...], begin: datetime | None, at: datetime
) -> Border:
    (keys,) = rows.keys_between(at - AROUND, at + AROUND) or [(rows.stream.last_key + 1, rows.stream.last_key + 1)]
    watched = [_watched(rows, keys, at + AROUND)]
    carried = None
    if begin is not None:
        carried, looked_at = _carried(rows, begin, at)
        watched.append(looked_at)
    mine = _boluses(rows, keys)
    theirs: list[tuple[int, _Placed]] = []
    for index in numbered if mine else ():
        ranges = index.keys_between(at - AROUND, at + AROUND)
        watched += [] if ranges else [(index.stream.id, FIRST_KEY, LAST_KEY)]
        for keys in ranges:
            watched.append(_watched(index, keys, at + AROUND))
            theirs.append((index.stream.id, _boluses(index, keys)))
    boluses: list[tuple[int, BorderBolus]] = []
    for bolus_id, records in mine.items():
        others = [(id_, found[bolus_id]) for id_, found in theirs if bolus_id in found]
        shown = _rows_count(records, [record for _, each in others for record in each], near, at)
        if shown is not None:
            boluses.append((rows.stream.id, _bolus(bolus_id, records, shown=shown)))
        if shown:
            boluses += [(id_, _bolus(bolus_id, each, shown=False)) for id_, each in others]
    return Border(carried=carried, boluses=tuple(boluses), watched=tuple(watched))


def _watched(index: TimeIndex, keys: KeyRange, end: datetime) -> tuple[int, int, int]:
    """Return the stream's id and the keys that new events may have which belong among those of ``keys``, before ``end``."""
    id_ = index.stream.id
    before = index.log.neighbour(id_, keys[0], None, before=True)
    last = index.log.neighbour(id_, keys[1] - 1, None, before=False)
    at = None if last is None else index.clock.utc(*last)
    return id_, FIRST_KEY if before is None else before[0] + 1, LAST_KEY if at is None or at < end else keys[1]


def _carried(rows: TimeIndex, begin: datetime, at: datetime) -> tuple[CarriedRow | None, tuple[int, int, int]]:
    """Return the row that is in force at ``at`` since a time from ``begin`` on, and the stream and the keys that decide about it.

    Numbered events last a little: a row that ends just after the last one is no reason to change the stream.
    """
    stream, border = rows.stream, _key_at(rows, at)
    found = rows.log.neighbour(stream.id, border, BASAL_STATE, before=True)
    decisive = _watched(rows, (border if found is None else found[0], border), at)
    if found is None:
        return None, (stream.id, FIRST_KEY, decisive[2])
    key, since = found[0], rows.clock.utc(*found)
    if since is None or not begin <= since < at:
        return None, decisive
    event = rows.log.read(stream.id, key, key, BASAL_STATE)[-1]
    if isinstance(event.body, PumpingSuspended):
        goes_on = rows.log.neighbour(stream.id, border - 1, BASAL_STATE, before=False) is not None
        decisive = decisive if goes_on else (*decisive[:2], LAST_KEY)
    else:
        goes_on = _end_of(event, since) >= at + CONFIRMED_FOR
    return CarriedRow(key=key, kind=event.kind, at=at) if goes_on else None, decisive


def _end_of(event: Event, at: datetime) -> datetime:
    """Return until when a row lasts; ``at``, when it begins, if it does not say so, or something impossible."""
    span_s = event.body.span_s if isinstance(event.body, BasalDelivered) else None
    return at if span_s is None or not 0 <= span_s <= LONGEST.total_seconds() else at + timedelta(seconds=span_s)


def _has_key(keys: Sequence[int], first: int, last: int) -> bool:
    """Whether one of the sorted ``keys`` is from ``first`` to ``last``."""
    place = bisect_left(keys, first)
    return place < len(keys) and keys[place] <= last


def _key_at(index: TimeIndex, at: datetime) -> int:
    """Return the key of the first event of an unnumbered stream that is not before ``at``; if there is none, the one behind all."""
    key = index.first_key(index.ranges[0], at)
    return index.stream.last_key + 1 if key is None else key


def _boluses(index: TimeIndex, keys: KeyRange) -> _Placed:
    found: dict[int, list[tuple[int, Event]]] = {}
    for event in index.log.read(index.stream.id, *keys, BOLUS_KINDS):
        key = order_key(event)
        at, bolus_id = index.clock.utc(key, event.pump_time), getattr(event.body, "bolus_id", None)
        if at is not None and bolus_id is not None:
            found.setdefault(bolus_id, []).append((key, msgspec.structs.replace(event, at=at)))
    return found


def _rows_count(
    mine: Sequence[tuple[int, Event]], theirs: Sequence[tuple[int, Event]], near: tuple[Span, ...], border: datetime
) -> bool | None:
    """Return whether the rows of a bolus count and not its numbered records; None: each event counts by its own time.

    The side that says how the bolus ended has all of it. If both do, it is the numbered one if that has its beginning too: a row's
    time may be an hour off, so that it only seems to be across the border.
    """
    times = [event.at for _, event in (*mine, *theirs) if event.at is not None]
    if not min(times) - NEAR <= border <= max(times) + NEAR:
        return None
    hidden = [any_contains(near, event.at) for _, event in mine if event.at is not None]
    row, record = _joined(mine), _joined(theirs)
    if row is None or (theirs and record is None):
        return None
    if all(hidden):
        return True if record is not None and _has_ended(row) and not _has_ended(record) else None
    if record is not None:
        return _has_ended(row) and not (_has_ended(record) and any(event.kind in _BEGINNINGS for _, event in theirs))
    return True if any(hidden) else None


def _joined(records: Iterable[tuple[int, Event]]) -> JoinedBolus | None:
    """Return the one bolus of these records; None if there are none, or if two boluses have its id."""
    known: tuple[JoinedBolus, ...] = ()
    for _, event in records:
        known, finished = join_record(known, event, JoinedBolus)
        if finished:
            return None
    return known[0] if len(known) == 1 else None


def _has_ended(bolus: JoinedBolus) -> bool:
    """Whether its records say how much it delivered in the end."""
    return bolus.over and bolus.amounts is not None


def _bolus(bolus_id: int, records: Sequence[tuple[int, Event]], *, shown: bool) -> BorderBolus:
    keys = [key for key, _ in records]
    return BorderBolus(bolus_id=bolus_id, first_key=min(keys), last_key=max(keys), shown=shown)
