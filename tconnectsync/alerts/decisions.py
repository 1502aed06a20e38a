"""Which problems are reported now: once per change, again while they last, quietly while they come and go.

Pure: from the remembered state, the problems of this moment and the time to the new state and what is to be said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum

import attrs

from tconnectsync.alerts.problems import Problem

WELL = ""
"""The state of something that is not a problem."""
WINDOW = timedelta(hours=24)
"""Notifications about one thing are counted over this time."""
STEADY = (timedelta(0), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=1), timedelta(hours=3))
"""How long something must stay as it is before that is reported, by how many notifications about it are in the window."""
UNSTEADY_CHANGES, UNSTEADY_FOR = 4, timedelta(hours=3)
"""Something that changed so often since the last report, the last time less than this ago, comes and goes."""
FORGOTTEN_AFTER = timedelta(days=2)
"""Something that has been well for this long is forgotten."""


class ReportKind(str, Enum):
    """Why something is reported."""

    BEGAN = "began"
    LASTS = "lasts"
    OVER = "over"
    UNSTEADY = "unsteady"
    """It came and went many times, and still does."""

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class Known:
    """What is remembered of one thing: its state, since when, and what was last reported.

    ``began``: the first moment of the trouble that was reported. ``changes``: how often it changed since the last report.
    """

    state: str = WELL
    changed_at: datetime
    told: str = WELL
    told_at: datetime | None = None
    began: datetime | None = None
    title: str = ""
    well: str = ""
    changes: int = 0
    reports: tuple[datetime, ...] = ()


@attrs.frozen(kw_only=True)
class AlertReport:
    """One thing to say. ``problem`` is None if it is over. ``began``: when the trouble began. ``changes``: how often it changed."""

    kind: ReportKind
    key: str
    title: str
    problem: Problem | None = None
    began: datetime | None = None
    changes: int = 0


def decide(
    memory: Mapping[str, Known], problems: Sequence[Problem], now: datetime, repeat_after: timedelta
) -> tuple[dict[str, Known], list[AlertReport]]:
    """Return the new memory and the reports that are due, causes first."""
    found = {problem.key: problem for problem in problems}
    fresh: dict[str, Known] = {}
    reports: list[AlertReport] = []
    for key in [*found, *(key for key in memory if key not in found)]:
        known = _observed(_not_later(memory.get(key), now), found.get(key), now)
        report = _report(key, known, found.get(key), now, repeat_after)
        if report is not None:
            reports.append(report)
            known = _told(known, report, now)
        if known.state or known.told or now - known.changed_at < FORGOTTEN_AFTER:
            fresh[key] = known
    return fresh, reports


def _not_later(known: Known | None, now: datetime) -> Known | None:
    """A time in the future was stored by a wrong clock: it counts as now."""
    if known is None:
        return None
    return attrs.evolve(
        known,
        changed_at=min(known.changed_at, now),
        told_at=known.told_at and min(known.told_at, now),
        began=known.began and min(known.began, now),
        reports=tuple(min(at, now) for at in known.reports if now - at < WINDOW),
    )


def _observed(known: Known | None, problem: Problem | None, now: datetime) -> Known:
    """The memory with the state of this moment."""
    state = problem.state if problem else WELL
    if known is None:
        known = Known(changed_at=now, changes=1, state=state)
    elif known.state != state:
        known = attrs.evolve(known, state=state, changed_at=now, changes=known.changes + 1)
    if problem is not None:
        begins = problem.since or known.began or now
        began = begins if known.began is None else min(known.began, begins)
        return attrs.evolve(known, began=began, title=problem.title, well=problem.well)
    return known if known.told else attrs.evolve(known, began=None)


def _report(
    key: str, known: Known, problem: Problem | None, now: datetime, repeat_after: timedelta
) -> AlertReport | None:
    if problem is not None and problem.consequence:
        return None
    kind = _kind(known, now, repeat_after)
    if kind is None:
        return None
    title = problem.title if problem else known.well if kind is ReportKind.OVER else known.title
    return AlertReport(kind=kind, key=key, title=title, problem=problem, began=known.began, changes=known.changes)


def _kind(known: Known, now: datetime, repeat_after: timedelta) -> ReportKind | None:
    """Return what is to be reported now, if anything."""
    steady = now - known.changed_at
    due = known.told_at is not None and now - known.told_at >= repeat_after
    if due and known.changes >= UNSTEADY_CHANGES and steady < UNSTEADY_FOR:
        return ReportKind.UNSTEADY
    if known.state != known.told:
        enough = STEADY[min(len(known.reports), len(STEADY) - 1)]
        return None if steady < enough else ReportKind.BEGAN if known.state else ReportKind.OVER
    return ReportKind.LASTS if due and known.state else None


def _told(known: Known, report: AlertReport, now: datetime) -> Known:
    began = None if report.kind is ReportKind.OVER else known.began
    reports = known.reports if report.kind is ReportKind.LASTS else (*known.reports, now)
    return attrs.evolve(known, told=known.state, told_at=now, began=began, changes=0, reports=reports)


def happened(
    memory: Mapping[str, Known], problem: Problem, now: datetime, repeat_after: timedelta
) -> tuple[dict[str, Known], list[AlertReport]]:
    """As :func:`decide`, for something that is over at once, such as a crash: reported at most once in ``repeat_after``."""
    known = _not_later(memory.get(problem.key), now) or Known(changed_at=now)
    known = attrs.evolve(known, changed_at=now, changes=known.changes + 1, began=known.began or now)
    if known.told_at is not None and now - known.told_at < repeat_after:
        return {**memory, problem.key: known}, []
    report = AlertReport(
        kind=ReportKind.BEGAN,
        key=problem.key,
        title=problem.title,
        problem=problem,
        began=known.began,
        changes=known.changes,
    )
    return {**memory, problem.key: attrs.evolve(known, told_at=now, changes=0, began=None)}, [report]
