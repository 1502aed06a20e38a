"""A service that fails, is slow or gets too many requests."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from tconnectsync import Retryable, SourceChanged
from tests.support.memory_log import MemoryLog
from tests.tconnect.fake_services import BLOCKED, Services, fill, polled
from tests.tconnect.sample_exports import STANDARD as CSV_BOLUS
from tests.tconnect.sample_exports import basal, boluses, export


def test_a_status_of_500_is_asked_once_more(services: Services, tmp_path: Path) -> None:
    fill(services)
    services.fail("TherapyEvents", 500)
    assert polled(services.source(tmp_path), MemoryLog()).of("bolus.completed")
    services.fail("TherapyEvents", 500, times=2)
    with pytest.raises(Retryable, match="500"):
        polled(services.source(tmp_path), MemoryLog())


@pytest.mark.parametrize(("status", "partial"), [(500, True), (429, False)])
def test_backfill_with_unread_days(services: Services, tmp_path: Path, status: int, partial: bool) -> None:
    """If the rest was read, the other parts of a backfill are still asked for."""
    fill(services)
    source, log = services.source(tmp_path), MemoryLog()
    polled(source, log)
    services.fail("TherapyEvents", status, times=2)
    with pytest.raises(Retryable, match=str(status)) as caught:
        list(source.backfill(log, date(2021, 3, 1), date(2021, 3, 10)))
    assert caught.value.partial == partial


def test_status_404(services: Services, tmp_path: Path) -> None:
    """It means "no data" before Control-IQ, and a failure after it."""
    services.csv = export(basal(("08:00:00", "1.0"), ("10:00:00", "0.9")), boluses(CSV_BOLUS)).decode()
    services.since = None
    services.fail("therapytimeline/", 404, times=2)
    services.fail("TherapyEvents", 404, times=2)
    log = polled(services.source(tmp_path), MemoryLog())
    assert [event.body.span_s for event in log.of("basal.delivered")] == [7200]
    assert [event.body.delivered_u for event in log.of("bolus.completed")] == [13.53]
    assert services.count()["pumpfeatures"] == 1
    services.since = "2021-03-01T00:00:00"
    services.fail("therapytimeline/", 404)
    with pytest.raises(SourceChanged, match="404"):
        polled(services.source(tmp_path), MemoryLog())


def test_slow_service_timeouts(services: Services, tmp_path: Path) -> None:
    """It gets a minute, then two, then it is skipped."""
    fill(services)
    services.fail("2csv", 500, times=2)
    assert polled(services.source(tmp_path), MemoryLog()).of("day.summary")
    assert services.clock.slept_s == [60.0, 120.0]


def test_slow_service_fails(services: Services, tmp_path: Path) -> None:
    """Doses still arrive, and those days are fetched again."""
    fill(services)
    services.fail("2csv", 500, times=3)
    source, log = services.source(tmp_path), MemoryLog()
    with pytest.raises(Retryable, match="CSV export"):
        polled(source, log)
    assert log.of("bolus.completed")
    assert log.of("basal.delivered")
    assert not log.of("window.fetched")
    polled(source, log)
    assert log.of("window.fetched")
    assert log.of("day.summary")
    assert len(log.of("bolus.completed")) == 1


def test_no_answer_about_uploads(services: Services, tmp_path: Path) -> None:
    """The days are read nevertheless."""
    fill(services)
    services.fail("getlast", 503)
    log = MemoryLog()
    with pytest.raises(Retryable, match="newest upload"):
        polled(services.source(tmp_path), log)
    assert log.of("bolus.completed")


WINDOWS = ["2021-03-28", "2021-03-30", "2021-04-01"]
"""The first days of the windows of a first poll with three days of history."""


@pytest.mark.parametrize("service", ["therapytimeline/", "TherapyEvents"])
def test_days_that_always_fail_keep_no_newer_days_back(services: Services, tmp_path: Path, service: str) -> None:
    fill(services)
    services.fail(service, 500, times=2)
    log, source = MemoryLog(), services.source(tmp_path, history_days=3)
    with pytest.raises(Retryable, match="500"):
        polled(source, log)
    assert [event.body.delivered_u for event in log.of("bolus.completed")] == [13.53]
    # the days after the failed ones are read again with them: what began in those may end there
    assert [event.body.first_day for event in log.of("window.fetched")] == WINDOWS[2:]
    polled(source, log)
    assert {event.body.first_day for event in log.of("window.fetched")} == set(WINDOWS)
    assert len(log.of("bolus.completed")) == 1


@pytest.mark.parametrize("history_days", [40, 41])
def test_few_requests_if_server_is_down(services: Services, tmp_path: Path, history_days: int) -> None:
    """In whichever pairs the days are requested: tomorrow, which exists for users further east, is not today."""
    services.fail("therapytimeline/", 500, times=100)
    with pytest.raises(Retryable, match="500"):
        polled(services.source(tmp_path, history_days=history_days), MemoryLog())
    asked = {path for path in services.asked if "therapytimeline/" in path}
    assert len(asked) in {4, 5}
    today = "04-01-2021"
    assert any(f"startDate={today}" in path or f"endDate={today}" in path for path in asked)


@pytest.mark.parametrize(
    ("service", "status", "body"), [("therapytimeline/", 429, ""), ("TherapyEvents", 200, BLOCKED)]
)
def test_who_asks_too_much_stops_at_once(
    services: Services, tmp_path: Path, service: str, status: int, body: str
) -> None:
    services.fail(service, status, times=5, body=body)
    with pytest.raises(Retryable):
        polled(services.source(tmp_path, history_days=9), MemoryLog())
    assert services.count()[service] == 1


def test_a_damaged_export_keeps_no_newer_export_back(services: Services, tmp_path: Path) -> None:
    fill(services)
    services.fail("2csv", 200, body=f'{services.csv}"cut')
    log, source = MemoryLog(), services.source(tmp_path, history_days=3)
    with pytest.raises(SourceChanged, match="CSV export"):
        polled(source, log)
    assert services.count()["2csv"] == 3
    assert log.of("day.summary")
    assert [event.body.first_day for event in log.of("window.fetched")] == WINDOWS[2:]


def test_windows_of_a_failing_service(services: Services, tmp_path: Path) -> None:
    """The first poll requests two windows, a later one that and today's."""
    fill(services)
    services.fail("2csv", 500, times=100)
    log = MemoryLog()
    with pytest.raises(Retryable, match="CSV export"):
        polled(services.source(tmp_path, history_days=20), log)
    assert services.count()["2csv"] == 3 * 5, "three times each"
    assert log.of("bolus.completed")
    assert not log.of("window.fetched")


def test_windows_that_always_fail(services: Services, tmp_path: Path) -> None:
    """They come first in every poll; the others must not be requested again and again because of them."""
    fill(services)
    log, source = MemoryLog(), services.source(tmp_path, history_days=20)
    for _ in range(2):
        services.fail("2csv", 500, times=6)
        with pytest.raises(Retryable, match="CSV export"):
            polled(source, log)
    read = [event.body.last_day for event in log.of("window.fetched")]
    assert "2021-04-01" in read or "2021-04-02" in read
    assert len(read) >= 3
