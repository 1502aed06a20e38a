"""Counts of glucose, sums of days, and their stored form."""

from __future__ import annotations

import statistics
from datetime import date, datetime, timedelta, timezone
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tconnectsync import GlucoseUnits, Summary, Therapy, Zones, add_up, parse_glucose_units, summarise_day
from tconnectsync.json_converter import CONVERTER
from tconnectsync.statistics.glucose_counts import GlucoseCounts
from tconnectsync.statistics.therapy import BasalSpan, Bolus, CarbEntry, GlucosePoint

UTC = timezone.utc
BERLIN = Zones(timezone="Europe/Berlin")
DAY = date(2026, 6, 10)
NOON = datetime(2026, 6, 10, 10, tzinfo=UTC)


def points(*values: float, at: datetime = NOON) -> list[GlucosePoint]:
    return [
        GlucosePoint(at=at + n * timedelta(minutes=5), glucose_mg_dl=value, pump="1") for n, value in enumerate(values)
    ]


def test_bounds_of_the_ranges_belong_to_the_consensus() -> None:
    """54, 70, 180 and 250 are the last values that still count as low, in range, in range and high."""
    day = summarise_day(DAY, Therapy(glucose=points(53, 54, 69, 70, 180, 181, 250, 251)), BERLIN)
    shares = day.glucose.time_in_range
    assert shares is not None
    assert (shares.very_low, shares.low, shares.target, shares.high, shares.very_high) == (12.5, 25, 25, 25, 12.5)


@given(st.lists(st.integers(39, 401), min_size=2, max_size=60))
def test_mean_and_deviation_are_those_of_the_readings(values: list[int]) -> None:
    """Counting loses nothing: mean, deviation and quartiles are those of Python's own functions."""
    counts = summarise_day(DAY, Therapy(glucose=points(*values)), BERLIN).glucose
    assert counts.mean_mg_dl == pytest.approx(statistics.fmean(values))
    assert counts.deviation_mg_dl == pytest.approx(statistics.stdev(values))
    ordered = sorted(values)
    for percent in (0, 5, 25, 50, 75, 95, 100):
        place = (len(values) - 1) * percent / 100
        low, high = ordered[floor(place)], ordered[ceil(place)]
        assert counts.percentile(percent) == pytest.approx(low + (high - low) * (place - floor(place)))


def test_indicators_of_a_known_mean() -> None:
    """A mean of 154 mg/dL is a GMI of 7.0 %, as in the table of its authors."""
    counts = summarise_day(DAY, Therapy(glucose=points(134, 154, 174)), BERLIN).glucose
    assert counts.gmi_percent == pytest.approx(7.0, abs=0.01)
    assert counts.variation_percent == pytest.approx(100 * 20 / 154)


def test_nothing_is_unknown_not_zero() -> None:
    """Without readings and insulin every indicator is None."""
    day = summarise_day(DAY, Therapy(), BERLIN)
    assert day.glucose.time_in_range is day.glucose.mean_mg_dl is day.glucose.gmi_percent is None
    assert day.glucose.variation_percent is day.basal_percent is day.total_u_per_day is None
    assert day.glucose.curve() == [None] * 48
    assert (day.coverage_percent, day.days_with_data) == (0.0, 0)


def test_a_single_reading_has_no_deviation() -> None:
    """One reading has a mean, but no variation."""
    counts = summarise_day(DAY, Therapy(glucose=points(120)), BERLIN).glucose
    assert (counts.mean_mg_dl, counts.variation_percent) == (120, None)
    assert [curve for curve in counts.curve() if curve] == [(120.0,) * 5]


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (DAY, 24)])
def test_coverage_of_long_and_short_days(day: date, hours: int) -> None:
    """A reading every five minutes covers a day completely, whatever its length."""
    glucose = points(*[100] * (hours * 12), at=BERLIN.day_start(day))
    found = summarise_day(day, Therapy(glucose=glucose), BERLIN)
    assert (found.length_s, found.coverage_percent) == (hours * 3600, 100.0)
    assert found.glucose.by_half_hour.get(4) == {23: None, 24: {100: 6}, 25: {100: 12}}[hours]
    assert sum(found.glucose.all_day.values()) == hours * 12


def test_the_present_day_is_as_long_as_its_data() -> None:
    """Hours that are still to come are no gap of the sensor."""
    glucose = points(*[100] * 144, at=BERLIN.day_start(DAY))
    found = summarise_day(DAY, Therapy(glucose=glucose), BERLIN, until=BERLIN.day_start(DAY) + timedelta(hours=12))
    assert found.coverage_percent == 100.0


def test_insulin_over_midnight_is_split() -> None:
    """Basal and an extended part count on the day on which they were delivered, an immediate part where it began."""
    midnight = BERLIN.day_start(DAY)
    begin = midnight - timedelta(hours=1)
    therapy = Therapy(
        basal=[BasalSpan(begin=begin, end=midnight + timedelta(hours=2), rate_u_per_h=0.6)],
        boluses=[
            Bolus(
                bolus_id=1,
                started_at=begin,
                immediate_u=2.0,
                extended_u=3.0,
                extended_from=begin,
                extended_until=midnight + timedelta(hours=2),
                carbs_g=40,
            )
        ],
        carbs=[CarbEntry(at=midnight, carbs_g=12)],
    )
    before, after = (summarise_day(day, therapy, BERLIN) for day in (DAY - timedelta(days=1), DAY))
    assert (before.insulin.basal_u, before.insulin.bolus_u) == pytest.approx((0.6, 3.0))
    assert (after.insulin.basal_u, after.insulin.bolus_u) == pytest.approx((1.2, 2.0))
    assert (before.insulin.carbs_g, before.insulin.boluses) == (40, 1)
    assert (after.insulin.carbs_g, after.insulin.boluses) == (12, 0)


@given(st.lists(st.lists(st.integers(39, 401), max_size=30), min_size=1, max_size=5))
def test_a_sum_of_days_is_the_period(days: list[list[int]]) -> None:
    """Adding days in any grouping gives the figures of all readings together."""
    summaries = [
        summarise_day(DAY + timedelta(days=n), Therapy(glucose=points(*values, at=NOON + timedelta(days=n))), BERLIN)
        for n, values in enumerate(days)
    ]
    whole = add_up(summaries)
    together = [value for values in days for value in values]
    assert whole.glucose.readings == len(together)
    assert whole.glucose.mean_mg_dl == (pytest.approx(statistics.fmean(together)) if together else None)
    assert whole.days == len(days)
    paired = summaries[0]
    for summary in summaries[1:]:
        paired = paired + summary
    assert paired == whole


@given(st.lists(st.integers(39, 401), max_size=30))
def test_a_summary_is_stored_as_json(values: list[int]) -> None:
    """A summary comes back from JSON as it was, whole numbers as keys included."""
    summary = summarise_day(DAY, Therapy(glucose=points(*values)), BERLIN)
    assert CONVERTER.loads(CONVERTER.dumps(summary), Summary) == summary


def test_the_curve_uses_its_neighbours_lightly() -> None:
    """A half-hour counts twice as much as the ones beside it, also over midnight."""
    counts = GlucoseCounts(by_half_hour={47: {100: 6}, 0: {200: 6}, 1: {300: 6}})
    curve = counts.curve((0, 50, 100))
    assert curve[0] == (100.0, 200.0, 300.0)
    assert curve[20] is None


def test_time_in_range_by_hour() -> None:
    """An hour is two half-hours; hours without readings are None."""
    counts = GlucoseCounts(by_half_hour={16: {100: 3}, 17: {200: 1}})
    hours = counts.time_in_range_by_hour()
    assert hours[8] is not None
    assert (hours[8].target, hours[8].high) == (75.0, 25.0)
    assert [hour for hour, shares in enumerate(hours) if shares] == [8]


@pytest.mark.parametrize(
    ("name", "units"),
    [
        ("mmol", GlucoseUnits.MMOL_L), ("mmol/L", GlucoseUnits.MMOL_L), ("MillimolesPerLiter", GlucoseUnits.MMOL_L),
        ("mg/dl", GlucoseUnits.MG_DL), ("MilligramsPerDeciliter", GlucoseUnits.MG_DL), ("", GlucoseUnits.MG_DL),
        (None, GlucoseUnits.MG_DL),
    ],
)  # fmt: skip
def test_units_by_name(name: str | None, units: GlucoseUnits) -> None:
    """Units as Nightscout, Tandem and the configuration spell them."""
    assert parse_glucose_units(name) is units


def test_glucose_in_both_units() -> None:
    """Whole mg/dL, and mmol/L with one decimal."""
    assert (GlucoseUnits.MG_DL.text(112.4), GlucoseUnits.MG_DL.label) == ("112", "mg/dL")
    assert (GlucoseUnits.MMOL_L.text(112.4), GlucoseUnits.MMOL_L.label) == ("6.2", "mmol/L")
    assert GlucoseUnits.MMOL_L.text(180) == "10.0"
