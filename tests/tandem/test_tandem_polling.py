"""Polling: what is requested, when, and what follows."""

from __future__ import annotations

import json
import logging
from datetime import date, datetime, timedelta
from typing import Any

import attrs
import pytest

from tconnectsync import Retryable, SourceChanged
from tconnectsync_tandem.polling import window_reader as windows
from tests.tandem.fake_cloud import (
    ASSIGNMENT,
    PUMPER,
    SERIAL,
    CloudPump,
    FakeCloudFault,
    TandemHarness,
    basal,
    entry,
    hourly,
)

SETTINGS: dict[str, Any] = {
    "id": "b7f931c8",
    "deviceAssignmentId": ASSIGNMENT,
    "uploadedTimeStamp": "2026-09-10T21:07:43.497",
    "settingsHash": "29EDDA8E7A72C1AD060271268CC7AE81FAD54B9D",
    "uploadId": "5da6a0ca-86c3-440f-9462-fa53168dcb9d",
    "details": {"profiles": {"activeIdp": 0, "profile": [{"name": "A"}]}, "firstName": "Ada"},
}


def days(harness: TandemHarness) -> set[str]:
    """Every day asked for so far."""
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
    """A bogus newest date does not keep it from fetching."""
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


def test_spare_pumps_asked_daily(harness: TandemHarness) -> None:
    """Pumps in a drawer are asked for once a day, and the worn one every six hours."""
    drawer = CloudPump("90556643", "retired", uploaded="2022-09-20T05:50:12Z", newest="2022-02-16T22:45:58")
    never = CloudPump("514387", "never", uploaded=None, newest=None)
    harness.cloud.pumps += [drawer, never]
    harness.poll()
    harness.cloud.asked.clear()
    for _ in range(4):
        harness.clock.advance(hours=6, minutes=1)
        harness.poll()
    assert harness.cloud.count("pump-logs/retired") == 1
    assert harness.cloud.count("pump-logs/never") == 0
    assert harness.cloud.count(f"pump-logs/{ASSIGNMENT}") >= 4


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


def test_settings_written_on_change(harness: TandemHarness) -> None:
    """Settings are written when their hash changes, and without names."""
    pump = harness.cloud.pumps[0]
    pump.settings = SETTINGS
    harness.poll()
    harness.clock.advance(hours=1)
    pump.settings = {**SETTINGS, "uploadId": "another"}
    harness.poll()
    (captured,) = harness.log.of("settings.captured")
    assert captured.body.details == {"profiles": {"activeIdp": 0, "profile": [{"name": "A"}]}}
    assert captured.raw is None
    pump.settings = {**SETTINGS, "settingsHash": "0" * 40}
    harness.poll()
    pump.settings = {**SETTINGS, "uploadId": "third"}
    harness.poll()
    assert [fact.body.settings_hash[:4] for fact in harness.log.of("settings.captured")] == ["29ED", "0000", "29ED"]
    assert "Ada" not in repr(harness.log.events)


@pytest.mark.parametrize(
    ("stamp", "wall"),
    [
        ("2026-11-20T11:50:43.497", datetime(2026, 11, 20, 6, 50, 43, 497_000)),  # UTC: New York is five hours behind
        ("2026-11-20T11:50:43.497Z", datetime(2026, 11, 20, 6, 50, 43, 497_000)),
        ("2026-11-20T06:50:43-05:00", datetime(2026, 11, 20, 6, 50, 43)),
        ("2026-10-25T11:50:43", datetime(2026, 10, 25, 7, 50, 43)),
        ("2026-07-20T11:50:43", datetime(2026, 10, 21)),  # in force when the history begins
        ("2026-11-20T17:00:00", datetime(2026, 11, 20, 7)),  # later than now: never
        ("2031-01-01T00:00:00", datetime(2026, 11, 20, 7)),
        (None, datetime(2026, 11, 20, 6, 55)),  # then the upload's time
        (1795175443, datetime(2026, 11, 20, 6, 55)),
    ],
)
def test_settings_begin(harness: TandemHarness, stamp: Any, wall: datetime) -> None:
    """Settings begin when the account says, and never later than they came."""
    harness.clock.still = True
    harness.cloud.pumps[0].settings = {**SETTINGS, "uploadedTimeStamp": stamp}
    harness.poll()
    (captured,) = harness.log.of("settings.captured")
    assert captured.pump_time == wall


def test_newer_settings_lie_later(harness: TandemHarness) -> None:
    """An earlier release wrote the stamp as it was: hours ahead, west of Greenwich."""
    pump = harness.cloud.pumps[0]
    pump.settings = {**SETTINGS, "uploadedTimeStamp": "2026-11-20T11:50:00"}
    harness.poll()
    harness.log._by_kind["settings.captured", pump.serial][0] = attrs.evolve(
        harness.log.of("settings.captured")[0], pump_time=datetime(2026, 11, 20, 11, 50)
    )
    harness.clock.advance(hours=1)
    pump.settings = {**SETTINGS, "uploadedTimeStamp": "2026-11-20T12:55:00", "settingsHash": "0" * 40, "uploadId": "b"}
    harness.poll(harness.source())
    newest = harness.log.of("settings.captured")[-1]
    assert newest.pump_time == datetime(2026, 11, 20, 11, 50, 0, 1000)


def test_settings_details_as_text(harness: TandemHarness) -> None:
    """Settings whose details are JSON in a text are read."""
    harness.cloud.pumps[0].settings = {**SETTINGS, "details": json.dumps(SETTINGS["details"])}
    harness.poll()
    (captured,) = harness.log.of("settings.captured")
    assert captured.body.details == {"profiles": {"activeIdp": 0, "profile": [{"name": "A"}]}}


RETIRED = ("2222222", "retired")


def hidden_pump(harness: TandemHarness, **lacking: Any) -> None:
    """The worn pump of two as the list has it without what is ``lacking``."""
    retired = CloudPump(*RETIRED, uploaded="2026-03-01T00:00:00Z", newest="2026-03-01T00:00:00")
    harness.cloud.pumps.append(retired)
    worn = {**harness.cloud.pumps[0].listed(), **lacking}
    answer = {"firstName": "Ada", "pumps": [worn, retired.listed()]}
    harness.cloud.faults.append(FakeCloudFault("/pumper/", times=99, change=lambda _: answer))


@pytest.mark.parametrize("lacking", [{"serialNumber": None}, {"serialNumber": "a:b"}, {"assignmentId": None}])
def test_hidden_worn_pump_told(harness: TandemHarness, lacking: dict[str, Any]) -> None:
    """A worn pump that the list hides is reported, and the phone is not blamed."""
    hidden_pump(harness, **lacking)
    with pytest.raises(
        SourceChanged, match=r"used last .*Mobi.*uploaded 2026-11-20 11:55 UTC.* cannot be read"
    ) as caught:
        harness.poll()
    assert "phone" in caught.value.message
    assert "website" in (caught.value.remedy or "")
    assert caught.value.after_s == 3600
    assert {fact.pump for fact in harness.log.of("window.fetched")} == {"2222222"}  # the others are read all the same
    findings = list(harness.source().check())
    assert sum("cannot be read" in finding.what and not finding.good for finding in findings) == 1
    assert not any("probably the active pump" in finding.what for finding in findings)


@pytest.mark.parametrize(
    "dates",
    [
        {"lastUploadDate": None, "maxDateOfEvents": None},  # never used
        {"lastUploadDate": "2025-01-01T00:00:00Z", "maxDateOfEvents": "2025-01-01T00:00:00"},
    ],
)
def test_a_hidden_pump_that_is_not_worn_is_no_trouble(harness: TandemHarness, dates: dict[str, Any]) -> None:
    hidden_pump(harness, serialNumber=None, **dates)
    harness.poll()
    assert [finding.good for finding in harness.source().check() if "cannot be read" in finding.what] == [False]


def test_hidden_pump_without_date(harness: TandemHarness) -> None:
    """A hidden pump without any date may be the worn one."""
    hidden_pump(harness, serialNumber=None, lastUploadDate=7, maxDateOfEvents=[])
    with pytest.raises(SourceChanged, match="cannot be read"):
        harness.poll()


def test_whoever_chose_the_pumps_is_told_in_the_log_alone(
    harness: TandemHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.settings["pumps"] = ("2222222",)
    hidden_pump(harness, serialNumber=None)
    harness.poll()
    assert "no serial number" in caplog.text


def test_chosen_pumps_only(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """Only the chosen pumps are read, and a newer one that is left out is reported."""
    harness.cloud.pumps.append(
        CloudPump("2222222", "older", uploaded="2026-01-01T00:00:00Z", newest="2026-01-01T00:00:00")
    )
    harness.settings["pumps"] = ("2222222", "3333333")
    harness.poll()
    assert {event.pump for event in harness.log.events} == {"2222222"}
    assert "pump 3333333 is not on the account" in caplog.text
    assert "pump 1111111, which `pumps` excludes, has newer data" in caplog.text
    harness.poll()
    assert caplog.text.count("3333333") == 2  # once in each of the two warnings


def test_a_choice_of_pumps_that_are_not_there_is_an_error(harness: TandemHarness) -> None:
    harness.settings["pumps"] = ("3333333",)
    with pytest.raises(SourceChanged, match="none of the pumps") as caught:
        harness.poll()
    assert "`pumps`" in (caught.value.remedy or "")


def test_a_pump_that_was_assigned_twice_is_read_under_both(harness: TandemHarness) -> None:
    harness.cloud.pumps.append(CloudPump(SERIAL, "before", records=[basal(3, "2026-11-19T00:00:00")]))
    harness.cloud.pumps[0].records = [basal(9, "2026-11-20T00:00:00")]
    harness.poll()
    assert harness.log.numbered() == [3, 9]


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


def test_trouble_with_one_pump_leaves_the_others_alone(harness: TandemHarness) -> None:
    harness.cloud.pumps.insert(0, CloudPump("2222222", "gone"))
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs/gone", status=404, body=b"<html>404 Not Found</html>", times=99)
    )
    harness.cloud.pumps[1].records = [basal(3, "2026-11-19T00:00:00")]
    with pytest.raises(SourceChanged, match="404"):
        harness.poll()
    assert harness.log.numbered() == [3]


def test_serial_number_in_no_log_line(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """Log lines and notes name a pump by the end of its number, also if a window cannot be read."""
    caplog.set_level(logging.DEBUG, "tconnectsync")
    harness.cloud.faults.append(FakeCloudFault("pump-logs", body=b"<html>", times=1))
    notes = []
    for batch in harness.running_source.poll(harness.log):
        harness.log.append(batch.events)
        notes.append(batch.note)
    assert "window_broken pump=…111" in caplog.text
    assert "window_read pump=…111" in caplog.text
    assert any("pump …111" in note for note in notes)
    assert "1111111" not in caplog.text + "".join(notes)


def test_trouble_with_spare_pump(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """Trouble with a pump in a drawer is logged, and slows nothing down."""
    harness.cloud.pumps.append(
        CloudPump("2222222", "gone", uploaded="2024-01-01T00:00:00Z", newest="2024-01-01T00:00:00")
    )
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs/gone", status=404, body=b"<html>404 Not Found</html>", times=99)
    )
    for _ in range(5):
        harness.poll()
        harness.clock.advance(hours=1)
    assert harness.cloud.count("pump-logs/gone") == 1
    assert "pump_not_read pump=…222" in caplog.text
    assert "2222222" not in caplog.text
    harness.clock.advance(hours=24)
    harness.poll()
    assert harness.cloud.count("pump-logs/gone") == 2


def test_a_pump_whose_dates_vanish_is_still_asked(harness: TandemHarness) -> None:
    harness.poll()
    harness.cloud.pumps[0].uploaded = harness.cloud.pumps[0].newest = None
    harness.cloud.pumps[0].records = [basal(3, "2026-11-20T09:00:00")]
    harness.clock.advance(hours=6, minutes=1)
    harness.poll()
    assert harness.log.numbered() == [3]


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
