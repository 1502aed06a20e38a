"""A backfill of days or pumps of which Tandem cannot give everything."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from tconnectsync import Retryable
from tconnectsync.events.source_facts import history_opened
from tconnectsync_tandem.polling.window_reader import PATIENCE
from tests.tandem.fake_cloud import CloudPump, FakeCloudFault, TandemHarness, holding, hourly
from tests.tandem.test_tandem_changed import backfill, bolus

FIRST, LAST = date(2026, 1, 10), date(2026, 1, 20)


def opened(harness: TandemHarness) -> list[tuple[str, str | None, str | None]]:
    """What the log opens for delivery: pump, first and last day."""
    return [(fact.pump, fact.body.first_day, fact.body.last_day) for fact in harness.log.of("history.opened")]


def test_unread_day_closes_only_itself(harness: TandemHarness) -> None:
    """All other days of the backfill open for delivery, and so does that day when it can be read."""
    harness.poll()
    before = len(opened(harness))
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=99, when=holding("2026-01-15"), status=500))
    with pytest.raises(Retryable, match="15 January 2026 of pump …111 could not be read") as caught:
        backfill(harness, FIRST, LAST)
    assert caught.value.partial
    serial = harness.cloud.pumps[0].serial
    assert opened(harness)[before:] == [(serial, "2026-01-10", "2026-01-14"), (serial, "2026-01-16", "2026-01-20")]
    harness.cloud.faults.clear()
    backfill(harness, date(2026, 1, 15), date(2026, 1, 15))
    assert opened(harness)[-1] == (serial, "2026-01-15", "2026-01-15")


def test_damaged_dose_in_a_backfill(harness: TandemHarness) -> None:
    """A dose that cannot be read closes its day and the days beside it."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 1, 10), 24 * 10)
    harness.cloud.pumps[0].records.append({**bolus(5, "2026-01-15T09:30:00"), "eventProperties": None})
    harness.poll()
    before = len(opened(harness))
    with pytest.raises(Retryable, match="cannot be read") as caught:
        backfill(harness, FIRST, LAST)
    assert caught.value.partial
    assert [days[1:] for days in opened(harness)[before:]] == [
        ("2026-01-10", "2026-01-13"),
        ("2026-01-17", "2026-01-20"),
    ]


@pytest.mark.parametrize(("status", "requests"), [(404, 1), (500, PATIENCE + 1)])
def test_backfill_with_unreadable_spare_pump(harness: TandemHarness, status: int, requests: int) -> None:
    """It is reported, and the worn pump is read. Further parts ask for the spare pump only once."""
    old = CloudPump("2222222", "old", uploaded="2026-03-01T10:00:00Z", newest="2026-03-01T05:00:00")
    harness.cloud.pumps.insert(0, old)
    harness.cloud.pumps[1].records = hourly(datetime(2026, 1, 10), 24 * 10)
    harness.cloud.faults.append(FakeCloudFault("pump-logs/old", times=99, status=status, body=b""))
    for part in range(3):
        with pytest.raises(Retryable, match=rf"pump …222 could not be read\. .*status {status}") as caught:
            backfill(harness, FIRST, LAST)
        assert caught.value.partial
        assert harness.cloud.count("pump-logs/old") == requests + part
    assert len(harness.log.of("basal.delivered")) == 24 * 10
    assert ("1111111", "2026-01-10", "2026-01-20") in opened(harness)


def test_all_unread_days_are_named(harness: TandemHarness) -> None:
    """A pump that cannot be read does not hide the unread day of another."""
    old = CloudPump("2222222", "old", uploaded="2026-03-01T10:00:00Z", newest="2026-03-01T05:00:00")
    harness.cloud.pumps.append(old)
    harness.cloud.faults.append(FakeCloudFault("pump-logs/old", times=99, status=404, body=b""))
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=99, when=holding("2026-01-15"), status=500))
    with pytest.raises(Retryable, match=r"pump …222 could not be read.*; 15 January 2026 of pump …111"):
        backfill(harness, FIRST, LAST)


@pytest.mark.parametrize("status", [403, 429, 503])
def test_refusal_is_not_partial(harness: TandemHarness, status: int) -> None:
    """If Tandem asks to wait or is busy, the other parts of a backfill are not asked for."""
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=99, when=holding("2026-01-15"), status=status))
    with pytest.raises(Retryable, match=f"status {status}") as caught:
        backfill(harness, date(2025, 12, 1), LAST)
    assert not caught.value.partial


def test_many_backfills_keep_the_first_day(harness: TandemHarness) -> None:
    """After a backfill of ten years the first day of history is still known."""
    harness.poll()
    days = [date(2015, 1, 1) + timedelta(days=28 * number) for number in range(130)]
    now = harness.clock.now()
    harness.log.append([history_opened("tandem", "1111111", day, day, now) for day in days])
    harness.clock.advance(days=200)
    harness.poll(harness.source())
    assert [first for _, first, last in opened(harness) if last is None] == ["2026-10-21"]
