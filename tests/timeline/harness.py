"""Simulates a pump whose real UTC times are known, and an in-memory log that answers from plain lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import attrs
import msgspec

from tconnectsync import events as ev
from tconnectsync.events import FACTS, Event
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.zones import Zones

UTC = timezone.utc
EPOCH = datetime(2008, 1, 1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@attrs.define
class PumpHistory:
    """One pump. ``offset_s`` is its wall clock minus UTC; ``truth`` the real UTC time by sequence number."""

    now: datetime
    offset_s: float
    pump: str = "111"
    group: int = 0
    seq: int = 0
    rtc: bool = True
    events: list[Event] = attrs.field(factory=list, repr=False)
    truth: dict[int, datetime] = attrs.field(factory=dict, repr=False)
    deeds: list[str] = attrs.field(factory=list)

    @property
    def wall(self) -> datetime:
        return (self.now + timedelta(seconds=self.offset_s)).replace(tzinfo=None, microsecond=0)

    def log(self, kind: str = "glucose.reading", body: object = None) -> Event:
        self.seq += 1
        self.truth[self.seq] = self.now
        event = Event(
            id=f"tandem:{self.pump}:{self.group}:{self.seq}",
            kind=kind,
            pump=self.pump,
            group=self.group,
            seq=self.seq,
            pump_time=self.wall,
            source="tandem",
            received_at=self.now,
            body=body,
        )
        self.events.append(event)
        return event

    def run(self, until: datetime, every: timedelta = timedelta(hours=1), kind: str = "glucose.reading") -> PumpHistory:
        while self.now + every <= until:
            self.now += every
            self.log(kind)
        self.now = until
        return self

    def set_clock(
        self, offset_s: float, *, pair: bool = True, between: int = 0, time_first: bool = False
    ) -> PumpHistory:
        """The wearer sets the clock: 14 with the new date and the old time, then 13, or the other way round.

        ``between``: events between the two, a second apart.
        """
        self.deeds.append(f"{self.now:%m-%d %H:%M} set {offset_s / 3600:g} h")
        before = self.wall
        after = (self.now + timedelta(seconds=offset_s)).replace(tzinfo=None)
        date_s = float((after.date() - before.date()).days * 86400)
        parts = [("time", offset_s - self.offset_s - date_s)]
        if pair or date_s:
            parts.insert(1 if time_first else 0, ("date", date_s))
        for i, (part, step_s) in enumerate(parts):
            if i:
                for _ in range(between):
                    self.now += timedelta(seconds=1)
                    self.log()
                self.now += timedelta(seconds=1)
            self.offset_s += step_s
            rtc_ms = int(self.now.timestamp() * 1000) % (1 << 32) if self.rtc else None
            self.log("clock.changed", ev.ClockChanged(part=part, step_s=step_s, rtc_ms=rtc_ms))
        return self

    def drift(self, seconds: float) -> PumpHistory:
        self.offset_s += seconds
        return self

    def reset(self, to: datetime = EPOCH) -> PumpHistory:
        """The clock falls back without a record."""
        self.deeds.append(f"{self.now:%m-%d %H:%M} reset")
        self.offset_s = (to - self.now.replace(tzinfo=None)).total_seconds()
        return self

    def upload(self, lag: timedelta = timedelta(minutes=4), newest: datetime | None = None) -> Event:
        at = self.now + lag
        body = ev.UploadSeen(uploaded_at=at, newest_pump_time=self.wall if newest is None else newest)
        event = Event(
            id=f"tandem:{self.pump}:upload:{at.isoformat()}",
            kind="upload.seen",
            pump=self.pump,
            group=None,
            seq=None,
            pump_time=self.wall,
            source="tandem",
            received_at=at,
            body=body,
        )
        self.events.append(event)
        return event

    def opened(self, first_day: str, last_day: str | None = None) -> Event:
        event = Event(
            id=f"tandem:{self.pump}:opened:{first_day}",
            kind="history.opened",
            pump=self.pump,
            group=None,
            seq=None,
            pump_time=self.wall,
            source="tandem",
            received_at=self.now,
            body=ev.HistoryOpened(first_day=first_day, last_day=last_day),
        )
        self.events.append(event)
        return event


def row(at: datetime, zone: Zones, *, pump: str = "111", kind: str = "bolus.completed", source: str = "csv") -> Event:
    """An event without a number."""
    wall = zone.wall_of(at)
    return Event(
        id=f"{source}:{pump}:{kind}:{wall.isoformat()}",
        kind=kind,
        pump=pump,
        group=None,
        seq=None,
        pump_time=wall,
        source=source,
        received_at=at,
        body=None,
    )


@attrs.frozen(kw_only=True)
class ListStream:
    id: int
    pump: str
    group: int | None
    source: str
    numbered: bool
    first_key: int
    last_key: int


def key_of(event: Event) -> int:
    return event.seq if event.seq is not None else round((event.pump_time - EPOCH) / timedelta(milliseconds=1))


@attrs.define
class ListLog:
    """Answers the event log's questions by reading everything."""

    log_id: str = "list"
    records: list[Event] = attrs.field(factory=list)
    questions: int = 0
    _streams: dict[tuple[str, int | None, str | None], int] = attrs.field(factory=dict)
    _rows: dict[int, list[tuple[int, Event]]] = attrs.field(factory=dict)
    _ids: set[str] = attrs.field(factory=set)

    @property
    def end(self) -> int:
        return len(self.records)

    def append(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.id in self._ids:
                continue
            self._ids.add(event.id)
            placed = msgspec.structs.replace(event, pos=len(self.records) + 1)
            self.records.append(placed)
            if event.kind not in FACTS:
                name = (event.pump, event.group, None if event.seq is not None else event.source)
                id_ = self._streams.setdefault(name, len(self._streams) + 1)
                self._rows.setdefault(id_, []).append((key_of(event), placed))
        for rows in self._rows.values():
            rows.sort(key=lambda each: (each[0], each[1].id))

    def streams(self) -> list[ListStream]:
        return [
            ListStream(
                id=id_,
                pump=pump,
                group=group,
                source=self._rows[id_][0][1].source,
                numbered=source is None,
                first_key=self._rows[id_][0][0],
                last_key=self._rows[id_][-1][0],
            )
            for (pump, group, source), id_ in self._streams.items()
        ]

    def read(
        self, stream_id: int, first_key: int, last_key: int, kinds: frozenset[str] | None = None
    ) -> Sequence[Event]:
        return [event for key, event in self._of(stream_id, kinds) if first_key <= key <= last_key]

    def touched(self, after_pos: int, up_to_pos: int | None = None) -> Iterator[tuple[int, int, int, str]]:
        where = {event.pos: id_ for id_, rows in self._rows.items() for _, event in rows}
        for event in self.records[after_pos:up_to_pos]:
            if event.kind not in FACTS:
                yield event.pos, where[event.pos], key_of(event), event.kind

    def facts(
        self, kind: str, *, source: str | None = None, pump: str | None = None, limit: int = 100
    ) -> Sequence[Event]:
        found = [
            event
            for event in reversed(self.records)
            if event.kind == kind and pump in (None, event.pump) and source in (None, event.source)
        ]
        return found[:limit]

    def jumps(self, stream_id: int) -> Sequence[tuple[int, datetime, datetime]]:
        rows = self._rows[stream_id]
        return [
            (key, before.pump_time, event.pump_time)
            for (_, before), (key, event) in pairwise(rows)
            if event.seq is not None and before.pump_time - event.pump_time > timedelta(hours=3)
        ]

    def newest(self, stream_id: int) -> Event | None:
        return self._rows[stream_id][-1][1]

    def times(
        self, stream_id: int, kinds: frozenset[str] | None, first_key: int | None = None, last_key: int | None = None
    ) -> Iterator[tuple[int, datetime]]:
        for key, event in self._of(stream_id, kinds):
            if (first_key is None or key >= first_key) and (last_key is None or key <= last_key):
                self.questions += 1
                yield key, event.pump_time

    def neighbour(
        self, stream_id: int, key: int, kinds: frozenset[str] | None = None, before: bool = True
    ) -> tuple[int, datetime] | None:
        self.questions += 1
        rows = self._of(stream_id, kinds)
        found = (
            [each for each in rows if each[0] < key][-1:] if before else [each for each in rows if each[0] > key][:1]
        )
        return (found[0][0], found[0][1].pump_time) if found else None

    def _of(self, stream_id: int, kinds: frozenset[str] | None) -> list[tuple[int, Event]]:
        return [each for each in self._rows[stream_id] if kinds is None or each[1].kind in kinds]


def placed_times(log: ListLog, zones: Zones, pump: str = "111", group: int = 0) -> dict[int, datetime | None]:
    """UTC by sequence number, as a placer gives it that sees the whole log at once."""
    return times_of(TimelineResolver(log, zones), log, pump, group)


def times_of(placer: TimelineResolver, log: ListLog, pump: str = "111", group: int = 0) -> dict[int, datetime | None]:
    stream = next(each for each in log.streams() if (each.pump, each.group, each.numbered) == (pump, group, True))
    placement = placer.resolve()[stream.id]
    return {
        event.seq: placement.at(event.seq, event.pump_time)
        for event in log.read(stream.id, stream.first_key, stream.last_key)
        if event.seq is not None
    }


def worst_s(found: dict[int, datetime | None], truth: dict[int, datetime], keys: Iterable[int] | None = None) -> float:
    """The greatest error in seconds; infinite if a time is unknown."""
    errors = []
    for key in truth if keys is None else keys:
        at = found[key]
        errors.append(float("inf") if at is None else abs((at - truth[key]).total_seconds()))
    return max(errors)
