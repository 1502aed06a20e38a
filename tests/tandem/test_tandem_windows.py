"""Windows that are too large, too much for a busy server, or broken for a day."""

from __future__ import annotations

import gc
import weakref
from contextlib import nullcontext, suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tconnectsync import Retryable, SourceChanged
from tconnectsync_tandem.api.pumps import Pump
from tconnectsync_tandem.polling.cooldown import BUSY_TRIES
from tconnectsync_tandem.polling.schema_drift import SchemaDrift
from tconnectsync_tandem.polling.window_reader import PATIENCE, WindowReader, bisect, window_text
from tconnectsync_tandem.polling.window_state import WindowState
from tests.support.clocks import FakeClock
from tests.support.memory_log import MemoryLog
from tests.tandem.fake_cloud import START, CloudPump, FakeCloudFault, TandemHarness, holding, hourly
from tests.tandem.test_tandem_changed import backfill


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


@pytest.mark.parametrize("cron", [False, True])
def test_window_too_large_for_busy_server(harness: TandemHarness, cron: bool) -> None:
    """A gateway that gives up on large answers says 504. This must not keep the data away permanently.

    With cron each poll is a new process. The length that worked is remembered.
    """
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs", times=999, status=504, body=b"", when=lambda query: _length(query) > 7)
    )
    for poll in range(1, BUSY_TRIES):
        with pytest.raises(Retryable, match="status 504"):
            harness.poll(harness.source() if cron else None)
        assert harness.cloud.count("pump-logs") == poll
    harness.poll(harness.source() if cron else None)
    assert len(harness.log.of("basal.delivered")) == 24 * 33
    harness.cloud.asked.clear()
    backfill(harness, date(2026, 9, 1), date(2026, 9, 28))
    assert {_length(query) for path, query in harness.cloud.asked if "pump-logs" in path} == {7, 2}


def test_short_window_of_busy_server(harness: TandemHarness) -> None:
    """A busy server that then answers for some days says nothing about the length of windows."""
    harness.poll()
    harness.clock.advance(hours=7)
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=BUSY_TRIES, status=503, body=b""))
    for _ in range(1, BUSY_TRIES):
        with pytest.raises(Retryable, match="status 503"):
            harness.poll()
    harness.poll()
    assert harness.running_source.window_state.most_days(harness.clock.now()) is None


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        ({"status": 503}, False),
        ({"status": 500}, False),
        ({"status": 404}, False),
        ({"body": b'{"events": ['}, False),
        ({"status": 403}, True),
        ({"status": 429}, True),
    ],
)
def test_unreadable_spare_pump_listed_first(harness: TandemHarness, fault: dict[str, Any], raised: bool) -> None:
    """The worn pump is read whatever the server says to a spare one. Then that one is not asked for a day, also after a restart."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    old = CloudPump(serial="2222222", assignment="other", uploaded="2026-06-01T11:55:00Z", newest="2026-06-01T06:50:00")
    harness.cloud.pumps.insert(0, old)
    harness.cloud.faults.append(FakeCloudFault(old.assignment, times=999, **{"body": b"", **fault}))
    with pytest.raises(Retryable) if raised else nullcontext():
        harness.poll()
    assert len(harness.log.of("basal.delivered")) == 24 * 33
    asked = harness.cloud.count(old.assignment)
    harness.poll(harness.source())
    assert harness.cloud.count(old.assignment) == asked


def test_two_unreadable_pumps(harness: TandemHarness) -> None:
    """If the server is broken, a second pump costs one request more."""
    harness.cloud.pumps.append(CloudPump(serial="2222222", assignment="other"))
    harness.cloud.faults.append(FakeCloudFault("pump-logs", times=999, status=500, body=b""))
    with pytest.raises(Retryable, match="status 500"):
        harness.poll()
    assert harness.cloud.count("pump-logs") == PATIENCE + 2


def _length(query: dict[str, str]) -> int:
    return (datetime.fromisoformat(query["endDate"][:10]) - datetime.fromisoformat(query["startDate"][:10])).days + 1


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"events": {}}', b'{"clockChanges": []}'])
def test_broken_day_asked_again(harness: TandemHarness, body: bytes) -> None:
    """A day that stays broken costs only that day, and is requested again."""
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


@pytest.mark.parametrize("broken", [6, 20])
def test_many_broken_days_in_a_row(harness: TandemHarness, broken: int) -> None:
    """Old days that stay broken keep no newer ones away, and cost a limited number of requests."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    days = [(date(2026, 10, 22) + timedelta(days=number)).isoformat() for number in range(broken)]
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs", times=999, when=lambda query: any(holding(day)(query) for day in days), status=500)
    )
    message = f"22 October 2026 and {broken - 1} more days of pump .* could not be read"
    for told in (message, "status 500"):
        with pytest.raises(Retryable, match=told):
            harness.poll()
        assert len(harness.log.of("basal.delivered")) == 24 * (33 - broken)
    assert harness.cloud.count("pump-logs") <= 2 * 3 * PATIENCE
    harness.cloud.faults.clear()
    harness.clock.advance(hours=2)
    harness.poll()
    assert len(harness.log.of("basal.delivered")) == 24 * 33


def test_days_between_broken_days(harness: TandemHarness) -> None:
    """Days between two spans of broken ones are read after a few polls, while the broken ones are paused."""
    harness.cloud.pumps[0].records = hourly(datetime(2026, 10, 20), 24 * 33)
    spans = (("2026-10-22", "2026-10-28"), ("2026-11-03", "2026-11-11"))
    fault = FakeCloudFault(
        "pump-logs",
        times=999,
        when=lambda query: any(
            query["startDate"][:10] <= last and first <= query["endDate"][:10] for first, last in spans
        ),
        status=500,
    )
    harness.cloud.faults.append(fault)
    for _ in range(6):
        with suppress(Retryable):
            harness.poll()
        harness.clock.advance(minutes=6)
    assert len(harness.log.of("basal.delivered")) == 24 * (33 - 7 - 9)


def test_how_often_broken_days_are_asked(
    harness: TandemHarness,
) -> None:
    """An old day that stays broken is soon requested after an hour, then every six hours; a recent one with every poll."""
    for broken, polls in (("2026-11-05", 4), ("2026-11-19", 80)):
        log, source = MemoryLog(), harness.source()
        harness.cloud.faults[:] = [FakeCloudFault("pump-logs", times=999, when=holding(broken), body=b"<html>")]
        told = 0
        for _ in range(80):
            try:
                for batch in source.poll(log):
                    log.append(batch.events)
            except Retryable:
                told += 1
            harness.clock.advance(minutes=6)
        assert told == polls


def test_long_run_of_broken_days_is_cheap(harness: TandemHarness) -> None:
    """Four weeks that stay broken cost few requests in a day of polls every quarter of an hour."""
    days = [holding((date(2026, 10, 18) + timedelta(days=number)).isoformat()) for number in range(28)]
    harness.cloud.faults.append(
        FakeCloudFault("pump-logs", times=9999, when=lambda query: any(day(query) for day in days), status=500)
    )
    for _ in range(96):
        with suppress(Retryable):
            harness.poll()
        harness.clock.advance(minutes=15)
    assert len(harness.cloud.windows()) < 400


def test_broken_day_of_spare_pump(harness: TandemHarness) -> None:
    """A broken day of a pump in a drawer is not reported as trouble."""
    harness.cloud.pumps.append(
        CloudPump("2222222", "old", uploaded="2024-01-01T00:00:00Z", newest="2024-01-01T00:00:00")
    )
    harness.cloud.faults.append(FakeCloudFault("pump-logs/old", times=999, when=holding("2026-11-05"), body=b"<html>"))
    harness.poll()
    asked = harness.cloud.count("pump-logs/old")
    harness.poll()
    assert harness.cloud.count("pump-logs/old") == asked


def test_windows_halve_without_gap_or_overlap() -> None:
    assert bisect((date(2026, 11, 1), date(2026, 11, 2))) == (
        (date(2026, 11, 1), date(2026, 11, 1)),
        (date(2026, 11, 2), date(2026, 11, 2)),
    )
    assert [half[0].day for half in bisect((date(2026, 11, 1), date(2026, 11, 3)))] == [1, 2]
    assert window_text((date(2026, 10, 1), date(2026, 10, 28))) == "1 to 28 October 2026"
    assert window_text((date(2025, 12, 9), date(2026, 1, 5))) == "9 December 2025 to 5 January 2026"


class _TrackedBody(bytearray):
    """A body that can be asked whether it is still in memory."""


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
    """Twelve bodies of a hundred megabytes would need more memory than a small computer has."""
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
    assert len(client.bodies) == PATIENCE + 1
    assert client.most == 0
