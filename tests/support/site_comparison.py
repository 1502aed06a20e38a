"""Compares a Nightscout site with what a simulated pump did."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from tconnectsync import counted
from tconnectsync_simulator.pump.truth import TrueGlucose, Truth
from tests.support.dose_comparison import dose_differences, read_time

HOUR = timedelta(hours=1)
NOISE_ALARMS = frozenset({18, 23})
"""Alarms that only repeat that delivery is stopped."""
FILL_TYPES = {"cannula": "Site Change", "cartridge": "Insulin Change", "tubing": "Note"}
MODE_TYPES = {"sleep": "Sleep", "exercise": "Exercise"}

LISTS = (
    "boluses_lost",
    "boluses_doubled",
    "boluses_wrong",
    "carbs_lost",
    "fills",
    "suspensions",
    "modes",
    "alarms",
    "glucose",
)

Document = Mapping[str, Any]


@attrs.frozen(kw_only=True)
class Differences:
    """What is not as it was. Every list holds words for a person; ``clean`` is what a test wants."""

    boluses_lost: tuple[str, ...] = ()
    boluses_doubled: tuple[str, ...] = ()
    boluses_wrong: tuple[str, ...] = ()
    carbs_lost: tuple[str, ...] = ()
    fills: tuple[str, ...] = ()
    suspensions: tuple[str, ...] = ()
    modes: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()
    glucose: tuple[str, ...] = ()
    worst_basal_u: float = 0.0
    worst_basal_hour: datetime | None = None
    basal_true_u: float = 0.0
    basal_shown_u: float = 0.0
    boluses_compared: int = 0
    bolus_true_u: float = 0.0
    bolus_shown_u: float = 0.0

    def clean(self, *, basal_u: float = 0.005) -> bool:
        """Whether nothing differs, basal by no more than ``basal_u`` in any hour."""
        return self.worst_basal_u <= basal_u and not self.lines(basal_u=basal_u)

    def lines(self, *, basal_u: float = 0.005) -> list[str]:
        """All differences, one a line."""
        found = [f"{name}: {text}" for name in LISTS for text in getattr(self, name)]
        if self.worst_basal_u > basal_u:
            found.append(f"basal: off by {self.worst_basal_u:.4f} U in the hour of {self.worst_basal_hour}")
        return found


def shown_basal(treatments: Iterable[Document], begin: datetime, end: datetime) -> dict[datetime, float]:
    """U per UTC hour of the ``Temp Basal`` documents: the later start wins where two overlap, a hole is nothing."""
    spans = sorted(
        (
            (read_time(doc["created_at"]), float(doc["duration"]) * 60, float(doc.get("absolute", 0)))
            for doc in treatments
            if doc.get("eventType") == "Temp Basal"
        ),
        key=lambda span: span[0],
    )
    hours: dict[datetime, float] = {}
    for place, (start, seconds, rate) in enumerate(spans):
        stop = start + timedelta(seconds=seconds)
        if place + 1 < len(spans):
            stop = min(stop, spans[place + 1][0])
        at, stop = max(start, begin), min(stop, end)
        while at < stop:
            hour = at.replace(minute=0, second=0, microsecond=0)
            until = min(stop, hour + HOUR)
            hours[hour] = hours.get(hour, 0.0) + rate * (until - at).total_seconds() / 3600
            at = until
    return hours


def compare(
    truth: Truth,
    treatments: Sequence[Document],
    *,
    window: tuple[datetime, datetime] | None = None,
    tolerance_s: float = 5.0,
    entries: Sequence[Document] | None = None,
    parts: Iterable[str] = ("boluses", "basal", "fills", "suspensions", "modes", "alarms"),
) -> Differences:
    """Everything that differs in ``window`` (default: the whole truth). ``entries``: sgv documents, where they count.

    Boluses are matched by their start and amounts, not by any identity; basal by whole hours that the pump has told to their end; suspensions by the 0 U/h that
    covers them and a note at their start; modes by the time they cover.
    """
    begin, end = window or (truth.begin, truth.end)
    wanted = frozenset(parts)
    tolerance = timedelta(seconds=tolerance_s)
    found: dict[str, Any] = {}
    if "boluses" in wanted:
        found |= dose_differences(truth, treatments, begin, end, tolerance)
    if "basal" in wanted:
        found |= _basal(truth, treatments, begin, end)
    notes = [read_time(doc["created_at"]) for doc in treatments if doc.get("eventType") == "Note"]
    if "fills" in wanted:
        found["fills"] = _fills(truth, treatments, begin, end, tolerance)
    if "suspensions" in wanted:
        found["suspensions"] = _suspensions(truth, treatments, notes, begin, end, tolerance)
    if "modes" in wanted:
        found["modes"] = _modes(truth, treatments, begin, end, tolerance)
    if "alarms" in wanted:
        starts = [a.started_at for a in truth.alarms if int(a.name) not in NOISE_ALARMS and begin <= a.started_at < end]
        found["alarms"] = tuple(f"no note of the alarm at {at}" for at in _unmatched(starts, notes, tolerance)[0])
    if entries is not None:
        found["glucose"] = _glucose(truth.glucose, entries, begin, end, tolerance)
    return Differences(**found)


def _basal(truth: Truth, treatments: Sequence[Document], begin: datetime, end: datetime) -> dict[str, Any]:
    first = begin.replace(minute=0, second=0, microsecond=0)
    first = first if first == begin else first + HOUR
    # no site can show more than the pump has reported: the hour of its last record is not compared
    end = min(end, truth.basal_known_until or end)
    shown = shown_basal(treatments, begin, end)
    worst, worst_hour, true_u, shown_u = 0.0, None, 0.0, 0.0
    hour = first
    while hour + HOUR <= end:
        real = truth.basal_u_per_hour.get(hour)
        if real is not None:
            seen = shown.get(hour, 0.0)
            true_u, shown_u = true_u + real, shown_u + seen
            if abs(real - seen) > worst:
                worst, worst_hour = abs(real - seen), hour
        hour += HOUR
    return {
        "worst_basal_u": worst,
        "worst_basal_hour": worst_hour,
        "basal_true_u": true_u,
        "basal_shown_u": shown_u,
    }


def _unmatched(
    expected: Iterable[datetime], shown: Iterable[datetime], tolerance: timedelta
) -> tuple[list[datetime], list[datetime]]:
    """One to one: (expected that nothing shows, shown that nothing explains)."""
    left = sorted(shown)
    missing = []
    for at in sorted(expected):
        place = bisect_left(left, at - tolerance)
        if place < len(left) and left[place] <= at + tolerance:
            del left[place]
        else:
            missing.append(at)
    return missing, left


def _fills(
    truth: Truth, treatments: Sequence[Document], begin: datetime, end: datetime, tolerance: timedelta
) -> tuple[str, ...]:
    found: list[str] = []
    for name, event_type in FILL_TYPES.items():
        expected = [fill.at for fill in truth.fills if fill.name == name and begin <= fill.at < end]
        shown = [read_time(doc["created_at"]) for doc in treatments if doc.get("eventType") == event_type]
        missing, extra = _unmatched(expected, [at for at in shown if begin <= at < end], tolerance)
        found += [f"no {event_type} of the {name} filled at {at}" for at in missing]
        if event_type != "Note":
            found += [f"{event_type} at {at}, where no {name} was filled" for at in extra]
    return tuple(found)


def _covered(span: tuple[datetime, datetime], by: Iterable[tuple[datetime, datetime]], tolerance: timedelta) -> bool:
    at = span[0]
    for start, stop in sorted(by):
        if start <= at + tolerance:
            at = max(at, stop)
    return at >= span[1] - tolerance


def _doc_spans(treatments: Iterable[Document], event_type: str) -> list[tuple[datetime, datetime, Document]]:
    spans = []
    for doc in treatments:
        if doc.get("eventType") == event_type:
            start = read_time(doc["created_at"])
            spans.append((start, start + timedelta(minutes=float(doc.get("duration") or 0)), doc))
    return spans


def _suspensions(
    truth: Truth,
    treatments: Sequence[Document],
    notes: list[datetime],
    begin: datetime,
    end: datetime,
    tolerance: timedelta,
) -> tuple[str, ...]:
    zero = [(start, stop) for start, stop, doc in _doc_spans(treatments, "Temp Basal") if not doc.get("absolute")]
    inside = [each for each in truth.suspensions if each.ended_at and begin <= each.started_at and each.ended_at < end]
    found = [
        f"no note of the suspension at {at}" for at in _unmatched([s.started_at for s in inside], notes, tolerance)[0]
    ]
    found += [
        f"{each.started_at} to {each.ended_at} is not shown as 0 U/h"
        for each in inside
        if each.ended_at is not None and not _covered((each.started_at, each.ended_at), zero, tolerance)
    ]
    return tuple(found)


def _modes(
    truth: Truth, treatments: Sequence[Document], begin: datetime, end: datetime, tolerance: timedelta
) -> tuple[str, ...]:
    found: list[str] = []
    for name, event_type in MODE_TYPES.items():
        shown = [(start, stop) for start, stop, _ in _doc_spans(treatments, event_type)]
        real = [each for each in truth.modes if each.name == name]
        ended = [(each.started_at, each.ended_at) for each in real if each.ended_at is not None]
        for start, stop in ended:
            if begin <= start and stop < end and not _covered((start, stop), shown, tolerance):
                found.append(f"{name} from {start} to {stop} is not shown as such")
        open_since = [(each.started_at, max(end, each.started_at)) for each in real if each.ended_at is None]
        for start, stop in shown:
            if (
                begin <= start
                and stop < end
                and stop > start
                and not _covered((start, stop), ended + open_since, tolerance)
            ):
                found.append(f"{event_type} is shown from {start} to {stop}, when the pump was in another mode")
    return tuple(found)


def _glucose(
    readings: Iterable[TrueGlucose], entries: Iterable[Document], begin: datetime, end: datetime, tolerance: timedelta
) -> tuple[str, ...]:
    shown: dict[int, list[Document]] = {}
    for entry in entries:
        if entry.get("type", "sgv") == "sgv":
            shown.setdefault(round(float(entry["date"]) / 1000), []).append(entry)
    found: list[str] = []
    reach = int(tolerance.total_seconds())
    for reading in readings:
        if not begin <= reading.at < end:
            continue
        at_s = round(reading.at.timestamp())
        near = [entry for second in range(at_s - reach, at_s + reach + 1) for entry in shown.pop(second, ())]
        expected = {"high": 401, "low": 39}.get(reading.mark, reading.glucose_mg_dl)
        if not near:
            found.append(f"no reading at {reading.at}")
        elif len(near) > 1:
            found.append(f"{counted(len(near), 'reading')} at {reading.at}")
        elif near[0].get("sgv") != expected:
            found.append(f"{near[0].get('sgv')} at {reading.at} instead of {expected}")
    extra = sum(len(left) for at_s, left in shown.items() if begin.timestamp() <= at_s < end.timestamp())
    if extra:
        found.append(f"{counted(extra, 'reading')} that the pump does not hold")
    return tuple(found)
