"""The vendor changes a type or a name: certain values are read, and the rest never counts as "no data"."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tconnectsync import SourceChanged
from tconnectsync.events.source_facts import window_fetched
from tconnectsync_tandem.decode import decode
from tconnectsync_tandem.decode.entries import read_entry
from tconnectsync_tandem.polling.unreadable_days import UnreadableEvents
from tconnectsync_tandem.polling.window_reader import PATIENCE
from tconnectsync_tandem.polling.window_state import FORGOTTEN_AFTER, WindowState
from tests.tandem.fake_cloud import CloudPump, FakeCloudFault, TandemHarness, basal, entry, hourly

Change = Callable[[dict[str, Any]], Any]

BOLUS = {"completionStatus": 3, "bolusId": 7, "iob": 1.5, "insulinDelivered": 2.25, "insulinRequested": 2.25}


def bolus(seq: int, time: str, **changed: Any) -> dict[str, Any]:
    return entry(20, seq, time, {**BOLUS, **changed})


def records() -> list[dict[str, Any]]:
    """Two days, in whole minutes: an hourly rate, a bolus, a change of the clock."""
    clock = entry(13, 3000, "2026-11-19T10:00:00", {"timePrior": 35_000_000, "timeAfter": 36_000_000, "rawRtcTime": 1})
    return [*hourly(datetime(2026, 11, 18), 48), bolus(2000, "2026-11-19T09:30:00"), clock]


def every(change: Change, code: int | None = None) -> FakeCloudFault:
    """All entries of a window, or those of one code, changed in this way."""

    def changed(found: dict[str, Any]) -> Any:
        return change(json.loads(json.dumps(found))) if code in (None, found["eventCode"]) else found

    return FakeCloudFault(
        "pump-logs", times=9999, change=lambda answer: {part: [changed(one) for one in answer[part]] for part in answer}
    )


def text_of(key: str) -> Change:
    return lambda found: {**found, key: str(found[key])}


def renamed(key: str, name: str) -> Change:
    return lambda found: {name if each == key else each: value for each, value in found.items()}


def of_properties(change: Change) -> Change:
    return lambda found: {**found, "eventProperties": change(found["eventProperties"])}


TOLERATED: dict[str, Change] = {
    "sequence number as text": text_of("sequenceNumber"),
    "sequence group as text": text_of("sequenceGroup"),
    "code as text": text_of("eventCode"),
    "code as a fraction": lambda found: {**found, "eventCode": float(found["eventCode"])},
    "values as text": of_properties(lambda found: {key: str(value) for key, value in found.items()}),
    "properties as text": of_properties(json.dumps),
    "no seconds": lambda found: {**found, "pumpDateTime": found["pumpDateTime"][:16]},
    "no seconds, with a zone": lambda found: {**found, "pumpDateTime": found["pumpDateTime"][:16] + "+00:00"},
    "a fraction and a zone": lambda found: {**found, "pumpDateTime": found["pumpDateTime"] + ".1230000Z"},
    "a blank and a zone": lambda found: {**found, "pumpDateTime": found["pumpDateTime"].replace("T", " ") + " -0500"},
    "other capitals": lambda found: {key[0].upper() + key[1:]: value for key, value in found.items()},
}
UNREADABLE: dict[str, tuple[Change, str]] = {
    "time renamed": (renamed("pumpDateTime", "pumpTime"), "bolus completed"),
    "code renamed": (renamed("eventCode", "type"), "bolus records of an unreadable type"),
    "code in words": (lambda found: {**found, "eventCode": "BOLUS_COMPLETED"}, "bolus records"),
    "code in an object": (lambda found: {**found, "eventCode": {"id": found["eventCode"]}}, "bolus records"),
    "number renamed": (renamed("sequenceNumber", "sequence"), "basal delivered"),
    "properties renamed": (renamed("eventProperties", "properties"), "48 basal delivered"),
    "properties as a list": (of_properties(lambda found: list(found.items())), "48 basal delivered"),
    "rate renamed": (of_properties(renamed("commandedRate", "rate")), "48 basal delivered"),
    "no dose": (of_properties(lambda found: {k: v for k, v in found.items() if k != "insulinDelivered"}), "1 bolus"),
    "a null dose": (of_properties(lambda found: {**found, "insulinDelivered": None}), "insulinDelivered is missing"),
    "a dose in words": (of_properties(lambda found: {**found, "insulinDelivered": "2,25 U"}), "1 bolus completed"),
    "clock changes without a step": (of_properties(renamed("timeAfter", "after")), "1 clock changed"),
}


def backfill(harness: TandemHarness, first: date, last: date) -> None:
    for batch in harness.running_source.backfill(harness.log, first, last):
        harness.log.append(batch.events)


@pytest.mark.parametrize("change", TOLERATED.values(), ids=TOLERATED)
def test_what_is_beyond_doubt_is_read_as_ever(harness: TandemHarness, change: Change) -> None:
    harness.cloud.pumps[0].records = records()
    harness.cloud.faults.append(every(change))
    harness.poll()
    assert harness.log.of("unknown") == []
    known = {event.seq: (event.kind, event.pump_time, event.body) for event in harness.log.events if event.seq}
    assert known == {
        one["sequenceNumber"]: (decode(one)[0], datetime.fromisoformat(one["pumpDateTime"]), decode(one)[1])
        for one in records()
    }
    assert all(decode(event.raw or {}) == (event.kind, event.body) for event in harness.log.events if event.seq)


def test_clock_changes_with_numbers_as_text_are_all_kept(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].changes = [
        entry(13, number, f"2026-11-1{number}T10:00:00", {"timePrior": 0, "timeAfter": number, "rawRtcTime": 1})
        for number in range(1, 5)
    ]
    harness.cloud.faults.append(every(text_of("sequenceNumber")))
    harness.poll()
    assert [event.seq for event in harness.log.of("clock.changed")] == [1, 2, 3, 4]


@given(st.from_regex(r"-?[0-9]{1,6}(\.[0-9]{1,4})?", fullmatch=True))
def test_a_number_as_text_is_the_number(text: str) -> None:
    told = [decode(bolus(1, "2026-11-19T09:30:00", insulinDelivered=each)) for each in (text, json.loads(repr(float(text))))]  # fmt: skip
    assert told[0][0] == told[1][0]
    if told[0][0] != "unknown":
        assert told[0] == told[1]


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-20",
        "2026-11-20T00",
        "2026-11-20T00:03:",
        "2026-11-20T00:03:5",
        "20 Nov 2026 00:03",
        "00:03",
        "2026-11-20T12:03:00 AM",
        "2026-11-20T00:03:00 local",
        "2026-11-20T00:03:00/PT5M",
        1795132980,
    ],
)
def test_a_time_that_may_mean_something_else_is_none(time: Any) -> None:
    assert read_entry({**basal(1, "2026-11-20T00:03:00"), "pumpDateTime": time}).kind == "unknown"


@pytest.mark.parametrize(("change", "words"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_comes_once_readable(harness: TandemHarness, change: Change, words: str) -> None:
    """Also after restarts, and although nothing was uploaded since."""
    harness.cloud.pumps[0].records = records()
    harness.cloud.faults.append(every(change))
    for _ in range(3):
        with pytest.raises(SourceChanged, match="cannot be read") as caught:
            harness.poll(harness.source())
        assert words in caught.value.message
        assert caught.value.after_s in (600, 3600)
        harness.clock.advance(hours=1)
    assert not {fact.body.first_day for fact in harness.log.of("window.fetched")} & {"2026-11-18", "2026-11-19"}
    harness.cloud.faults.clear()
    harness.poll(harness.source())
    assert set(harness.log.numbered()) == {one["sequenceNumber"] for one in records()}
    known = {event.seq for event in harness.log.events if event.kind not in ("unknown", "window.fetched")}
    assert {one["sequenceNumber"] for one in records()} <= known
    asked = len(harness.cloud.windows())
    harness.clock.advance(minutes=5)
    harness.poll(harness.source())
    assert len(harness.cloud.windows()) == asked


@pytest.mark.parametrize(("code", "wait_s"), [(20, 600), (None, 3600)])
def test_few_unreadable_records_delay_nothing(harness: TandemHarness, code: int | None, wait_s: float) -> None:
    """If a dose cannot be read, the next poll is soon; if nothing can, it is in an hour."""
    harness.cloud.pumps[0].records = records()
    harness.cloud.faults.append(every(renamed("eventProperties", "properties"), code=code))
    with pytest.raises(SourceChanged) as caught:
        harness.poll()
    assert caught.value.after_s == wait_s


def no_dose_of(*seqs: int) -> FakeCloudFault:
    """The vendor stores these boluses without their amounts."""

    def damaged(found: dict[str, Any]) -> dict[str, Any]:
        lost = found["sequenceNumber"] in seqs
        return {**found, "eventProperties": {**found["eventProperties"], "insulinDelivered": None}} if lost else found

    return every(damaged, code=20)


def polls(harness: TandemHarness, hours: int) -> list[bool]:
    """Poll in each of these hours, after a restart; return whether something had changed."""
    found = []
    for _ in range(hours):
        harness.clock.advance(hours=1)
        try:
            harness.poll(harness.source())
        except SourceChanged:
            found.append(True)
        else:
            found.append(False)
    return found


def test_damaged_dose_is_reported_for_a_week(harness: TandemHarness) -> None:
    """Then its day counts as read, also after restarts. A newer one is reported, and asks for its own days only."""
    harness.cloud.pumps[0].records = [*hourly(datetime(2026, 10, 20), 24 * 31), bolus(5, "2026-11-05T09:30:00")]
    harness.cloud.faults.append(no_dose_of(5))
    assert polls(harness, 8 * 24) == [True] * 7 * 24 + [False] * 24
    assert any(event.body.code == "20" for event in harness.log.of("unknown"))
    harness.cloud.pumps[0].records += [*hourly(datetime(2026, 11, 25), 72, 9000), bolus(7, "2026-11-27T10:30:00")]
    harness.cloud.faults[:] = [no_dose_of(5, 7)]
    harness.cloud.pumps[0].uploaded = "2026-11-28T10:00:00Z"
    assert polls(harness, 26) == [True] * 26
    harness.cloud.asked.clear()
    assert polls(harness, 1) == [True]
    assert harness.cloud.windows() == [("2026-11-26", "2026-11-28")]


def test_damaged_time_is_reported_for_a_week(harness: TandemHarness) -> None:
    """A dose whose time cannot be read is of the day of its neighbours: only that day is fetched again, and for a week."""
    before, after = hourly(datetime(2026, 10, 20), 400), hourly(datetime(2026, 11, 5, 16), 344, seq=1401)
    harness.cloud.pumps[0].records = [*before, bolus(1400, "2026-11-05T15:30:00"), *after]
    harness.cloud.faults.append(every(lambda found: {**found, "pumpDateTime": None}, code=20))
    assert polls(harness, 7 * 24 - 1) == [True] * (7 * 24 - 1)
    harness.cloud.asked.clear()
    assert polls(harness, 1) == [True]
    assert harness.cloud.windows() == [("2026-11-04", "2026-11-06")]
    assert polls(harness, 24) == [False] * 24


def test_old_clock_change_without_time(harness: TandemHarness) -> None:
    """Each response has all clock changes, also those of years ago: one whose time cannot be read is of another day."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 11, 10), 24 * 10, seq=90_000)
    old = entry(13, 5, "2026-01-01T10:00:00", {"timePrior": 35_000_000, "timeAfter": 36_000_000, "rawRtcTime": 1})
    harness.cloud.pumps[0].changes.append(old)
    harness.cloud.faults.append(every(lambda found: {**found, "pumpDateTime": None}, code=13))
    assert polls(harness, 2) == [False] * 2


def test_repaired_dose_may_be_damaged_again(harness: TandemHarness) -> None:
    """It is reported for a week again."""
    harness.cloud.pumps[0].records = [*hourly(datetime(2026, 11, 10), 24 * 10), bolus(5, "2026-11-15T09:30:00")]
    harness.cloud.faults.append(no_dose_of(5))
    assert polls(harness, 6 * 24) == [True] * 6 * 24
    fault = harness.cloud.faults.pop()
    assert polls(harness, 2 * 24) == [False] * 2 * 24
    assert [event.body.delivered_u for event in harness.log.of("bolus.completed")] == [2.25]
    harness.cloud.faults.append(fault)
    assert any(polls(harness, 7 * 24))


def test_days_that_cannot_be_read_at_all_are_never_given_up(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].records = records()
    harness.cloud.faults.append(every(renamed("eventProperties", "properties")))
    assert polls(harness, 9 * 24) == [True] * 9 * 24
    harness.cloud.faults.clear()
    assert polls(harness, 1) == [False]
    assert [event.body.delivered_u for event in harness.log.of("bolus.completed")] == [2.25]


def test_rest_of_window_delivered(harness: TandemHarness) -> None:
    """The rest of the window is delivered, and only the days around what is unreadable are requested again."""
    harness.cloud.pumps[0].records = [*hourly(datetime(2026, 10, 20), 24 * 31), bolus(5, "2026-11-05T09:30:00")]
    harness.cloud.faults.append(every(of_properties(lambda found: {**found, "insulinDelivered": None}), code=20))
    with pytest.raises(SourceChanged, match="1 bolus completed"):
        harness.poll()
    assert len(harness.log.of("basal.delivered")) == 24 * 31
    fetched = [(fact.body.first_day, fact.body.last_day) for fact in harness.log.of("window.fetched")]
    assert fetched == [("2026-10-20", "2026-11-03"), ("2026-11-07", "2026-11-16"), ("2026-11-17", "2026-11-21")]
    harness.cloud.asked.clear()
    harness.clock.advance(hours=1)
    with pytest.raises(SourceChanged):
        harness.poll(harness.source())
    assert harness.cloud.windows() == [("2026-11-04", "2026-11-06")]


def test_unreadable_day_after_months(harness: TandemHarness) -> None:
    """The log has grown by more than the part that is examined."""
    harness.cloud.pumps[0].records = [bolus(5, "2026-11-05T09:30:00")]
    fault = every(of_properties(lambda found: {**found, "insulinDelivered": None}), code=20)
    harness.cloud.faults.append(fault)
    with pytest.raises(SourceChanged):
        harness.poll()
    harness.log.append([_fetched_later(harness, number) for number in range(1200)])
    harness.cloud.asked.clear()
    harness.clock.advance(days=60)
    with pytest.raises(SourceChanged):
        harness.poll(harness.source())
    assert ("2026-11-04", "2026-11-06") in harness.cloud.windows()
    harness.cloud.faults.clear()
    harness.poll(harness.source())
    assert [event.body.delivered_u for event in harness.log.of("bolus.completed")] == [2.25]
    harness.poll(harness.source())
    assert WindowState.load(harness.folder / "windows.json").unread("1111111", {}) == set()


WINDOWS = """{
 "longest_days": 14,
 "longest_since": "2026-11-20T10:00:00+00:00",
 "unread": {
  "1111111": {
   "2026-11-18": "2026-11-20T09:00:00+00:00"
  }
 }
}"""
"""A ``windows.json`` as the previous release wrote it."""


def test_windows_of_the_previous_release(tmp_path: Path) -> None:
    """The file is read, and nothing of it is lost."""
    path, day = tmp_path / "windows.json", date(2026, 11, 18)
    path.write_text(WINDOWS)
    state = WindowState.load(path)
    assert state.unread("1111111", {}) == {day}
    state.record_length(14, datetime(2026, 12, 20, 10, tzinfo=timezone.utc))
    assert json.loads(path.read_text()) == {
        **json.loads(WINDOWS),
        "longest_since": "2026-12-20T10:00:00+00:00",
        "damaged": {},
        "cooldown": {"pumps": {}, "days": {}, "busy": {}, "exhausted": []},
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "3",
        '{"unread": 3}',
        '{"longest_days": 0}',
        '{"longest_days": 3, "longest_since": "2026-11-20T10:00:00"}',
        '{"unread": {"1111111": {"2026-11-18": "2026-11-20"}}}',
        '{"cooldown": {"pumps": {"1111111": {"until": "2026-11-20T10:00:00"}}}}',
    ],
)
def test_unreadable_windows_count_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "windows.json"
    path.write_text(text)
    assert WindowState.load(path) == WindowState(path)


def _fetched_later(harness: TandemHarness, number: int) -> Any:
    day = date(2026, 11, 20) + timedelta(days=number // 24)
    later = harness.clock.now() + timedelta(hours=number)
    return window_fetched("tandem", "1111111", (day, day), 0, uploaded_at=None, received_at=later)


def test_a_few_odd_records_that_are_no_doses_are_no_change(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].records = [
        *hourly(datetime(2026, 11, 18), 40),
        {**basal(1, "2026-11-19T00:01:00"), "eventProperties": {}},
        entry(69, 2, "2026-11-19T00:02:00", {"name0": 65}),
        *(entry(999, number, "2026-11-19T00:03:00", {"bolusId": number}) for number in range(3, 40)),
        {**entry(999, 0, "2026-11-19T00:03:00", {}), "sequenceNumber": "x"},
        *({**entry(60, number, "2026-11-19T00:04:00", {}), "eventProperties": None} for number in range(50, 60)),
    ]
    harness.poll()
    unknown = harness.log.of("unknown")
    assert sum(event.body.reason == "no such code" for event in unknown) == 37
    assert len(unknown) == 37 + 12


@pytest.mark.parametrize(("odd", "changed"), [(5, False), (6, True)])
def test_more_than_one_in_twenty_is_a_change(harness: TandemHarness, odd: int, changed: bool) -> None:
    harness.cloud.pumps[0].records = hourly(datetime(2026, 11, 17, 20), 100)
    for record in harness.cloud.pumps[0].records[:odd]:
        record["eventProperties"]["commandedRate"] = "fast"
    if changed:
        with pytest.raises(SourceChanged, match="6 of 100"):
            harness.poll()
    else:
        harness.poll()


@pytest.mark.parametrize(
    ("records_before", "words"),
    [
        ([(229, {"mode": 1}), (229, {"mode": 0})], "2 mode changed"),
        ([(11, "suspendReason"), (12, {}), (12, {})], "1 pumping suspended"),
        ([(5, {"alarm": 3}), (5, {"alarm": 3})], "2 alarm raised"),
    ],
)
def test_rare_unreadable_kind(harness: TandemHarness, records_before: list[tuple[int, Any]], words: str) -> None:
    """They are far less than one in twenty records."""
    rare = [
        {**entry(code, 4000 + number, f"2026-11-19T00:0{number}:30", {}), "eventProperties": values}
        for number, (code, values) in enumerate(records_before)
    ]
    harness.cloud.pumps[0].records = [*hourly(datetime(2026, 11, 15), 100), *rare]
    with pytest.raises(SourceChanged, match=words):
        harness.poll()


def test_one_odd_record_of_a_rare_kind_is_no_change(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].records = [
        *hourly(datetime(2026, 11, 15), 100),
        entry(229, 4001, "2026-11-19T00:01:00", {}),
        entry(5, 4002, "2026-11-19T00:02:00", {}),
        entry(5, 4003, "2026-11-19T00:03:00", {"alarmId": 3}),
    ]
    harness.poll()
    assert len(harness.log.of("unknown")) == 2


def test_old_unreadable_clock_change(harness: TandemHarness) -> None:
    """A clock change of years ago that cannot be read is no change."""
    harness.cloud.pumps[0].changes = [entry(13, 5, "2023-11-19T10:00:00", {"timePrior": -5})]
    harness.cloud.pumps[0].records = [basal(6, "2026-11-19T00:00:00")]
    harness.poll()
    assert len(harness.log.of("unknown")) == 1


def test_unreadable_spare_pump(harness: TandemHarness) -> None:
    """A pump in a drawer that cannot be read is left alone for a day."""
    old = CloudPump("2222222", "old", uploaded="2024-01-01T00:00:00Z", newest="2024-01-01T00:00:00")
    old.records = [{**bolus(1, "2026-11-10T00:00:00"), "eventProperties": None}]
    harness.cloud.pumps.append(old)
    harness.poll()
    asked = harness.cloud.count("pump-logs/old")
    harness.poll()
    assert harness.cloud.count("pump-logs/old") == asked


def test_backfill_with_unreadable_dose(harness: TandemHarness) -> None:
    """A backfill with a dose that cannot be read opens nothing."""
    harness.cloud.pumps[0].records = [bolus(5, "2026-01-15T09:30:00")]
    harness.poll()
    harness.cloud.faults.append(every(renamed("pumpDateTime", "time")))
    with pytest.raises(SourceChanged):
        backfill(harness, date(2026, 1, 10), date(2026, 1, 20))
    assert len(harness.log.of("history.opened")) == 1


@given(st.sets(st.integers(0, 27)), st.sampled_from(["bolus.completed", "basal.delivered"]))
def test_window_finished_but_for_some_days(days: set[int], kind: str) -> None:
    """A window is finished except for the days around what cannot be read."""
    window = date(2026, 10, 20), date(2026, 11, 16)
    unread = {window[0] + timedelta(days=number) for number in days}
    found = UnreadableEvents(window, kinds=Counter({kind: len(unread)}) if unread else Counter())
    found._days.update(unread)
    finished = [
        date.fromordinal(number)
        for first, last in found.finished()
        for number in range(first.toordinal(), last.toordinal() + 1)
    ]
    assert len(finished) == len(set(finished))
    everything = {window[0] + timedelta(days=number) for number in range(28)}
    near = {day + timedelta(days=step) for day in unread for step in (-1, 0, 1)}
    assert set(finished) == everything - near


# --- windows that are refused ---------------------------------------------------------------------------------------


def days_of(query: dict[str, str]) -> int:
    return (date.fromisoformat(query["endDate"][:10]) - date.fromisoformat(query["startDate"][:10])).days + 1


@pytest.mark.parametrize("status", [400, 413, 414, 416, 422])
def test_refused_window_is_halved(harness: TandemHarness, status: int) -> None:
    """A window that is refused is requested in halves, and the size is remembered."""
    harness.settings["history_days"] = 100
    harness.cloud.pumps[0].records = hourly(datetime(2026, 8, 12), 24 * 102)
    refusal = b'{"name":"ZodError","issues":[{"code":"custom","message":"range too large"}]}'
    fault = FakeCloudFault("pump-logs", times=9999, status=status, body=refusal, when=lambda query: days_of(query) > 14)
    harness.cloud.faults.append(fault)
    harness.poll()
    assert len(harness.log.of("basal.delivered")) == 24 * 102
    assert WindowState.load(harness.folder / "windows.json").most_days(harness.clock.now()) == 14
    harness.cloud.asked.clear()
    backfill(harness, date(2026, 6, 1), date(2026, 7, 28))
    assert {days_of(query) for path, query in harness.cloud.asked if "pump-logs" in path} == {14, 4}
    harness.clock.advance(seconds=FORGOTTEN_AFTER.total_seconds() + 1)
    fault.times = 0
    harness.cloud.asked.clear()
    backfill(harness, date(2026, 6, 1), date(2026, 7, 28))
    assert max(days_of(query) for path, query in harness.cloud.asked if "pump-logs" in path) == 28


def test_a_service_that_refuses_even_a_day_has_changed(harness: TandemHarness) -> None:
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=9999, status=400, body=b"{}"))
    with pytest.raises(SourceChanged, match="status 400"):
        harness.poll()
    assert min(days_of(query) for path, query in harness.cloud.asked if "pump-logs" in path) == 1
    assert harness.cloud.count("pump-logs") <= PATIENCE + 1
    assert WindowState.load(harness.folder / "windows.json").most_days(harness.clock.now()) is None


def test_an_unknown_key_is_no_matter_of_size(harness: TandemHarness) -> None:
    body = b'{"name":"ZodError","issues":[{"code":"unrecognized_keys"}]}'
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=9999, status=400, body=body))
    with pytest.raises(SourceChanged, match="unknown keys"):
        harness.poll()
    assert harness.cloud.count("pump-logs") == 1


def test_a_day_that_is_refused_costs_that_day(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    at = "2026-10-20"
    harness.cloud.faults.append(
        FakeCloudFault(
            "pump-logs", times=9999, status=400, body=b"{}", when=lambda query: query["startDate"][:10] == at
        )
    )
    with pytest.raises(Exception, match="20 October 2026 of pump …111 could not be read"):
        harness.poll()
    assert len(harness.log.of("basal.delivered")) == 24 * 32
    assert (WindowState.load(harness.folder / "windows.json").most_days(harness.clock.now()) or 99) >= 14
