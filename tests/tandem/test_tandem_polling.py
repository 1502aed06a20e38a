"""Polling: what is requested, when, and what follows."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from tconnectsync import Retryable
from tconnectsync_tandem.polling import window_reader as windows
from tests.tandem.fake_cloud import PUMPER, SERIAL, CloudPump, FakeCloudFault, TandemHarness, basal, hourly


def days(harness: TandemHarness) -> set[str]:
    """Every day that was requested so far."""
    found: set[str] = set()
    for first, last in harness.cloud.windows():
        day = date.fromisoformat(first)
        while day <= date.fromisoformat(last):
            found.add(day.isoformat())
            day += timedelta(days=1)
    return found


def test_first_poll_windows(harness: TandemHarness) -> None:
    """A first poll fetches the whole history and a day before it, in windows without gaps."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 15), 24 * 40)
    harness.poll()
    assert harness.cloud.windows() == [("2026-10-20", "2026-11-16"), ("2026-11-17", "2026-11-21")]
    (opened,) = harness.log.of("history.opened")
    assert (opened.body.first_day, opened.body.last_day) == ("2026-10-21", None)
    assert len(harness.log.of("basal.delivered")) == 24 * 33
    assert [
        (fact.body.first_day, fact.body.last_day) for fact in harness.log.of("window.fetched")
    ] == harness.cloud.windows()
    assert sum(fact.body.event_count for fact in harness.log.of("window.fetched")) == 24 * 33


def test_events_keep_the_record(harness: TandemHarness) -> None:
    """Events carry identity, the pump's time, and the record unchanged."""
    harness.clock.still = True
    record = basal(393131, "2026-11-20T00:03:29", 1061)
    harness.cloud.pumps[0].records = [record]
    harness.poll()
    (event,) = harness.log.of("basal.delivered")
    assert event.id == f"tandem:{SERIAL}:0:393131"
    assert (event.pump, event.group, event.seq, event.source) == (SERIAL, 0, 393131, "tandem")
    assert event.pump_time == datetime(2026, 11, 20, 0, 3, 29)
    assert event.received_at == harness.clock.now()
    assert event.raw == record
    assert event.body.rate_u_per_h == 1.061


def test_events_in_pump_order(harness: TandemHarness) -> None:
    """Events come in the pump's own order, whatever the answer's order is."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 11, 20), 6)
    harness.poll()
    assert [event.seq for event in harness.log.of("basal.delivered")] == list(range(1000, 1006))


def test_an_idle_poll_is_one_request_and_writes_nothing(harness: TandemHarness) -> None:
    harness.poll()
    known, asked = len(harness.log.events), len(harness.cloud.asked)
    harness.clock.advance(minutes=10)
    harness.poll()
    assert len(harness.log.events) == known
    assert [path for path, _ in harness.cloud.asked[asked:]] == [f"/api/reports/bff/pumper/{PUMPER}"]


def test_upload_fetches_two_days_back(harness: TandemHarness) -> None:
    """An upload makes it fetch back to two days before the last known one."""
    harness.poll()
    harness.cloud.asked.clear()
    harness.clock.advance(hours=1)
    harness.cloud.pumps[0].uploaded = "2026-11-20T12:50:00Z"
    harness.cloud.pumps[0].records = [basal(1, "2026-11-18T23:00:00")]
    harness.poll()
    assert harness.cloud.windows() == [("2026-11-18", "2026-11-21")]
    assert harness.log.numbered() == [1]
    assert [fact.body.uploaded_at.isoformat() for fact in harness.log.of("upload.seen")] == [
        "2026-11-20T11:55:00+00:00",
        "2026-11-20T12:50:00+00:00",
    ]


def test_silent_phone_fetched_back(harness: TandemHarness) -> None:
    """After days of a silent phone, it fetches back to the last upload."""
    harness.poll()
    for _ in range(4 * 5):  # five days of polls every six hours, nothing new
        harness.clock.advance(hours=6)
        harness.poll()
    harness.cloud.asked.clear()
    harness.cloud.pumps[0].uploaded = "2026-11-25T12:05:00Z"
    late = [basal(1, "2026-11-20T12:30:00"), basal(2, "2026-11-19T09:00:00"), basal(3, "2026-11-25T06:00:00")]
    harness.cloud.pumps[0].records = late
    harness.clock.advance(minutes=10)
    harness.poll()
    assert harness.log.numbered() == [1, 2, 3]


@pytest.mark.parametrize("newest", ["2099-12-31T00:00:00", "2009-01-01T00:00:00", None])
def test_bogus_newest_date(harness: TandemHarness, newest: str | None) -> None:
    """A wrong newest date does not stop fetching."""
    harness.poll()
    harness.cloud.pumps[0].newest = newest
    harness.cloud.pumps[0].records = [basal(7, "2026-11-20T07:30:00")]
    harness.clock.advance(hours=1)
    harness.cloud.pumps[0].uploaded = "2026-11-20T12:59:00Z"
    harness.poll()
    assert harness.log.numbered() == [7]


def test_every_six_hours_it_asks_whatever_the_dates_say(harness: TandemHarness) -> None:
    harness.poll()
    harness.cloud.pumps[0].records = [basal(7, "2026-11-20T11:30:00")]
    harness.clock.advance(hours=5, minutes=50)
    harness.poll()
    assert harness.log.numbered() == []
    harness.clock.advance(minutes=11)
    harness.poll()
    assert harness.log.numbered() == [7]


def test_batch_six_days_late(
    harness: TandemHarness,
) -> None:
    """A batch that a phone kept for six days is found within a day, though no date moves."""
    harness.poll()
    harness.cloud.pumps[0].records = [basal(7, "2026-11-14T07:30:00")]
    harness.clock.advance(hours=24, minutes=1)
    harness.poll()
    assert harness.log.numbered() == [7]


def test_batch_three_weeks_late(harness: TandemHarness) -> None:
    """A batch that is three weeks late is found within a week."""
    harness.poll()
    harness.cloud.pumps[0].records = [basal(7, "2026-11-04T07:30:00")]
    for _ in range(8):
        harness.clock.advance(hours=24, minutes=1)
        harness.poll()
    assert harness.log.numbered() == [7]


def test_a_poll_that_is_killed_resumes_where_it_was(harness: TandemHarness) -> None:
    harness.settings["history_days"] = 120
    harness.cloud.pumps[0].records = hourly(datetime(2026, 7, 1), 24 * 142)
    expected = {*range(1000 + 24 * 21, 1000 + 24 * 142)}  # from 22 July on, lead-in included
    for kills in range(1, 4):
        run = harness.source().poll(harness.log)
        for _ in range(kills):
            harness.log.append(next(run).events)
        run.close()
    before = len(harness.log.of("window.fetched"))
    assert before > 0
    harness.cloud.asked.clear()
    harness.poll(harness.source())
    assert set(harness.log.numbered()) == expected
    whole = 1 + (date(2026, 11, 21) - date(2026, 7, 22)).days
    assert len(days(harness)) < whole
    assert harness.log.duplicates < 24 * 3 * 8


def test_catch_up_after_three_months_away_leaves_no_gap(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 1), 24 * 150)
    harness.poll()
    harness.clock.advance(days=90)
    harness.cloud.pumps[0].uploaded = "2027-02-18T11:55:00Z"
    harness.poll(harness.source())
    numbers = harness.log.numbered()
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[-1] == 1000 + 24 * 142 - 1  # the end of tomorrow


def test_an_upload_seen_names_the_newest_pump_time(harness: TandemHarness) -> None:
    harness.poll()
    (fact,) = harness.log.of("upload.seen")
    assert fact.id == f"tandem:{SERIAL}:upload:2026-11-20T11:55:00Z"
    assert fact.body.newest_pump_time == datetime(2026, 11, 20, 6, 50)


def test_an_upload_from_the_future_is_no_fact(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].uploaded = "2031-01-01T00:00:00Z"
    harness.poll()
    assert harness.log.of("upload.seen") == []
    assert harness.log.of("window.fetched") != []


def test_a_backfill_fetches_again_and_opens_its_days(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].records = hourly(datetime(2026, 1, 1), 24 * 60)
    harness.poll()
    harness.cloud.asked.clear()
    for batch in harness.running_source.backfill(harness.log, date(2026, 1, 10), date(2026, 2, 20)):
        harness.log.append(batch.events)
    assert harness.cloud.windows() == [("2026-01-09", "2026-02-05"), ("2026-02-06", "2026-02-21")]
    opened = harness.log.events[-1]
    assert (opened.kind, opened.body.first_day, opened.body.last_day) == ("history.opened", "2026-01-10", "2026-02-20")
    assert len(harness.log.of("basal.delivered")) == 24 * 44


def test_a_backfill_inside_the_open_history_opens_nothing(harness: TandemHarness) -> None:
    harness.poll()
    for batch in harness.running_source.backfill(harness.log, date(2026, 11, 10), date(2026, 11, 12)):
        harness.log.append(batch.events)
    assert len(harness.log.of("history.opened")) == 1


def test_a_month_comes_in_batches_of_bounded_size(harness: TandemHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "EVENTS_PER_BATCH", 100)
    harness.cloud.pumps[0].records = hourly(datetime(2026, 11, 1), 480)
    sizes = []
    for batch in harness.running_source.poll(harness.log):
        assert batch.done <= batch.total
        sizes.append(len(batch.events))
        harness.log.append(batch.events)
    assert max(sizes) <= 101
    assert len(harness.log.of("basal.delivered")) == 480
    assert batch.done == batch.total


def test_a_block_ends_the_poll_at_once(harness: TandemHarness) -> None:
    harness.cloud.pumps.insert(0, CloudPump("2222222", "blocked"))
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs/blocked", status=403, body=b"The request is blocked", times=99)
    )
    with pytest.raises(Retryable, match="firewall") as caught:
        harness.poll()
    assert caught.value.after_s is not None
    assert caught.value.after_s >= 1800
    assert len(harness.cloud.windows()) == 1


@pytest.mark.parametrize("away", [12, 40])
def test_backlog_in_several_uploads(harness: TandemHarness, away: int) -> None:
    """A phone that was away sends its backlog in parts, oldest first. Each part is read when it arrives."""
    pump, since = harness.cloud.pumps[0], datetime(2026, 11, 20)
    harness.poll()
    for _ in range(away):
        harness.clock.advance(days=1)
        harness.poll()
    for part in range(4):
        days_each = away // 4
        pump.records += hourly(since + timedelta(days=part * days_each), days_each * 24, 1000 + part * days_each * 24)
        pump.newest = pump.records[-1]["pumpDateTime"]
        harness.clock.advance(minutes=20)
        pump.uploaded = f"{harness.clock.now():%Y-%m-%dT%H:%M:%SZ}"
        harness.poll()
        assert harness.log.numbered() == [one["sequenceNumber"] for one in pump.records]


def test_newest_date_that_stands_still(harness: TandemHarness) -> None:
    """If the list of pumps no longer shows newer data, an upload still asks for a few days only."""
    for _ in range(20):
        harness.clock.advance(days=1)
        harness.cloud.pumps[0].uploaded = f"{harness.clock.now():%Y-%m-%dT%H:%M:%SZ}"
        harness.poll()
    harness.cloud.asked.clear()
    harness.clock.advance(hours=1)
    harness.cloud.pumps[0].uploaded = f"{harness.clock.now():%Y-%m-%dT%H:%M:%SZ}"
    harness.poll()
    assert harness.cloud.windows() == [("2026-12-08", "2026-12-11")]
