"""The source against a server like the older t:connect: what it requests, when, and what is stored."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tconnectsync import SourceChanged
from tconnectsync.events.source_facts import history_opened
from tconnectsync_tconnect.planner import horizon_of
from tests.support.memory_log import MemoryLog
from tests.tconnect.fake_services import EMAIL, GUID, PASSWORD, Services, fill, polled
from tests.tconnect.sample_exports import PUMP


def test_poll_and_next_poll(services: Services, tmp_path: Path) -> None:
    """One poll reads every service, the next one only the index."""
    fill(services)
    source, log = services.source(tmp_path), MemoryLog()
    polled(source, log)
    assert {event.kind for event in log.events} == {
        "basal.delivered",
        "bolus.completed",
        "cannula.filled",
        "day.summary",
        "history.opened",
        "upload.seen",
        "window.fetched",
    }
    assert {event.pump for event in log.events} == {PUMP}
    windows = [(fact.body.first_day, fact.body.last_day) for fact in log.of("window.fetched")]
    assert windows == [("2021-03-30", "2021-03-31"), ("2021-04-01", "2021-04-02")]
    assert len(log.of("bolus.completed")) == 1
    before = services.count()
    services.clock.advance(minutes=5)
    polled(source, log)
    after = services.count()
    assert after["getlast"] == before["getlast"] + 1
    assert all(after[name] == before[name] for name in after if name != "getlast")


def test_when_last_days_are_read(services: Services, tmp_path: Path) -> None:
    """They are read if the index moves, and after six hours."""
    source, log = services.source(tmp_path), polled(services.source(tmp_path), MemoryLog())
    for wait, moves in ((timedelta(minutes=10), True), (timedelta(hours=6), False)):
        services.clock.time += wait
        services.index += moves
        asked = services.count()["TherapyEvents"]
        polled(source, log)
        assert services.count()["TherapyEvents"] > asked
    assert len(log.of("upload.seen")) == 2
    # another process continues where this one was
    asked = services.count()["TherapyEvents"]
    polled(services.source(tmp_path), log)
    assert services.count()["TherapyEvents"] == asked


def test_upload_after_weeks(services: Services, tmp_path: Path) -> None:
    """Also those before the first start, whose last upload is not known."""
    source, log = services.source(tmp_path, history_days=12), MemoryLog()
    polled(source, log)
    for _ in range(16):
        services.clock.advance(hours=24)
        polled(source, log)
    services.asked.clear()
    services.index += 1
    polled(source, log)
    asked = {path.split("startDate=")[1] for path in services.asked if "startDate=" in path}
    first, last = date(2021, 3, 19), date(2021, 4, 17)
    days = {first + timedelta(days=number) for number in range((last - first).days + 1)}
    whole = {day for one in asked for day in days if f"{day:%m-%d-%Y}" in one}
    assert whole == days


def test_a_cycle_that_is_cut_off_is_made_up_for(services: Services, tmp_path: Path) -> None:
    fill(services)
    log = MemoryLog()
    run = services.source(tmp_path).poll(log)
    for _ in range(3):
        log.append(next(run).events)
    run.close()
    assert log.of("upload.seen")
    assert not log.of("window.fetched")
    polled(services.source(tmp_path), log)
    assert [event.body.delivered_u for event in log.of("bolus.completed")] == [13.53]


def test_order_of_parameters(services: Services, tmp_path: Path) -> None:
    """Requests have them in the order that the firewall wants."""
    polled(services.source(tmp_path), MemoryLog())
    timelines = [path for path in services.asked if "therapytimeline/" in path]
    assert timelines[0].endswith(f"users/{GUID}?startDate=03-30-2021&endDate=03-31-2021")
    assert any(f"TherapyEvents/03-30-2021/03-31-2021/false?userId={GUID}" in path for path in services.asked)
    assert any(f"/therapytimeline2csv/{GUID}/03-30-2021/03-31-2021?format=csv" in path for path in services.asked)
    assert parse_qs(urlsplit(next(path for path in services.asked if "getlast" in path)).query) == {"sn": [PUMP]}


def test_older_days_are_opened_once_they_are_complete(services: Services, tmp_path: Path) -> None:
    source, log = services.source(tmp_path), polled(services.source(tmp_path), MemoryLog())
    for batch in source.backfill(log, date(2021, 3, 1), date(2021, 3, 3)):
        log.append(batch.events)
    opened = log.of("history.opened")[-1]
    assert (opened.body.first_day, opened.body.last_day) == ("2021-03-01", "2021-03-03")
    assert opened is log.events[-1]
    assert any("03-04-2021" in path for path in services.asked)


def test_many_backfills_keep_the_first_day(services: Services, tmp_path: Path) -> None:
    """After a backfill of ten years the first day of history is still known."""
    log = polled(services.source(tmp_path), MemoryLog())
    (opened,) = log.of("history.opened")
    days = [date(2010, 1, 1) + timedelta(days=28 * number) for number in range(130)]
    log.append([history_opened("tconnect", PUMP, day, day, opened.received_at) for day in days])
    assert str(horizon_of(PUMP, log)) == opened.body.first_day


def test_a_check_tells_who_and_how_far_without_secrets(services: Services, tmp_path: Path) -> None:
    findings = list(services.source(tmp_path).check())
    assert all(finding.good for finding in findings)
    told = "\n".join(finding.what for finding in findings)
    assert "logged in" in told
    assert "Control:IQ since 2020-02-10" in told
    assert f"pump {PUMP}, uploaded up to its event 1000" in told
    assert not any(secret in told for secret in (PASSWORD, EMAIL, GUID, "token-1"))
    services.notice = "no such account"
    (refused,) = services.source(tmp_path, phone=False).check()
    assert not refused.good
    assert "no such account" in refused.what


def reading(serial: str) -> dict[str, object]:
    at = "2021-04-01T00:01:39"
    return {"type": "CGM", "eventDateTime": at, "serialNumber": serial, "egv": {"estimatedGlucoseValue": 174}}


def test_serial_number_of_another_account(services: Services, tmp_path: Path) -> None:
    """Beside the source ``tandem`` every dose would be there twice."""
    fill(services)
    log, source = MemoryLog(), services.source(tmp_path, phone=False, pumps=("90556634",))
    with pytest.raises(
        SourceChanged, match=f"of pump {PUMP}, but sources.tconnect.pumps names 90556634 first"
    ) as caught:
        polled(source, log)
    assert "tconnectsync check" in str(caught.value.remedy)
    assert log.events == []
    with pytest.raises(SourceChanged, match=PUMP):
        list(source.backfill(log, date(2021, 3, 1), date(2021, 3, 3)))
    assert any(not finding.good and PUMP in finding.what for finding in source.check())


def test_readings_of_another_pump(services: Services, tmp_path: Path) -> None:
    """Days with such readings are not stored."""
    fill(services)
    services.fail("pumpfeatures", 404, times=2)
    services.therapy.append(reading("1111111"))
    log = MemoryLog()
    with pytest.raises(SourceChanged, match="of pump 1111111"):
        polled(services.source(tmp_path, phone=False), log)
    assert {event.kind for event in log.events} == {"history.opened"}
    services.therapy[-1] = reading(PUMP)
    assert polled(services.source(tmp_path, phone=False), log).of("bolus.completed")


def test_a_pump_that_the_account_does_not_have_is_named(services: Services, tmp_path: Path) -> None:
    services.fail("getlast", 404)
    services.fail("pumpfeatures", 404)
    log = MemoryLog()
    with pytest.raises(SourceChanged, match=f"no pump {PUMP}") as caught:
        polled(services.source(tmp_path), log)
    assert "Correct the list" in str(caught.value.remedy)
    assert log.events == []


def test_a_retired_pump_in_the_list_is_only_a_warning(services: Services, tmp_path: Path) -> None:
    fill(services)
    log, source = MemoryLog(), services.source(tmp_path, pumps=(PUMP, "1111111"))
    services.gone = {"1111111"}
    assert polled(source, log).of("bolus.completed")
    found = list(source.check())
    assert all(finding.good for finding in found)
    assert any("no pump 1111111" in finding.what for finding in found)
