"""The figures of a local day, and of any number of days as their sum."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta

import attrs

from tconnectsync.statistics.glucose_counts import GlucoseCounts, total
from tconnectsync.statistics.therapy import GlucosePoint, Therapy
from tconnectsync.timeline.zones import Zones

SLOT = timedelta(minutes=5)
"""A sensor measures every five minutes."""
DAY = timedelta(days=1)
BASAL_KNOWN_PERCENT = 95.0
"""Days whose basal rate is known for less of them are marked: their insulin is too low."""


@attrs.frozen(kw_only=True)
class InsulinSums:
    """Sums of a period. ``basal_known_s``: how long the basal rate is known; ``suspended_s`` of it delivery was suspended.

    ``automatic_boluses`` are the control loop's; ``corrections`` are boluses that correct a high glucose, automatic or not.
    An extended part counts on the day on which it was delivered. ``carbs_g`` also has carbs without a bolus.
    """

    basal_u: float = 0.0
    basal_known_s: float = 0.0
    suspended_s: float = 0.0
    bolus_u: float = 0.0
    automatic_u: float = 0.0
    boluses: int = 0
    automatic_boluses: int = 0
    corrections: int = 0
    carbs_g: float = 0.0
    carb_entries: int = 0

    def __add__(self, other: InsulinSums) -> InsulinSums:
        """Return both together."""
        names = [field.name for field in attrs.fields(InsulinSums)]
        return InsulinSums(**{name: getattr(self, name) + getattr(other, name) for name in names})


@attrs.frozen(kw_only=True)
class Summary:
    """The figures of the local days ``first_day`` to ``last_day``, both included. ``a + b`` gives those of both.

    ``length_s``: how long these days are, for the present day up to its newest data; a day has 23 to 25 hours.
    ``slots_with_glucose``: how many five-minute slots have a reading. ``days_with_data``: days with any glucose or insulin;
    ``length_with_data_s``: how long these are.
    """

    first_day: date
    last_day: date
    length_s: float = 0.0
    slots_with_glucose: int = 0
    days_with_data: int = 0
    length_with_data_s: float = 0.0
    glucose: GlucoseCounts = attrs.field(factory=GlucoseCounts)
    insulin: InsulinSums = attrs.field(factory=InsulinSums)

    def __add__(self, other: Summary) -> Summary:
        """Return the sum of two periods. Add each day once only."""
        return add_up((self, other))

    @property
    def days(self) -> int:
        """The number of calendar days."""
        return (self.last_day - self.first_day) // DAY + 1

    @property
    def coverage_percent(self) -> float | None:
        """The share of five-minute slots with a reading; None for a period without length."""
        slots = self.length_s / SLOT.total_seconds()
        return None if slots < 1 else min(100.0, 100 * self.slots_with_glucose / slots)

    @property
    def total_u(self) -> float:
        """All insulin that is in the log."""
        return self.insulin.basal_u + self.insulin.bolus_u

    @property
    def known_basal_u(self) -> float | None:
        """The basal insulin; None if no basal rate is in the log."""
        return self.insulin.basal_u if self.insulin.basal_known_s else None

    @property
    def known_total_u(self) -> float | None:
        """All insulin; None if no basal rate is in the log."""
        return self.total_u if self.insulin.basal_known_s else None

    @property
    def basal_percent(self) -> float | None:
        """The basal share of all insulin; None without insulin, or if no basal rate is in the log."""
        return 100 * self.insulin.basal_u / self.known_total_u if self.known_total_u else None

    @property
    def basal_known_percent(self) -> float | None:
        """How much of the days with data has a known basal rate; None without data. In the rest insulin is missing."""
        return 100 * self.insulin.basal_known_s / self.length_with_data_s if self.length_with_data_s else None

    @property
    def is_basal_incomplete(self) -> bool:
        """Whether the basal rate of a part is not in the log, so that the pump delivered more than the sums say."""
        known = self.basal_known_percent
        return known is not None and known < BASAL_KNOWN_PERCENT

    @property
    def total_u_per_day(self) -> float | None:
        """The mean daily insulin of the days with data; None if there is none, or if no basal rate is in the log."""
        return self.per_day(self.known_total_u)

    def per_day(self, amount: float | None) -> float | None:
        """Return a sum of the period per 24 hours of the days with data; None if there is none, or if ``amount`` is None.

        Less than 24 hours count as a day: what was not delivered yet is not extrapolated.
        """
        if amount is None or not self.length_with_data_s:
            return None
        return amount / max(1.0, self.length_with_data_s / DAY.total_seconds())


def add_up(summaries: Iterable[Summary]) -> Summary:
    """Return the sum of days or periods. Errors: ValueError if there is none."""
    parts = list(summaries)
    if not parts:
        raise ValueError("there is no day to add up")
    insulin = InsulinSums()
    for part in parts:
        insulin = insulin + part.insulin
    return Summary(
        first_day=min(part.first_day for part in parts),
        last_day=max(part.last_day for part in parts),
        length_s=sum(part.length_s for part in parts),
        slots_with_glucose=sum(part.slots_with_glucose for part in parts),
        days_with_data=sum(part.days_with_data for part in parts),
        length_with_data_s=sum(part.length_with_data_s for part in parts),
        glucose=total(part.glucose for part in parts),
        insulin=insulin,
    )


def day_span(day: date, zones: Zones) -> tuple[datetime, datetime]:
    """Return the UTC times at which a local day begins and ends; it has 23 or 25 hours where the clock changes."""
    return zones.day_start(day), zones.day_start(day + DAY)


def days_between(first: date, last: date) -> Iterator[date]:
    """Yield the days from ``first`` to ``last``, both included."""
    for number in range((last - first) // DAY + 1):
        yield first + number * DAY


def summarise_day(day: date, therapy: Therapy, zones: Zones, *, until: datetime | None = None) -> Summary:
    """Return the figures of one local day. ``therapy`` may have more than that day; ``until``: the day is not over yet."""
    begin, end = day_span(day, zones)
    therapy = therapy.between(begin, end)
    points = therapy.glucose
    reached = end if until is None else max(begin, min(end, until))
    insulin = _insulin(therapy, begin, end)
    has_data = bool(points) or insulin != InsulinSums()
    length_s = (reached - begin).total_seconds()
    return Summary(
        first_day=day,
        last_day=day,
        length_s=length_s,
        slots_with_glucose=len({(point.at - begin) // SLOT for point in points}),
        days_with_data=int(has_data),
        length_with_data_s=length_s if has_data else 0.0,
        glucose=_counts(points, zones),
        insulin=insulin,
    )


def summarise_days(
    first: date, last: date, therapy: Therapy, zones: Zones, *, until: datetime | None = None
) -> Sequence[Summary]:
    """Return the figures of each local day from ``first`` to ``last``, both included."""
    return [summarise_day(day, therapy, zones, until=until) for day in days_between(first, last)]


def _counts(points: Sequence[GlucosePoint], zones: Zones) -> GlucoseCounts:
    found: dict[int, dict[int, int]] = {}
    for point in points:
        wall = zones.wall_of(point.at)
        counts = found.setdefault(wall.hour * 2 + wall.minute // 30, {})
        value = round(point.glucose_mg_dl)
        counts[value] = counts.get(value, 0) + 1
    return GlucoseCounts(by_half_hour=found)


def _insulin(therapy: Therapy, begin: datetime, end: datetime) -> InsulinSums:
    """``therapy`` is that of the period, with the boluses from before it that are still delivered in it."""
    basal = therapy.basal
    started = [bolus for bolus in therapy.boluses if bolus.started_at >= begin]
    given = [bolus for bolus in started if bolus.delivered_u > 0]
    amounts = [(bolus, bolus.delivered_between(begin, end)) for bolus in therapy.boluses]
    carbs = [each.carbs_g for each in started if each.carbs_g]
    carbs += [entry.carbs_g for entry in therapy.carbs]
    return InsulinSums(
        basal_u=sum((span.insulin_u for span in basal), 0.0),
        basal_known_s=sum(((span.end - span.begin).total_seconds() for span in basal), 0.0),
        suspended_s=sum(((each.end - each.begin).total_seconds() for each in basal if each.suspended), 0.0),
        bolus_u=sum((amount for _, amount in amounts), 0.0),
        automatic_u=sum((amount for bolus, amount in amounts if bolus.automatic), 0.0),
        boluses=len(given),
        automatic_boluses=sum(bolus.automatic for bolus in given),
        corrections=sum(bolus.is_correction for bolus in given),
        carbs_g=sum(carbs, 0.0),
        carb_entries=len(carbs),
    )
