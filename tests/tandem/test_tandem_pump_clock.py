"""A pump whose date is wrong."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import attrs
import pytest

from tests.tandem.fake_cloud import TandemHarness, basal, entry


def test_a_clock_that_is_days_ahead_is_followed(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].newest = "2026-11-26T06:50:00"
    harness.cloud.pumps[0].records = [basal(5, "2026-11-26T06:50:00")]
    harness.poll()
    assert harness.log.numbered() == [5]


def test_clock_a_year_ahead(harness: TandemHarness) -> None:
    """Days of a clock that is a year ahead are requested as that clock has them."""
    harness.cloud.pumps[0].newest = "2027-11-20T06:50:00"
    harness.cloud.pumps[0].records = [basal(5, "2027-11-20T06:50:00"), basal(4, "2026-11-20T06:00:00")]
    harness.poll()
    assert harness.log.numbered() == [4, 5]


def test_wrong_date_costs_no_dose(harness: TandemHarness) -> None:
    """A date that was set wrong and corrected costs no dose."""
    day = 86_400
    wrong, right = 6898, 7263  # days since 2008-01-01: 2026-11-20 and 2027-11-20
    assert datetime(2008, 1, 1) + timedelta(days=wrong) == datetime(2026, 11, 20)
    pump = harness.cloud.pumps[0]
    pump.changes = [
        entry(14, 20, "2027-11-20T03:00:00", {"datePrior": wrong, "dateAfter": right, "rawRtcTime": 1000}),
        entry(
            14, 40, "2026-11-21T04:00:00", {"datePrior": right + 1, "dateAfter": wrong + 1, "rawRtcTime": day * 1000}
        ),
    ]
    pump.newest = "2026-11-21T05:00:00"
    pump.records = [
        basal(10, "2026-11-20T02:00:00"),
        basal(30, "2027-11-20T15:00:00"),
        basal(50, "2026-11-21T05:00:00"),
    ]
    harness.poll()
    harness.clock.advance(minutes=10)
    harness.poll()
    assert harness.log.numbered() == [10, 20, 30, 40, 50]
    asked = len(harness.cloud.windows())
    harness.clock.advance(minutes=10)
    harness.poll()
    assert len(harness.cloud.windows()) == asked


def test_clock_changes_of_the_whole_life_are_kept_once(harness: TandemHarness) -> None:
    change = entry(13, 95, "2025-07-20T04:38:28", {"timePrior": 59278139, "timeAfter": 55657000, "rawRtcTime": 1})
    harness.cloud.pumps[0].changes = [change]
    harness.cloud.pumps[0].records = [{**change, "pumpDateTime": "2026-11-19T04:38:28", "sequenceNumber": 96}]
    harness.cloud.pumps[0].changes.append(harness.cloud.pumps[0].records[0])
    harness.poll()
    assert [event.seq for event in harness.log.of("clock.changed")] == [95, 96]
    assert harness.log.duplicates == 0


def test_days_of_clock_ahead_fetched_again(harness: TandemHarness) -> None:
    """Days that were fetched by a clock that was ahead are fetched again, once."""
    harness.clock.advance(days=10)
    harness.poll()
    harness.clock.advance(days=-10)
    harness.cloud.pumps[0].records = [basal(3, "2026-11-19T00:00:00")]
    harness.poll(harness.source())
    assert harness.log.numbered() == [3]
    assert harness.cloud.count("/login") == 2  # nor is a token from the future trusted
    asked = len(harness.cloud.windows())
    harness.poll(harness.source())
    assert len(harness.cloud.windows()) == asked


@attrs.define
class WronglyDated:
    """A pump whose wearer changes its date; the phone uploads every six hours."""

    harness: TandemHarness
    now: datetime = datetime(2026, 11, 20, 6)
    days_off: int = 0

    def change_date(self, days_off: int) -> None:
        before, after = (self._day(off) for off in (self.days_off, days_off))
        self.days_off = days_off
        change = {"datePrior": before, "dateAfter": after, "rawRtcTime": 1000}
        pump = self.harness.cloud.pumps[0]
        pump.records.append(entry(14, len(pump.records), self._wall_time().isoformat(), change))
        pump.changes.append(pump.records[-1])

    def wear(self, days: int) -> None:
        pump, clock = self.harness.cloud.pumps[0], self.harness.clock
        for _ in range(days * 4):
            pump.records.append(basal(len(pump.records), self._wall_time().isoformat()))
            self.now += timedelta(hours=6)
            clock.advance(hours=6)
            pump.newest = max(record["pumpDateTime"] for record in pump.records)
            pump.uploaded = f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"
            self.harness.poll()

    def missing(self) -> set[int]:
        return set(range(len(self.harness.cloud.pumps[0].records))) - set(self.harness.log.numbered())

    def _wall_time(self) -> datetime:
        return self.now + timedelta(days=self.days_off)

    def _day(self, days_off: int) -> int:
        return (self.now + timedelta(days=days_off) - datetime(2008, 1, 1)).days


@pytest.mark.parametrize("days_off", [-365, -31, -10, 10, 365])
def test_wrong_date_within_known_days(harness: TandemHarness, days_off: int) -> None:
    """Doses of a wrong date arrive with their upload, also on days that were fetched before; later it costs nothing."""
    harness.settings["history_days"] = 400
    pump = WronglyDated(harness)
    pump.wear(2)
    pump.change_date(days_off)
    for _ in range(12):
        pump.wear(1)
        assert pump.missing() == set()
    pump.change_date(0)
    pump.wear(1)
    assert pump.missing() == set()
    harness.cloud.asked.clear()
    pump.wear(1)
    assert len(harness.cloud.windows()) <= 10


def test_change_of_date_in_the_future(harness: TandemHarness) -> None:
    """A change received while this computer's clock was ahead does not make every poll fetch its days."""
    pump = WronglyDated(harness)
    pump.wear(2)
    harness.clock.advance(days=300)
    pump.change_date(-20)
    harness.poll()
    harness.clock.advance(days=-300)
    harness.poll()
    harness.clock.advance(minutes=5)
    asked = len(harness.cloud.windows())
    harness.poll()
    assert len(harness.cloud.windows()) == asked


@pytest.mark.parametrize("days_before", [3, 20, 29])
def test_date_set_right_before_first_sync(harness: TandemHarness, days_before: int) -> None:
    """The date of a new pump was set some days ago: its first records are fetched, but not again with each upload."""
    since = datetime(2026, 11, 20, 6) - timedelta(days=days_before)
    pump = WronglyDated(harness, now=since, days_off=(datetime(2008, 1, 3) - since).days)
    pump.change_date(0)
    pump.now += timedelta(days=days_before)
    pump.wear(1)
    assert pump.missing() == set()
    harness.cloud.asked.clear()
    pump.wear(2)
    assert pump.missing() == set()
    days = [date.fromisoformat(last) - date.fromisoformat(first) for first, last in harness.cloud.windows()]
    assert sum(span.days + 1 for span in days) < 60
