"""Merge the responses for one window of days into facts; of duplicates, one counts.

Basal is from the timeline, and from the CSV export where the timeline has none. Boluses and readings are from the
therapy events, and from the CSV export on days where those have none of that kind. An unreadable row is stored as
``unknown``.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import attrs

from tconnectsync_tconnect.rows import infusion_sites, therapy_events, timeline
from tconnectsync_tconnect.rows.bad_row import BadRow
from tconnectsync_tconnect.rows.basal import CsvBasal, OpenRow, with_segment, without_covered
from tconnectsync_tconnect.rows.csv_tables import BASAL, BOLUS, PUMP, CsvRow, Damaged
from tconnectsync_tconnect.rows.decoder import CSV, READERS
from tconnectsync_tconnect.rows.modes import mode_changes
from tconnectsync_tconnect.rows.partial_rows import readable, time_among, time_of
from tconnectsync_tconnect.rows.provenance import ProvenancedRow, unknown_with_row, with_row
from tconnectsync_tconnect.rows.row_event import RowEvent
from tconnectsync_tconnect.rows.signs_of_life import SignsOfLife
from tconnectsync_tconnect.rows.timeline import BasalTimelineRow, ModeRow, Suspension
from tconnectsync_tconnect.rows.unreadable_rows import is_bolus, is_changed, unreadable

_SAME_S = 60
"""Times of one suspension in two services differ by at most this."""


@attrs.frozen(kw_only=True)
class WindowResponses:
    """The responses for the days from ``first`` on; ``csv`` and ``sites`` are empty if they were not requested."""

    first: date
    timeline: Mapping[str, Any] = attrs.field(factory=dict)
    therapy: Sequence[Any] = ()
    csv: Sequence[CsvRow | Damaged] = ()
    sites: Sequence[Any] = ()


@attrs.frozen(kw_only=True)
class OpenSpans:
    """Spans from earlier days whose end is in later rows. ``newest``: the time of their newest data."""

    csv_row: OpenRow | None = None
    suspension: Suspension | None = None
    modes: tuple[ModeRow, ...] = ()
    newest: datetime | None = None


@attrs.frozen(kw_only=True)
class MergedResponses:
    """The facts of a window, each once, and its open spans.

    ``bad``: the number of unreadable rows; ``unreadable``: those that a user would miss, by kind.
    """

    facts: Sequence[ProvenancedRow]
    open_spans: OpenSpans
    bad: int
    unreadable: Mapping[str, int]

    @property
    def is_changed(self) -> bool:
        """Whether so much is missing that the vendor must have changed something."""
        return is_changed(self.unreadable, len(self.facts) - self.bad)


def merge_responses(answers: WindowResponses, rest: OpenSpans) -> MergedResponses:
    bad = _BadRows(answers.first)
    segments = _segments(answers.timeline, bad)
    suspensions = bad.read(
        timeline.SUSPENSION, answers.timeline.get("suspensionDeliveryEvents"), timeline.suspension_of
    )
    modes = bad.read(timeline.MODE, answers.timeline.get("events"), timeline.mode_of)
    sites = bad.read(infusion_sites.SITE, answers.sites, infusion_sites.site_event_of)
    therapy_facts = bad.kept(therapy_events.THERAPY, answers.therapy)
    csv_basal, export_facts = _csv(answers.csv, rest.csv_row, bad)

    by_start = {segment.at: segment for segment in segments}
    unexplained = [one for one in suspensions if one.at not in by_start]
    if rest.suspension is not None and rest.suspension.at not in {one.at for one in suspensions}:
        unexplained.insert(0, rest.suspension)
    reasons = {one.at: one.reason for one in suspensions}
    found = [with_segment(segment, reasons.get(segment.at)) for segment in segments]
    alive = _signs_of_life(segments, [*therapy_facts, *export_facts], rest)
    pieces, csv_row = without_covered(csv_basal, segments, unexplained, alive)
    found += pieces
    basal = sorted((one.fact for one in found), key=lambda fact: fact.at)
    stops, open_stop = _suspended(unexplained, segments)
    found += stops
    found += _sites(sites, suspensions, basal)
    before = () if rest.newest is None else (rest.newest,)
    newest = max((*before, *(one.fact.at for one in (*found, *therapy_facts, *export_facts))), default=None)
    changes, open_modes = mode_changes([*rest.modes, *modes], newest)
    found += changes
    filled = _filled(therapy_facts, export_facts, lacks_boluses=any(is_bolus(one.raw["row"]) for one in bad.facts))
    found += filled
    missed = unreadable(bad.facts, _boluses(therapy_facts), _boluses(filled[len(therapy_facts) :]))
    return MergedResponses(
        facts=[*_each_once(found, bad), *bad.facts],
        open_spans=OpenSpans(csv_row=csv_row, suspension=open_stop, modes=open_modes, newest=newest),
        bad=len(bad.facts),
        unreadable=missed,
    )


def _signs_of_life(
    segments: Sequence[BasalTimelineRow], facts: Sequence[ProvenancedRow], rest: OpenSpans
) -> SignsOfLife:
    """When the pump worked in this window, and since the row that is open from earlier ones."""
    alive = SignsOfLife()
    if rest.csv_row is not None and rest.newest is not None:
        alive.add_span(rest.csv_row.start.at, rest.newest)
    for segment in segments:
        alive.add_span(segment.at, segment.end)
    for one in facts:
        alive.add_fact(one.fact)
    return alive


class _BadRows:
    """Unreadable rows, stored as they are."""

    def __init__(self, day: date) -> None:
        self.at = datetime.combine(day, time())
        self.facts: list[ProvenancedRow] = []

    def read(self, origin: str, rows: Any, reader: Any) -> list[Any]:
        """Return the result of ``reader`` for each row; rows that it skips give nothing."""
        found = []
        for row in rows if isinstance(rows, (list, tuple)) else ():
            if not isinstance(row, Mapping):
                self.add(origin, row, "is not a row")
                continue
            try:
                read = reader(row)
            except BadRow as problem:
                self.add(origin, row, problem.reason)
                continue
            if read is not None:
                found.append(read)
        return found

    def kept(self, origin: str, rows: Sequence[Any]) -> list[ProvenancedRow]:
        """Return the facts of each row on its own."""
        facts = self.read(origin, rows, lambda row: with_row(origin, row, READERS[origin](row, {})))
        return list(itertools.chain.from_iterable(facts))

    def add(self, origin: str, row: Any, reason: str) -> None:
        """Store a row as ``unknown``."""
        one = unknown_with_row(origin, row, reason, self.at)
        if any(other.fact == one.fact for other in self.facts[-1:]):
            return  # several facts from one row
        self.facts.append(one)


def _segments(answer: Mapping[str, Any], bad: _BadRows) -> list[BasalTimelineRow]:
    """The basal rows in order. At one time one wins: with a length, then algorithm, temporary, profile."""
    lists = answer.get("basal")
    rows = [row for each in lists.values() if isinstance(each, list) for row in each] if isinstance(lists, dict) else []
    chosen: dict[datetime, BasalTimelineRow] = {}
    for segment in bad.read(timeline.BASAL, rows, timeline.segment_of):
        other = chosen.get(segment.at)
        if other is None or (segment.span_s > 0, segment.type) > (other.span_s > 0, other.type):
            chosen[segment.at] = segment
    return sorted((one for one in chosen.values() if one.span_s > 0), key=lambda one: one.at)


def _csv(
    rows: Sequence[CsvRow | Damaged], before: OpenRow | None, bad: _BadRows
) -> tuple[list[CsvBasal], list[ProvenancedRow]]:
    basal = [] if before is None else [before.start]
    facts: list[ProvenancedRow] = []
    for row in rows:
        try:
            if isinstance(row, Damaged):
                raise row.problem
            if row.table == BASAL:
                read = readable(row)
                basal.append(CsvBasal.of(read.cells))
                if read.damage is not None:
                    raise read.damage
            elif row.table != PUMP:
                read = readable(row)
                facts += with_row(CSV, read.cells, READERS[CSV](read.cells, {}), **read.around)
                if read.damage is not None:
                    raise read.damage
        except BadRow as problem:
            cells = {"table": row.table, "cells": list(row.rest)} if isinstance(row, Damaged) else row.cells
            bad.add(CSV, cells, problem.reason)
            if row.table == BASAL:
                _end_basal(basal, row)
    return sorted(basal, key=lambda one: one.at), facts


def _end_basal(basal: list[CsvBasal], row: CsvRow | Damaged) -> None:
    """An unreadable row ends the one before it: at its time, or at an unknown time."""
    at = time_among(row.rest) if isinstance(row, Damaged) else time_of(row.cells)
    if at is not None:
        basal.append(CsvBasal(at=at, cells={}, known=False))
    elif basal:
        basal[-1] = attrs.evolve(basal[-1], known=False)


def _suspended(
    unexplained: Sequence[Suspension], segments: Sequence[BasalTimelineRow]
) -> tuple[list[ProvenancedRow], Suspension | None]:
    """Suspensions without a basal row, each until basal resumes; and the one that still lasts."""
    found: list[ProvenancedRow] = []
    still: Suspension | None = None
    for one in unexplained:
        found += with_row(timeline.SUSPENSION, one.row, READERS[timeline.SUSPENSION](one.row, {}))
        after = next((segment.at for segment in segments if segment.at > one.at and segment.rate_u_per_h > 0), None)
        if after is None:
            still = still or one
        else:
            found += _resumed(one.row, after)
    return found, still


def _resumed(row: Mapping[str, Any], at: datetime) -> list[ProvenancedRow]:
    around = {"at": at.isoformat()}
    return with_row(timeline.RESUMPTION, row, READERS[timeline.RESUMPTION](row, around), **around)


def _sites(
    sites: Sequence[infusion_sites.SiteEvent], suspensions: Sequence[Suspension], basal: Sequence[RowEvent]
) -> list[ProvenancedRow]:
    """Changes of the infusion site, and suspensions. A suspension counts if the basal is 0 then and the timeline does not have it."""
    found: list[ProvenancedRow] = []
    for one in sites:
        known = any(_near(one.at, other.at) for other in suspensions)
        confirmed = not known and any(fact.body.rate_u_per_h == 0 and _near(one.at, fact.at) for fact in basal)
        around = {"confirmed": confirmed}
        found += with_row(infusion_sites.SITE, one.row, READERS[infusion_sites.SITE](one.row, around), **around)
        if confirmed and one.stops_delivery:
            after = next((fact.at for fact in basal if fact.at > one.at and fact.body.rate_u_per_h > 0), None)
            found += [] if after is None else _resumed(one.row, after)
    return found


def _near(one: datetime, other: datetime) -> bool:
    return abs((one - other).total_seconds()) <= _SAME_S


def _boluses(facts: Sequence[ProvenancedRow]) -> set[str]:
    return {_thing(one) for one in facts if _sort(one) == BOLUS}


def _filled(
    first: Sequence[ProvenancedRow], second: Sequence[ProvenancedRow], *, lacks_boluses: bool
) -> list[ProvenancedRow]:
    """Add to ``first`` the facts of ``second`` of a kind and day that ``first`` has none of.

    ``lacks_boluses``: some boluses of ``first`` are unreadable, so every bolus of ``second`` counts that ``first`` does
    not name.
    """
    days = {(_sort(one), day) for one, day in _days(first) if _sort(one) != BOLUS or not lacks_boluses}
    names = {_thing(one) for one in first}
    more = [one for one, day in _days(second) if (_sort(one), day) not in days and _thing(one) not in names]
    return [*first, *more]


def _days(facts: Sequence[ProvenancedRow]) -> Iterable[tuple[ProvenancedRow, date]]:
    """Each fact with its day; all facts of one bolus have the day of its first."""
    begun: dict[str, date] = {}
    for one in facts:
        yield one, begun.setdefault(_thing(one), one.fact.at.date())


def _sort(one: ProvenancedRow) -> str:
    return BOLUS if one.fact.kind.startswith("bolus.") else one.fact.kind


def _thing(one: ProvenancedRow) -> str:
    return one.fact.name.partition("/")[0] if _sort(one) == BOLUS else one.fact.name


def _each_once(facts: Sequence[ProvenancedRow], bad: _BadRows) -> list[ProvenancedRow]:
    """Store a second bolus fact with the same name as ``unknown``: under one name the log would hide a dose."""
    found: dict[str, ProvenancedRow] = {}
    for one in facts:
        other = found.setdefault(one.fact.name, one)
        if other.fact != one.fact and _sort(one) == BOLUS:
            bad.add(str(one.raw["from"]), one.raw["row"], "contradicts another row about the same bolus")
    return list(found.values())
