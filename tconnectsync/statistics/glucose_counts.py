"""How often each glucose was measured, by half-hour of the local day: exact, small, and summable over any number of days."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

HALF_HOURS = 48
VERY_LOW_BELOW, TARGET_FROM, TARGET_TO, VERY_HIGH_ABOVE = 54, 70, 180, 250
"""The bounds of the international consensus on time in range, in mg/dL."""

Counts = Mapping[int, int]
"""How often each mg/dL was measured."""


@attrs.frozen(kw_only=True)
class TimeInRange:
    """Shares of the readings in percent: below 54 mg/dL, 54 to 69, 70 to 180, 181 to 250, and above 250."""

    very_low: float
    low: float
    target: float
    high: float
    very_high: float


@attrs.frozen(kw_only=True)
class GlucoseCounts:
    """``by_half_hour``: from 0 (00:00 to 00:29 local time) to 47, how often each mg/dL was measured. Empty ones are missing."""

    by_half_hour: Mapping[int, Counts] = attrs.field(factory=dict)

    def __add__(self, other: GlucoseCounts) -> GlucoseCounts:
        """Return both together."""
        return total((self, other))

    @property
    def readings(self) -> int:
        """The number of readings."""
        return sum(sum(counts.values()) for counts in self.by_half_hour.values())

    @property
    def all_day(self) -> Counts:
        """The counts of all half-hours together."""
        return _sum(self.by_half_hour.values())

    @property
    def mean_mg_dl(self) -> float | None:
        """The mean glucose; None without readings."""
        counts, readings = self.all_day, self.readings
        return None if not readings else sum(value * n for value, n in counts.items()) / readings

    @property
    def deviation_mg_dl(self) -> float | None:
        """The standard deviation of the readings (of a sample); None with fewer than two."""
        mean, readings = self.mean_mg_dl, self.readings
        if mean is None or readings < 2:
            return None
        return math.sqrt(sum(n * (value - mean) ** 2 for value, n in self.all_day.items()) / (readings - 1))

    @property
    def variation_percent(self) -> float | None:
        """The coefficient of variation: the standard deviation in percent of the mean. Up to 36 % counts as stable."""
        mean, deviation = self.mean_mg_dl, self.deviation_mg_dl
        return None if mean is None or deviation is None else 100 * deviation / mean

    @property
    def gmi_percent(self) -> float | None:
        """The glucose management indicator: the HbA1c that this mean suggests (Bergenstal 2018)."""
        mean = self.mean_mg_dl
        return None if mean is None else 3.31 + 0.02392 * mean

    @property
    def time_in_range(self) -> TimeInRange | None:
        """The shares of all readings; None without readings."""
        return _time_in_range(self.all_day)

    def time_in_range_by_hour(self) -> Sequence[TimeInRange | None]:
        """Return the shares for each hour of the local day, 24 items; None without readings."""
        return [
            _time_in_range(_sum(self.by_half_hour.get(half, {}) for half in (2 * hour, 2 * hour + 1)))
            for hour in range(HALF_HOURS // 2)
        ]

    def percentile(self, percent: float) -> float | None:
        """Return a percentile of all readings in mg/dL; None without readings."""
        return _percentile(sorted(self.all_day.items()), percent)

    def curve(self, percents: Sequence[float] = (5, 25, 50, 75, 95)) -> Sequence[tuple[float, ...] | None]:
        """Return the percentiles for each half-hour of the local day, 48 items; None without readings.

        Each half-hour is smoothed with half the weight of its neighbours, as in an ambulatory glucose profile.
        """
        return [self._percentiles(half, percents) for half in range(HALF_HOURS)]

    def _percentiles(self, half: int, percents: Sequence[float]) -> tuple[float, ...] | None:
        if not self.by_half_hour.get(half):
            return None
        smoothed: dict[int, int] = {}
        for offset, weight in ((-1, 1), (0, 2), (1, 1)):
            for value, count in self.by_half_hour.get((half + offset) % HALF_HOURS, {}).items():
                smoothed[value] = smoothed.get(value, 0) + weight * count
        ordered = sorted(smoothed.items())
        return tuple(mg_dl for percent in percents if (mg_dl := _percentile(ordered, percent)) is not None)


def total(counts: Iterable[GlucoseCounts]) -> GlucoseCounts:
    """Return all of them together."""
    found: dict[int, dict[int, int]] = {}
    for each in counts:
        for half, values in each.by_half_hour.items():
            into = found.setdefault(half, {})
            for value, count in values.items():
                into[value] = into.get(value, 0) + count
    return GlucoseCounts(by_half_hour=found)


def _sum(counts: Iterable[Counts]) -> Counts:
    found: dict[int, int] = {}
    for each in counts:
        for value, count in each.items():
            found[value] = found.get(value, 0) + count
    return found


def _time_in_range(counts: Counts) -> TimeInRange | None:
    readings = sum(counts.values())
    if not readings:
        return None

    def share(low: int, high: int) -> float:
        return 100 * sum(count for value, count in counts.items() if low <= value <= high) / readings

    return TimeInRange(
        very_low=share(0, VERY_LOW_BELOW - 1),
        low=share(VERY_LOW_BELOW, TARGET_FROM - 1),
        target=share(TARGET_FROM, TARGET_TO),
        high=share(TARGET_TO + 1, VERY_HIGH_ABOVE),
        very_high=share(VERY_HIGH_ABOVE + 1, 10_000),
    )


def _percentile(ordered: Sequence[tuple[int, int]], percent: float) -> float | None:
    """Interpolate linearly between the readings, as most spreadsheets do. ``ordered``: (mg/dL, count), ascending."""
    readings = sum(count for _, count in ordered)
    if not readings:
        return None
    place = (readings - 1) * percent / 100
    below = math.floor(place)
    values = _values_from(ordered, below)
    first = next(values)
    return first + (next(values, first) - first) * (place - below)


def _values_from(ordered: Sequence[tuple[int, int]], rank: int) -> Iterator[int]:
    """Yield the value at ``rank`` (from 0), and the one after it."""
    passed = 0
    for value, count in ordered:
        passed += count
        if passed > rank:
            yield value
            if passed > rank + 1:
                yield value
                return
            rank += 1
