"""Reads events and therapy of a time range from the event log, beside a running daemon and without its lock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs

from tconnectsync.clock import Clock
from tconnectsync.eventlog import EventLog
from tconnectsync.eventlog.codec import Decoder
from tconnectsync.events import PUMP_KINDS, Event, bolus_join
from tconnectsync.events.basal_rates import CONFIRMED_FOR
from tconnectsync.events.readings import measured_at
from tconnectsync.statistics import basal, glucose
from tconnectsync.statistics.day_cache import DayCache
from tconnectsync.statistics.day_store import FILE_NAME
from tconnectsync.statistics.reading import KINDS, read_therapy
from tconnectsync.statistics.summary import Summary, day_span, days_between, summarise_day
from tconnectsync.statistics.therapy import BasalSpan, Therapy, merged
from tconnectsync.timeline.event_stream import EventStream, event_streams
from tconnectsync.timeline.resolver import TimelineResolver
from tconnectsync.timeline.spans import EARLIEST, LATEST, any_contains
from tconnectsync.timeline.time_range import events_between, first_from, last_before, last_where
from tconnectsync.timeline.zones import Zones

AROUND = timedelta(hours=12)
"""A bolus begins and ends within this time."""
LATE_GLUCOSE = timedelta(days=1)
"""A sensor sends readings that the pump missed up to a day later."""
GAP = timedelta(minutes=7)
"""A sensor measures every five minutes: after a longer time a reading is missing."""
SILENCE = timedelta(hours=3)
"""A pump that is on logs something at least hourly: after a longer time its records are missing."""
SIGNS = PUMP_KINDS - basal.NO_SIGNS
"""Kinds that show that the pump was on."""
MODES = frozenset({"mode.changed"})
CHUNK = timedelta(days=14)
"""The days of therapy that are in memory at once."""


@attrs.define
class PumpLog:
    """The event log of one data folder, for a wearer who lives in ``zones``. Use it in one thread only, and close it.

    Every call sees what the daemon has written since. Errors of all methods: LogCorrupt if they need a corrupt record.
    """

    zones: Zones
    _log: EventLog
    _resolver: TimelineResolver
    _streams: dict[str, EventStream] = attrs.field(factory=dict)
    _seen: tuple[str, int] = ("", -1)
    _days: DayCache = attrs.field(kw_only=True)
    _clock: Clock = attrs.field(kw_only=True)

    @classmethod
    def open(
        cls,
        data_dir: Path,
        zones: Zones,
        *,
        clock: Clock,
        decoders: Mapping[str, Decoder] | None = None,
        stores_days: bool = False,
    ) -> PumpLog:
        """Open the log of ``data_dir``; if there is none, it is empty. Errors: LogCorrupt, OSError.

        ``decoders``: the sources by name. A record that an older release could not decode is decoded with them.
        ``stores_days``: keep the figures of past days in a file there, so that the next process need not compute them.
        """
        log = EventLog.open(data_dir, clock=clock, writable=False, decoders=decoders)
        versions = {name: decoder.decoder for name, decoder in (decoders or {}).items()}
        days = DayCache(zones, versions, data_dir / FILE_NAME if stores_days else None)
        return cls(zones=zones, log=log, resolver=TimelineResolver(log, zones), days=days, clock=clock)

    def close(self) -> None:
        """Close the log."""
        self._days.save(at_least=1)
        self._log.close()

    def __enter__(self) -> PumpLog:
        """Return the log."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the log."""
        self.close()

    @property
    def position(self) -> tuple[str, int]:
        """The log's id and its last position. It changes when the daemon wrote something."""
        return self._log.log_id, self._log.end

    def pumps(self) -> tuple[str, ...]:
        """Return the serial numbers of all pumps in the log, sorted."""
        return tuple(sorted({stream.pump for stream in self._current().values()}))

    def worn_pumps(self) -> tuple[str, ...]:
        """Return the serial numbers of the pumps that are worn now, as far as known: one, or none if the log is empty."""
        active = [(stream.pump, stream.timeline.active) for stream in self._current().values()]
        return tuple(sorted({pump for pump, spans in active if spans and spans[-1].end is None}))

    def newest(self) -> datetime | None:
        """Return the UTC time of the newest event of the worn pump; None if there is none, or no zone that fits its clock.

        If no pump is known to be worn, the newest event of any pump counts.
        """
        return self._resolver.newest()

    def events(
        self,
        since: datetime | None = None,
        until: datetime | None = None,
        kinds: Collection[str] | None = None,
        *,
        active_only: bool = False,
    ) -> Iterator[Event]:
        """Yield the pumps' events with since <= ``at`` < until in time order, each with ``at``, its UTC time.

        None: without bound. ``active_only``: only of the pump that was worn at that time. Events whose UTC time is unknown are
        left out. Memory is bounded. Errors: ValueError for a time without a zone, or a kind that does not exist.
        """
        _require_zone(since, until)
        _require_known(kinds or ())
        begin, end = since or EARLIEST, until or LATEST
        wanted = None if kinds is None else frozenset(kinds)
        streams = [_events_of(stream, begin, end, wanted, active_only) for stream in self._current().values()]
        return heapq.merge(*streams, key=lambda event: event.at or EARLIEST)

    def last(self, kinds: Collection[str], where: Callable[[Event], bool] | None = None) -> Event | None:
        """Return the newest event of these kinds, with ``at``, of the pump that is worn now; None if there is none.

        ``where``: only events for which it is true.
        """
        _require_known(kinds)
        worn, wanted = self.worn_pumps(), frozenset(kinds)
        found = [last_where(stream, wanted, where) for stream in self._current().values() if stream.pump in worn]
        return max(
            (event for event in found if event is not None), key=lambda event: event.at or EARLIEST, default=None
        )

    def to_frame(
        self, since: datetime | None = None, until: datetime | None = None, kinds: Collection[str] | None = None
    ) -> Any:  # a pandas.DataFrame: pandas is optional
        """Return :meth:`events` as a ``pandas.DataFrame``, indexed by UTC time. Errors: ImportError without pandas.

        With ``kinds``, it has their columns also if there are no such events.
        """
        from tconnectsync.python_api.event_frame import data_frame

        return data_frame(self.events(since, until, kinds), kinds or ())

    def therapy(self, since: datetime, until: datetime) -> Therapy:
        """Return glucose, basal, boluses, carbs and modes with since <= time < until, of the active pump only.

        Errors: ValueError for a time without a zone.
        """
        _require_zone(since, until)
        parts = []
        for stream in self._current().values():
            events = self._therapy_events(stream, since, until)
            whole = read_therapy(events, pump=stream.pump, seen=self._seen_on(stream, until))
            worn = whole.while_active(stream.timeline.active)
            if stream.numbered:
                worn = attrs.evolve(worn, basal=[_while_heard(stream, span) for span in worn.basal])
            parts.append(worn.between(since, until))
        return attrs.evolve(merged(parts), until=self.newest())

    def days(self, first: date, last: date) -> Sequence[Summary]:
        """Return the figures of each local day from ``first`` to ``last``, both included.

        The present day ends with the data; a day that is over has its whole length, also if its last hours are missing.
        """
        newest, now = self.newest(), self._clock.now()
        self._days.forget_changed(self._log, self._current(), self._seen)
        found = {day: summary for day in days_between(first, last) if (summary := self._days.get(day)) is not None}
        missing = [day for day in days_between(first, last) if day not in found]
        while missing:
            chunk = [day for day in missing if day - missing[0] < CHUNK]
            missing = missing[len(chunk) :]
            therapy = self.therapy(day_span(chunk[0], self.zones)[0], day_span(chunk[-1], self.zones)[1])
            for day in chunk:
                end = day_span(day, self.zones)[1]
                found[day] = summarise_day(day, therapy, self.zones, until=newest if now < end else None)
                if newest is not None and end <= newest:
                    self._days.keep(found[day])
        self._days.save()
        return [found[day] for day in days_between(first, last)]

    def _current(self) -> dict[str, EventStream]:
        if self._seen != self.position:
            seen = self.position
            self._streams = event_streams(self._log, self._resolver.resolve())
            self._seen = seen
        return self._streams

    def _seen_on(self, stream: EventStream, until: datetime) -> datetime | None:
        """Return until when events of any kind show that the pump was on. A stopped pump may report only its battery for days."""
        last = self._log.neighbour(stream.id, stream.stream.last_key + 1, SIGNS, before=True)
        at = None if last is None else stream.timeline.at(*last)
        return None if at is None or stream.timeline.is_superseded(at) else min(at, until)

    def _therapy_events(self, stream: EventStream, since: datetime, until: datetime) -> Iterator[Event]:
        """Yield what :func:`read_therapy` needs: also the rate in force at ``since``, and what comes after ``until``."""
        before = since - CONFIRMED_FOR
        for kinds in (basal.KINDS, MODES):
            event = last_before(stream, before if kinds is basal.KINDS else since, kinds)
            if event is not None:
                yield event
        yield from events_between(stream, since - AROUND, since, bolus_join.KINDS)
        yield from events_between(stream, before, since, basal.KINDS)
        measured: list[datetime] = [since]
        for event in events_between(stream, since, until, KINDS):
            if event.kind in glucose.KINDS and event.at is not None:
                measured.append(measured_at(event))
            yield event
        event = first_from(stream, until, basal.KINDS)
        if event is not None:
            yield event
        yield from events_between(stream, until, until + AROUND, bolus_join.KINDS)
        if _has_gap([*measured, until]):
            yield from events_between(stream, until, until + LATE_GLUCOSE, glucose.KINDS)


def _require_zone(*times: datetime | None) -> None:
    for time in times:
        if time is not None and time.tzinfo is None:
            raise ValueError(f"{time} has no time zone: give one, such as datetime(2025, 11, 14, tzinfo=timezone.utc)")


def _require_known(kinds: Collection[str]) -> None:
    from tconnectsync.config.error_words import did_you_mean
    from tconnectsync.events import BODIES

    for kind in kinds:
        if kind not in BODIES:
            raise ValueError(f'there is no kind "{kind}"{did_you_mean(kind, tuple(BODIES))}')


def _has_gap(measured: list[datetime]) -> bool:
    """Whether readings are missing, which the sensor may send later."""
    ordered = sorted(measured)
    return any(after - before > GAP for before, after in pairwise(ordered))


def _events_of(
    stream: EventStream, begin: datetime, end: datetime, kinds: frozenset[str] | None, active_only: bool
) -> Iterator[Event]:
    for event in events_between(stream, begin, end, kinds):
        if event.at is not None and (not active_only or any_contains(stream.timeline.active, event.at)):
            yield event


def _while_heard(stream: EventStream, span: BasalSpan) -> BasalSpan:
    """End a rate or stop at the last event before a silence: what the pump did in it, and whether it still applies, is unknown."""
    at = span.begin
    while span.end - at > SILENCE:
        event = last_before(stream, at + SILENCE, SIGNS)
        if event is None or event.at is None or event.at <= at:
            return attrs.evolve(span, end=at)
        at = event.at
    return span
