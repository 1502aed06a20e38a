"""Wrong answers: each row of the error table, truncated ones, and strange entries."""

from __future__ import annotations

import gc
import json
import weakref
from datetime import date, datetime
from pathlib import Path
from typing import Any

import attrs
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tconnectsync import HttpLimits, Retryable, SourceChanged, retry_after_s
from tconnectsync_tandem.api import transport
from tconnectsync_tandem.api.pumps import Pump, read_pumps
from tconnectsync_tandem.api.responses import LAST_PLACE, split_answer, whole_answer
from tconnectsync_tandem.api.transport import BrokenAnswer, BrokenShape, TandemResponse, check_clock
from tconnectsync_tandem.decode import decode
from tconnectsync_tandem.decode.entries import NO_SUCH_CODE
from tconnectsync_tandem.decode.event_factory import make_event
from tconnectsync_tandem.polling.cooldown import BUSY_TRIES
from tconnectsync_tandem.polling.schema_drift import SchemaDrift
from tconnectsync_tandem.polling.window_reader import PATIENCE, WindowReader, bisect, window_text
from tconnectsync_tandem.polling.window_state import WindowState
from tests.support.clocks import FakeClock
from tests.support.memory_log import MemoryLog
from tests.tandem.fake_cloud import (
    SERIAL,
    START,
    CloudPump,
    FakeCloud,
    FakeCloudFault,
    TandemHarness,
    basal,
    entry,
    holding,
    hourly,
    running,
)


@pytest.mark.parametrize("path", ["/bff/pumper", "/bff/pump-logs"])
@pytest.mark.parametrize(
    ("fault", "error", "after_s"),
    [
        ({"status": 400, "body": b'{"name":"ZodError","issues":[{"code":"unrecognized_keys"}]}'}, SourceChanged, 3600),
        ({"status": 404, "body": b"<html><head><title>404 Not Found</title></head></html>"}, SourceChanged, 3600),
        ({"status": 403, "body": b"<html>The request is blocked</html>"}, Retryable, 1800),
        ({"status": 429, "headers": {"Retry-After": "240"}, "body": b""}, Retryable, 240),
        ({"status": 429, "body": b""}, Retryable, None),
        ({"status": 408, "body": b""}, Retryable, None),
        ({"status": 500, "body": b""}, Retryable, None),
        ({"status": 502, "body": b""}, Retryable, None),
        ({"status": 503, "headers": {"Retry-After": "60"}, "body": b""}, Retryable, 60),
        ({"status": 504, "body": b""}, Retryable, None),
        ({"status": 302, "headers": {"Location": "/login"}, "body": b""}, SourceChanged, 3600),
        ({"body": b"<html>maintenance</html>"}, SourceChanged, 3600),
        ({"body": b"null"}, SourceChanged, 3600),
        ({"body": b"[]"}, SourceChanged, 3600),
        ({"body": b"{}"}, SourceChanged, 3600),
        ({"body": b'{"pumps": null, "events": null}'}, SourceChanged, 3600),
        ({"body": b'{"pumps": [], "records": []}'}, SourceChanged, 3600),
        ({"body": b""}, Retryable, None),
        ({"cut": True}, Retryable, None),
        ({"reset": True}, Retryable, None),
    ],
)
def test_error_rows_are_no_data(
    harness: TandemHarness, path: str, fault: dict[str, Any], error: type[Exception], after_s: float | None
) -> None:
    """Every error row is recognised, and never taken for "no data"."""
    harness.cloud.faults.append(FakeCloudFault(path, times=999, **fault))
    with pytest.raises(error) as caught:
        harness.poll()
    assert isinstance(caught.value, Retryable)
    assert isinstance(caught.value, SourceChanged) == (error is SourceChanged)
    assert caught.value.after_s == after_s
    assert harness.log.of("window.fetched") == []
    assert len(harness.cloud.asked) < 6 + 2 * PATIENCE


def test_no_connection_is_no_reason_to_halve(harness: TandemHarness) -> None:
    harness.poll()
    harness.clock.advance(hours=7)
    nobody_there = attrs.evolve(harness.cloud.endpoints, login_page="http://127.0.0.1:9/page", client_id="other")
    with pytest.raises(Retryable, match="no connection"):
        harness.poll(harness.source(endpoints=nobody_there))
    assert harness.clock.slept_s == []


def test_passing_error_keeps_token(harness: TandemHarness) -> None:
    """After a temporary error it asks again once, and keeps the token."""
    harness.cloud.pumps[0].records = [basal(1, "2026-11-20T00:00:00")]
    harness.cloud.faults.append(FakeCloudFault("pump-logs", status=500, body=b""))
    harness.poll()
    assert harness.log.numbered() == [1]
    assert harness.cloud.count("/login") == 1
    assert harness.clock.slept_s == [2.0]
    assert len(harness.log.of("window.fetched")) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 413, "body": b""},
        {"status": 500, "body": b""},
        {"cut": True},
        {"body": b'{"events": ['},
        {"body": b"<html>too large</html>"},
    ],
)
def test_a_window_that_is_too_large_is_halved(harness: TandemHarness, fault: dict[str, Any]) -> None:
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=99, when=lambda query: _length(query) > 7, **fault))
    harness.poll()
    assert len(harness.log.of("basal.delivered")) == 24 * 33
    fetched = [(fact.body.first_day, fact.body.last_day) for fact in harness.log.of("window.fetched")]
    assert fetched[0] == ("2026-10-20", "2026-10-26")
    assert fetched == sorted(fetched)


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504, 520])
def test_busy_server_left_alone(harness: TandemHarness, status: int) -> None:
    """A busy server is not asked more often."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs", times=1, status=status, body=b"", headers={"Retry-After": "90"})
    )
    with pytest.raises(Retryable, match=f"status {status}") as caught:
        harness.poll()
    assert caught.value.after_s == 90
    assert harness.cloud.count("pump-logs") == 1
    assert harness.clock.slept_s == []
    harness.poll()
    assert len(harness.log.of("basal.delivered")) == 24 * 33
    assert harness.cloud.count("/login") == 1


def test_window_too_large_for_busy_server(
    harness: TandemHarness,
) -> None:
    """A gateway that gives up on large answers says 504: it must not keep the data away for good."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs", times=999, status=504, body=b"", when=lambda query: _length(query) > 7)
    )
    source = harness.source()
    for poll in range(1, BUSY_TRIES):
        with pytest.raises(Retryable, match="status 504"):
            harness.poll(source)
        assert harness.cloud.count("pump-logs") == poll
    harness.poll(source)
    assert len(harness.log.of("basal.delivered")) == 24 * 33


def test_busy_server_and_spare_pump(harness: TandemHarness) -> None:
    """A spare pump that the server is too busy for keeps nothing from the one in use."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    old = CloudPump(serial="2222222", assignment="other", uploaded="2026-06-01T11:55:00Z", newest="2026-06-01T06:50:00")
    harness.cloud.pumps.insert(0, old)
    harness.cloud.faults.append(FakeCloudFault(old.assignment, times=999, status=503, body=b""))
    harness.poll()
    assert len(harness.log.of("basal.delivered")) == 24 * 33


def _length(query: dict[str, str]) -> int:
    return (datetime.fromisoformat(query["endDate"][:10]) - datetime.fromisoformat(query["startDate"][:10])).days + 1


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"events": {}}', b'{"clockChanges": []}'])
def test_broken_day_asked_again(harness: TandemHarness, body: bytes) -> None:
    """A day that stays broken costs that day only, and is requested again."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=99, when=holding("2026-11-05"), body=body))
    with pytest.raises(Retryable, match="5 November 2026 of pump …111 could not be read") as caught:
        harness.poll()
    assert not isinstance(caught.value, SourceChanged)  # the other days could be read
    assert len(harness.log.of("basal.delivered")) == 24 * 32
    harness.cloud.faults.clear()
    harness.cloud.asked.clear()
    harness.poll()
    assert harness.cloud.windows() == [("2026-11-05", "2026-11-05")]
    assert len(harness.log.of("basal.delivered")) == 24 * 33


def test_how_often_broken_days_are_asked(
    harness: TandemHarness,
) -> None:
    """An old day that stays broken is in the end requested hourly, a recent one with every poll."""
    for broken, polls in (("2026-11-05", 4), ("2026-11-19", 14)):
        log, source = MemoryLog(), harness.source()
        harness.cloud.faults[:] = [FakeCloudFault("pump-logs", times=999, when=holding(broken), body=b"<html>")]
        told = 0
        for _ in range(14):
            try:
                for batch in source.poll(log):
                    log.append(batch.events)
            except Retryable:
                told += 1
            harness.clock.advance(minutes=6)
        assert told == polls


def test_broken_day_of_spare_pump(harness: TandemHarness) -> None:
    """A broken day of a pump in a drawer is nobody's trouble."""
    harness.cloud.pumps.append(
        CloudPump("2222222", "old", uploaded="2024-01-01T00:00:00Z", newest="2024-01-01T00:00:00")
    )
    harness.cloud.faults.append(FakeCloudFault("pump-logs/old", times=999, when=holding("2026-11-05"), body=b"<html>"))
    harness.poll()
    asked = harness.cloud.count("pump-logs/old")
    harness.poll()
    assert harness.cloud.count("pump-logs/old") == asked


def test_missing_clock_changes_are_told_and_cost_no_events(harness: TandemHarness) -> None:
    harness.cloud.pumps[0].records = [basal(1, "2026-11-20T00:00:00")]
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs", times=99, change=lambda answer: {"events": answer["events"]})
    )
    with pytest.raises(SourceChanged, match="no clockChanges"):
        harness.poll()
    assert harness.log.numbered() == [1]
    assert len(harness.log.of("window.fetched")) == 2


def test_null_clock_changes_and_new_keys_are_tolerated(
    harness: TandemHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.cloud.pumps[0].records = [basal(1, "2026-11-20T00:00:00")]
    new = {"clockChanges": None, "nextPage": "abc"}
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=99, change=lambda answer: {**answer, **new}))
    harness.poll()
    assert harness.log.numbered() == [1]
    assert caplog.text.count("new key nextPage") == 1


def test_entry_without_identity(harness: TandemHarness) -> None:
    """An entry without identity is kept under its content."""
    odd: list[Any] = [
        basal(1, "2026-11-20T00:00:00"),
        {**basal(2, "2026-11-20T00:05:00"), "sequenceNumber": None},
        {**basal(3, "2026-11-20T00:10:00"), "eventCode": "279"},
        {**basal(4, "2026-11-20T00:15:00"), "pumpDateTime": "yesterday"},
        {"eventCode": 20},
        "text",
        None,
        7,
        [],
    ]
    harness.cloud.faults.append(
        FakeCloudFault(
            "pump-logs", times=99, change=lambda answer: {"events": odd, "clockChanges": answer["clockChanges"]}
        )
    )
    with pytest.raises(SourceChanged, match="cannot be read"):
        harness.poll()
    assert harness.log.numbered() == [1, 3]  # a number as text is no riddle
    unknown = harness.log.of("unknown")
    assert len(unknown) == 7
    assert {event.id.split(":")[2] for event in unknown} == {"odd"}
    assert all(event.seq is None and event.group is None and event.raw for event in unknown)
    source = harness.running_source
    assert all(source.decode(event.raw or {}) == (event.kind, event.body) for event in unknown)


def test_unknown_code(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """An unknown code is kept unchanged, counted once and reported once."""
    harness.cloud.pumps[0].records = [
        entry(999, 5, "2026-11-20T00:00:00", {"x": 1}),
        entry(999, 6, "2026-11-20T00:01:00", {}),
    ]
    harness.poll()
    harness.clock.advance(hours=7)
    harness.poll()
    assert [(event.seq, event.body.code, event.body.reason) for event in harness.log.of("unknown")] == [
        (5, "999", "no such code"),
        (6, "999", "no such code"),
    ]
    assert caplog.text.count("unknown_code code=999") == 1


def test_new_property(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    """A new property is reported once, and the record is still read."""
    records = [basal(seq, f"2026-11-20T00:0{seq}:00") for seq in range(3)]
    for record in records:
        record["eventProperties"]["flavour"] = 1
        record["shelf"] = 2
    harness.cloud.pumps[0].records = records
    harness.poll()
    assert len(harness.log.of("basal.delivered")) == 3
    assert caplog.text.count("new property flavour") == 1
    assert caplog.text.count("new key shelf") == 1


@pytest.mark.parametrize(
    "text",
    [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"1e999",
        b"9" * 400,
        b'"\\ud800"',
        b'"\xff\xfe"',
        b'"\\u0000"',
        b"18446744073709551616",
    ],
)
def test_values_no_log_can_hold(text: bytes) -> None:
    """Values that no log can hold cost their own entry at most."""
    good = json.dumps(basal(1, "2026-11-20T00:00:00")).encode()
    bad = (
        json.dumps(basal(2, "2026-11-20T00:05:00"))
        .encode()
        .replace(b'"commandedRate": 1000', b'"commandedRate": ' + text)
    )
    body = b'{"events": [' + bad + b", " + good + b'], "clockChanges": []}'
    log = MemoryLog()
    made = [make_event(raw, pump=SERIAL, received_at=START)[0] for _, raw in split_answer(body, "events").entries()]
    log.append(made)
    assert [event.kind for event in made] == ["basal.delivered", "unknown"]
    assert [event.seq for event in made] == [1, 2]


def test_deep_nesting_costs_its_own_entry_at_most() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    with pytest.raises((BrokenAnswer, BrokenShape)):
        split_answer(b'{"events": ' + deep + b"}", "events")
    with pytest.raises((BrokenAnswer, BrokenShape)):
        whole_answer(deep, "list of pumps")


def test_clock_change_in_both_arrays() -> None:
    """The same clock change in both arrays comes once, but repeats in ``events`` stay."""
    change = entry(13, 95, "2025-07-20T04:38:28", {"timePrior": 0, "timeAfter": 5})
    events = [change, basal(1, "2026-11-20T00:00:00"), basal(1, "2026-11-20T00:00:00", 2000)]
    body = json.dumps({"events": events, "clockChanges": [change]}).encode()
    assert [place for place, _ in split_answer(body, "events").entries()] == [(0, 1), (0, 1), (0, 95)]


def test_order_of_entries() -> None:
    """Entries come by group and number, and those without a place last."""
    odd = ["no entry", {"sequenceNumber": None}, {"sequenceNumber": 2**63}, {"sequenceNumber": -(2**70)}]
    placed = [{"sequenceGroup": group, "sequenceNumber": number} for group, number in ((1, 2), (0, 9), (1, -1), (0, 3))]
    body = json.dumps({"events": [*odd, *placed], "clockChanges": []}).encode()
    found = list(split_answer(body, "events").entries())
    assert [place for place, _ in found[:4]] == [(0, 3), (0, 9), (1, -1), (1, 2)]
    assert [entry["sequenceNumber"] for _, entry in found[:4]] == [3, 9, -1, 2]
    assert len(found) == 8
    assert {place for place, _ in found[4:]} == {LAST_PLACE}


def test_pumps_are_read_one_by_one_and_odd_ones_skipped() -> None:
    good = CloudPump().listed()
    listed = [
        None,
        5,
        {},
        {**good, "serialNumber": None},
        {**good, "assignmentId": " "},
        good,
        {**good, "serialNumber": "a:b"},
    ]
    found = read_pumps({"pumps": listed})
    assert [pump.serial for pump in found.pumps] == ["1111111"]
    assert found.skipped == 6
    assert [pump.missing for pump in found.hidden] == ["no serial number", "no assignment", "no serial number"]
    assert [pump.serial for pump in read_pumps({"pumps": [{**good, "serialNumber": 90556643}]}).pumps] == ["90556643"]


@pytest.mark.parametrize("seconds", [0, 299, -299])
def test_five_minutes_between_the_clocks_are_tolerated(seconds: int) -> None:
    check_clock({"Date": _http(START.timestamp() + seconds)}, START, maybe_cached=False)


def test_cached_page_and_clock() -> None:
    """An old page out of a cache says nothing about the clock."""
    hour_old = {"Date": _http(START.timestamp() - 3600)}
    check_clock(hour_old, START, maybe_cached=True)
    check_clock({**hour_old, "Age": "3600"}, START, maybe_cached=False)
    with pytest.raises(Retryable, match="60 minutes ahead"):
        check_clock(hour_old, START, maybe_cached=False)
    check_clock({"Date": "some day"}, START, maybe_cached=False)
    check_clock({}, START, maybe_cached=False)


def _http(seconds: float) -> str:
    from email.utils import formatdate

    return formatdate(seconds, usegmt=True)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("", None),
        ("soon", None),
        ("-5", None),
        (_http(START.timestamp() + 90), 90),
        ("86400", 4 * 3600.0),
        ("9" * 30, 4 * 3600.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    answer = TandemResponse(status=429, headers={"Retry-After": text, "Date": _http(START.timestamp())}, body=b"")
    assert retry_after_s(answer) == seconds


def test_a_read_that_times_out_is_a_broken_answer(harness: TandemHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.poll()

    def never(*_: Any, **__: Any) -> Any:
        raise requests.exceptions.ReadTimeout("https://secret.example.org/pumper/uuid")

    monkeypatch.setattr(requests.Session, "request", never)
    with pytest.raises(BrokenAnswer, match="in time") as caught:
        harness.poll()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "words", "halvable"),
    [
        (requests.exceptions.ConnectTimeout("x"), "no connection within 10 s", False),
        (requests.exceptions.SSLError("x"), "TLS", False),
        (requests.exceptions.ConnectionError("x"), "broke the connection", True),
        (requests.exceptions.ChunkedEncodingError("x"), "incomplete", True),
        (requests.exceptions.ContentDecodingError("x"), "incomplete", True),
        (requests.exceptions.InvalidURL("x"), "address", False),
    ],
)
def test_connection_or_answer_failed(
    harness: TandemHarness, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str, halvable: bool
) -> None:
    """A failing connection is not taken for a failing answer."""
    harness.poll()

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(requests.Session, "request", fail)
    with pytest.raises(Retryable, match=words) as caught:
        harness.poll()
    assert isinstance(caught.value, (BrokenAnswer, BrokenShape)) == halvable


def test_an_answer_that_never_ends_is_given_up(harness: TandemHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    harness.poll()
    monkeypatch.setattr(transport, "LIMITS", HttpLimits(most_bytes=100))
    with pytest.raises(BrokenAnswer, match="too large"):
        harness.poll()
    monkeypatch.setattr(transport, "LIMITS", HttpLimits(whole_s=0.0))
    with pytest.raises(BrokenAnswer, match="in time"):
        harness.poll()


def test_redirect_to_no_address(harness: TandemHarness) -> None:
    """A redirect to no address ends the login with a message."""
    harness.cloud.faults.append(
        FakeCloudFault("authorize", status=302, headers={"Location": "http://["}, body=b"", times=9)
    )
    with pytest.raises(SourceChanged, match="no address"):
        harness.poll()


def test_windows_halve_without_gap_or_overlap() -> None:
    assert bisect((date(2026, 11, 1), date(2026, 11, 2))) == (
        (date(2026, 11, 1), date(2026, 11, 1)),
        (date(2026, 11, 2), date(2026, 11, 2)),
    )
    assert [half[0].day for half in bisect((date(2026, 11, 1), date(2026, 11, 3)))] == [1, 2]
    assert window_text((date(2026, 10, 1), date(2026, 10, 28))) == "1 to 28 October 2026"
    assert window_text((date(2025, 12, 9), date(2026, 1, 5))) == "9 December 2025 to 5 January 2026"


class _TrackedBody(bytearray):
    """A body that can be asked whether it is still there."""


class _BrokenClient:
    """Answers each window with a new broken body, and counts how many of them are still in memory then."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.bodies: list[weakref.ref[_TrackedBody]] = []
        self.most = 0

    def pump_logs(self, *_: Any) -> _TrackedBody:
        self.most = max(self.most, sum(body() is not None for body in self.bodies))
        body = _TrackedBody(self.content)
        self.bodies.append(weakref.ref(body))
        return body


@pytest.mark.parametrize("content", [b"<html>maintenance</html>", b'{"events": [1, 2', b'{"events": {}}', b"[]", b""])
def test_the_bodies_of_broken_windows_are_not_kept(tmp_path: Path, content: bytes) -> None:
    """Twelve of a hundred megabytes would be more than a small computer has."""
    client = _BrokenClient(content)
    reader = WindowReader(
        client=client,  # type: ignore[arg-type]  # stands in for it
        clock=FakeClock(START),
        drift=SchemaDrift(),
        window_state=WindowState(tmp_path / "memo.json"),
    )
    gc.disable()
    try:
        with pytest.raises(Retryable):
            for _ in reader.read(Pump(serial="1", assignments=("a",)), [(date(2026, 10, 20), date(2026, 11, 16))]):
                pass
    finally:
        gc.enable()
    assert len(client.bodies) == PATIENCE
    assert client.most == 0


_ABSURD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8),
    st.sampled_from(["2026-11-20T00:00:00", "0001-01-01T00:00:00", "9999-12-31T23:59:59Z", "TRUE", "65535", ""]),
    st.lists(st.integers(-1, 70), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
_RECORDS = [
    basal(1, "2026-11-19T00:00:00"),
    entry(20, 2, "2026-11-19T00:01:00", {"completionStatus": 3, "bolusId": 7, "iob": 1, "insulinDelivered": 2, "insulinRequested": 2}),
    entry(
        399,
        3,
        "2026-11-19T00:02:00",
        {
            "glucoseValueStatus": 0,
            "cgmDataType": [0],
            "rate": -39,
            "algorithmState": 32,
            "rssi": -54,
            "currentGlucoseDisplayValue": 195,
            "egvTimeStamp": 595987200 + 86400,
            "egvInfoBitmask": [0, 5],
            "interval": 0,
            "reservedD15": 0,
        },
    ),
    entry(13, 4, "2026-11-19T00:03:00", {"timePrior": 1, "timeAfter": 60_001, "rawRtcTime": 1}),
]  # fmt: skip


def _replaced(found: Any, path: list[Any], absurd: Any, drop: bool) -> Any:
    copy = json.loads(json.dumps(found))
    place = copy
    for step in path[:-1]:
        place = place[step]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = absurd
    return copy


def _paths(found: Any, before: tuple[Any, ...] = ()) -> list[list[Any]]:
    steps = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return [path for key, value in steps for path in ([*before, key], *_paths(value, (*before, key)))]


_LOG_ANSWER = {"events": _RECORDS, "clockChanges": [_RECORDS[3]]}
_PUMPER_ANSWER = {
    "firstName": "A",
    "pumps": [CloudPump(settings={"settingsHash": "29EDDA8E", "details": {"a": 1}}).listed()],
}


class _Canned:
    """A client whose answers are given."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def pump_logs(self, *_: Any) -> bytes:
        return self.body


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_paths(_LOG_ANSWER)), _ABSURD, st.booleans())
def test_absurd_value_in_window(
    tmp_path_factory: pytest.TempPathFactory, path: list[Any], absurd: Any, drop: bool
) -> None:
    """Any absurd value anywhere in a window costs no other event."""
    body = json.dumps(_replaced(_LOG_ANSWER, path, absurd, drop)).encode()
    ((pump,), *_) = read_pumps(_PUMPER_ANSWER)
    reader = WindowReader(
        client=_Canned(body),
        clock=FakeClock(START),
        drift=SchemaDrift(),
        window_state=WindowState(tmp_path_factory.getbasetemp() / "memo.json"),
    )  # type: ignore[arg-type]  # stands in for it
    log = MemoryLog()
    for batch in reader.read(pump, [(date(2026, 11, 19), date(2026, 11, 19))]):
        log.append(batch.events)
    if len(path) == 1:
        return  # an answer that is broken as a whole; the rows above tell those apart
    untouched = {1, 2, 3, 4} if path[0] == "clockChanges" else {1, 2, 3, 4} - {path[1] + 1}
    known = {event.seq for event in log.events if event.kind not in ("unknown", "window.fetched")}
    assert untouched <= known
    # an entry of four is more than may be unreadable
    lost = [event for event in log.of("unknown") if event.body.reason != NO_SUCH_CODE]
    assert len(log.of("window.fetched")) == (0 if lost else 1)
    assert bool(reader.changed) == bool(lost)
    for event in log.events:
        if event.raw is not None:
            assert decode(event.raw) == (event.kind, event.body)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(_paths(_PUMPER_ANSWER)), _ABSURD, st.booleans())
def test_absurd_value_in_list_of_pumps(path: list[Any], absurd: Any, drop: bool) -> None:
    """Any absurd value in the list of pumps ends in pumps, or in "the vendor changed something"."""
    body = json.dumps(_replaced(_PUMPER_ANSWER, path, absurd, drop)).encode()
    try:
        pumps = read_pumps(whole_answer(body, "list of pumps")).pumps
    except SourceChanged:
        assert path[-1] in ("pumps", 0, "serialNumber", "assignmentId")
    else:
        assert len(pumps) == 1


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(_paths(_PUMPER_ANSWER)), _ABSURD, st.booleans())
def test_a_whole_poll_survives_an_absurd_list_of_pumps(
    tmp_path_factory: pytest.TempPathFactory, path: list[Any], absurd: Any, drop: bool
) -> None:
    clock = FakeClock(START)
    cloud = FakeCloud(clock, [CloudPump(records=[basal(1, "2026-11-20T00:00:00")])])
    answer = _replaced(_PUMPER_ANSWER, path, absurd, drop)
    cloud.faults.append(FakeCloudFault("/pumper/", times=9, change=lambda _: answer))
    with running(cloud):
        harness = TandemHarness(cloud, clock, tmp_path_factory.mktemp("tandem"))
        try:
            harness.poll()
        except SourceChanged:
            return
        assert len(harness.log.of("window.fetched")) >= 1
