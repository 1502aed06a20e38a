"""Dates and numbers, read as JavaScript reads them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.simulated_nightscout.values import iso, number, read_moment


@given(at=st.datetimes(datetime(1970, 1, 1), datetime(2099, 1, 1)), minutes=st.integers(-14 * 60, 14 * 60))
def test_a_date_survives_any_offset(at: datetime, minutes: int) -> None:
    at = at.replace(microsecond=at.microsecond // 1000 * 1000, tzinfo=timezone.utc)
    moment = read_moment(at.astimezone(timezone(timedelta(minutes=minutes))).isoformat())
    assert moment is not None
    assert (moment.at, moment.offset_minutes) == (at, minutes)
    assert read_moment(moment.text) == read_moment(iso(at))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, 1), (None, 0), ("", 0), (" 2.50 ", 2.5), ("1e3", 1000), ("x", None), ([], None), (float("nan"), None)],
)
def test_numbers_are_read_as_javascript_reads_them(value: object, expected: float | None) -> None:
    assert number(value) == expected
