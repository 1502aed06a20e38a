"""Decides where a pump's numbered events supersede its rows without numbers: everywhere but where numbered events are missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import attrs
import msgspec

from tconnectsync.eventlog import Stream
from tconnectsync.events.basal_rates import CONFIRMED_FOR
from tconnectsync.timeline.active_pump import SUPERSEDING
from tconnectsync.timeline.borders import AROUND, BASAL_STATE, BorderBolus, BorderReader, CarriedRow, row_end
from tconnectsync.timeline.coverage import CoveredTimes, EventCoverage
from tconnectsync.timeline.spans import EARLIEST, LATEST, Span, difference, intersection, union
from tconnectsync.timeline.time_index import TimeIndex

_DAYS = timedelta(days=3)
"""More than any slack of a :class:`TimeIndex`, so that no time becomes too early."""
Touched = set[tuple[int, int, str]]
"""New events: (stream's id, key, kind)."""


class Superseded(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream's timeline says about the pump's other streams. ``covered``: by a numbered stream's id, when it has basal."""

    spans: tuple[Span, ...] = ()
    carried: tuple[CarriedRow, ...] = ()
    boluses: tuple[BorderBolus, ...] = ()
    covered: Mapping[int, tuple[Span, ...]] = {}


@attrs.define
class Superseding:
    """Finds for each stream what is superseded, and caches what it reads."""

    index_of: Callable[[Stream], TimeIndex]
    _coverage: dict[tuple[int, int], EventCoverage] = attrs.field(factory=dict)
    _row_ends: dict[int, datetime | None] = attrs.field(factory=dict)
    _borders: BorderReader = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._borders = BorderReader(self.index_of)

    def clear(self) -> None:
        """Clear the cache: the log is another one, or a clock has changed."""
        self._coverage, self._row_ends = {}, {}
        self._borders.forget()

    def forget(self, touched: Touched) -> None:
        """Remove from the cache what new events made invalid."""
        if not self._coverage:
            return
        for (_, numbered), coverage in self._coverage.items():
            coverage.note(key for id_, key, _ in touched if id_ == numbered)
        self._row_ends = {
            id_: end for id_, end in self._row_ends.items() if not any(each == id_ for each, _, _ in touched)
        }
        self._borders.forget({(id_, key) for id_, key, _ in touched})

    def read(self, streams: Iterable[Stream]) -> dict[int, Superseded]:
        """Return by the stream's id what is superseded in it. Call :meth:`forget` for new events first."""
        streams = _in_order(streams)
        found = {stream.id: Superseded() for stream in streams}
        boluses: dict[int, set[BorderBolus]] = {stream.id: set() for stream in streams}
        for rows in streams:
            numbered = [each for each in streams if each.numbered and each.pump == rows.pump]
            bounds = None if rows.numbered or not numbered else self._bounds(rows)
            if bounds is None:
                continue
            covered = {each.id: self._covered(rows, each, bounds) for each in numbered}
            everywhere = union(span for each in covered.values() for span in each.spans)
            spans = intersection(everywhere, (Span(end=bounds[1] + timedelta(seconds=1)),))
            carried = []
            for at in _inner_bounds(everywhere, bounds[1] + AROUND):
                border = self._borders.read(rows, numbered, spans, at)
                carried += [] if border.carried is None else [border.carried]
                for id_, bolus in border.boluses:
                    boluses[id_].add(bolus)
            found[rows.id] = Superseded(
                spans=spans, carried=tuple(carried), covered={id_: each.basal for id_, each in covered.items()}
            )
        self._borders.forget_unused()
        return {
            id_: msgspec.structs.replace(superseded, boluses=_ordered(boluses[id_])) if boluses[id_] else superseded
            for id_, superseded in found.items()
        }

    def _bounds(self, rows: Stream) -> tuple[datetime, datetime] | None:
        """Return the time bounds of an unnumbered stream; None if nothing of it can be superseded (settings only)."""
        index, keys = self.index_of(rows), (rows.first_key, rows.last_key)
        bounds = None if index.bounds(keys, SUPERSEDING) is None else index.bounds(keys)
        if bounds is None:
            return None
        if rows.id not in self._row_ends:
            self._row_ends[rows.id] = row_end(index)
        return bounds[0], max(bounds[1], self._row_ends[rows.id] or bounds[1])

    def _covered(self, rows: Stream, numbered: Stream, bounds: tuple[datetime, datetime]) -> CoveredTimes:
        coverage = self._coverage.setdefault((rows.id, numbered.id), EventCoverage())
        return coverage.covered(self.index_of(numbered), *bounds)

    def share(
        self, streams: Iterable[Stream], active: Mapping[int, tuple[Span, ...]], superseded: Mapping[int, Superseded]
    ) -> dict[int, tuple[Span, ...]]:
        """Give each time of a worn pump to one of its streams; return when each is the active one.

        The rows are active in a hole, and the numbered stream elsewhere. Each goes on for some minutes until
        the other one's first basal, so that no basal is missing.
        """
        shared = dict(active)
        for rows in _in_order(streams):
            if not superseded[rows.id].covered:
                continue
            begins = self._begins(rows, superseded[rows.id])
            claims = [Span(begin=begin, end=hole.end) for hole, begin in begins]
            ends = {hole.begin: begin for hole, begin in begins if begin - (hole.begin or EARLIEST) < CONFIRMED_FOR}
            for id_, spans in superseded[rows.id].covered.items():
                longer = union(Span(begin=span.begin, end=ends.get(span.end, span.end)) for span in spans)
                taken, given = intersection(claims, shared[id_]), intersection(longer, shared[rows.id])
                shared[id_] = union([*_without(shared[id_], taken), *given])
                shared[rows.id] = union([*_without(shared[rows.id], given), *taken])
        return shared

    def _begins(self, rows: Stream, superseded: Superseded) -> list[tuple[Span, datetime]]:
        """Return the times in which no numbered stream of the pump has events, and where the rows begin in each, if they do."""
        index = self.index_of(rows)
        everywhere = union(span for spans in superseded.covered.values() for span in spans)
        carried = {each.at for each in superseded.carried}
        found = []
        for hole in difference((Span(begin=EARLIEST, end=LATEST),), everywhere):
            begin = hole.begin or EARLIEST
            if begin not in carried:
                just_before = max(begin, EARLIEST + _DAYS) - timedelta(microseconds=1)
                basal, first = index.after(just_before, BASAL_STATE), index.after(just_before, SUPERSEDING)
                if first is None or first >= (hole.end or LATEST):
                    continue
                begin = basal if basal is not None and basal - begin < CONFIRMED_FOR else first
            found.append((hole, begin))
        return found


def _in_order(streams: Iterable[Stream]) -> list[Stream]:
    """Sort by what the streams are, not by which came first."""
    return sorted(streams, key=lambda each: (each.pump, each.numbered, each.group or 0, each.source))


def _inner_bounds(spans: Sequence[Span], last: datetime) -> list[datetime]:
    """Return where the spans begin and end, as far as that is not after ``last``."""
    return [at for span in spans for at in (span.begin, span.end) if at is not None and at <= last]


def _without(these: Sequence[Span], those: Sequence[Span]) -> tuple[Span, ...]:
    return difference(these, intersection(these, those))


def _ordered(boluses: Iterable[BorderBolus]) -> tuple[BorderBolus, ...]:
    return tuple(sorted(boluses, key=lambda each: (each.first_key, each.bolus_id)))
