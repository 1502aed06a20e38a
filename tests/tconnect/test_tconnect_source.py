"""The source against a server like the older t:connect: what it requests, when, and what is stored."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tconnectsync import CredentialsRefused, Retryable, SourceChanged
from tests.support.memory_log import MemoryLog
from tests.tconnect.fake_services import (
    BLOCKED,
    EMAIL,
    GUID,
    PASSWORD,
    Services,
    bolus,
    polled,
    segment,
    site,
    timeline,
)
from tests.tconnect.sample_exports import PUMP, basal, boluses, export, iob
from tests.tconnect.sample_exports import STANDARD as CSV_BOLUS


def fill(services: Services) -> None:
    services.timeline = timeline(segment("2021-04-01T08:00", 1.0, 3600), segment("2021-04-01T09:00", 0.5, 3600))
    services.therapy = [bolus(7007, "2021-04-01T12:58:26", 13.53)]
    services.csv = export(iob(("00:00:19", "13.24"))).decode()
    services.sites = [site("2021-04-01T11:00", "site-cart")]


def test_the_form_is_sent_as_the_website_sends_it(services: Services, tmp_path: Path) -> None:
    polled(services.source(tmp_path), MemoryLog())
    (form,) = services.forms
    prefix = "ctl00$ContentBody$LoginControl$"
    assert form["__VIEWSTATE"] == "VS=="
    assert (form["__VIEWSTATEGENERATOR"], form["__EVENTVALIDATION"], form["__LASTFOCUS"]) == ("GEN", "EV", "")
    assert form["__EVENTTARGET"] == f"{prefix}linkLogin"
    assert (form[f"{prefix}txtLoginEmailAddress"], form[f"{prefix}txtLoginPassword"]) == (EMAIL, PASSWORD)
    state = json.loads(form["txtLoginPassword_ClientState"])
    assert state == {
        "enabled": True, "emptyMessage": "", "validationText": PASSWORD, "valueAsString": PASSWORD,
        "lastSetTextBoxValue": PASSWORD,
    }  # fmt: skip
    assert services.asked.count("POST /") == 1
    assert services.paces == len(services.asked) > 5  # whoever limits the requests sees each of them


def test_a_refusal_has_the_websites_words(services: Services, tmp_path: Path) -> None:
    services.notice = "The email or <b>password</b> is<br>wrong."
    with pytest.raises(CredentialsRefused, match=r"refuses the login: The email or password is wrong\.") as caught:
        polled(services.source(tmp_path, phone=False), MemoryLog())
    assert "check" in str(caught.value.remedy)


def test_a_refusal_that_quotes_the_account_is_not_quoted(services: Services, tmp_path: Path) -> None:
    services.notice = f"{EMAIL} is locked"
    with pytest.raises(CredentialsRefused, match="is locked") as caught:
        polled(services.source(tmp_path, phone=False), MemoryLog())
    assert EMAIL not in str(caught.value)


def test_the_firewalls_page_is_waited_out_for_half_an_hour(services: Services, tmp_path: Path) -> None:
    services.fail("login.aspx", 200, body=BLOCKED)
    with pytest.raises(Retryable) as caught:
        polled(services.source(tmp_path, phone=False), MemoryLog())
    assert (caught.value.after_s, isinstance(caught.value, SourceChanged)) == (1800.0, False)


def test_another_form_is_a_change_and_not_a_refusal(services: Services, tmp_path: Path) -> None:
    services.fail("login.aspx", 200, body="<html>Welcome to something else</html>")
    with pytest.raises(SourceChanged, match="__VIEWSTATE"):
        polled(services.source(tmp_path, phone=False), MemoryLog())


def test_without_a_token_of_the_website_the_phones_is_taken(services: Services, tmp_path: Path) -> None:
    services.with_token = False
    fill(services)
    assert polled(services.source(tmp_path), MemoryLog()).of("bolus.completed")
    assert services.count()["oauth2"] == 1
    with pytest.raises(SourceChanged, match="client_id"):
        polled(services.source(tmp_path, phone=False), MemoryLog())


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
    # another process goes on where this one was
    asked = services.count()["TherapyEvents"]
    polled(services.source(tmp_path), log)
    assert services.count()["TherapyEvents"] == asked


def test_upload_after_weeks(services: Services, tmp_path: Path) -> None:
    """Also those before the first start, of which nobody knows when they were uploaded up to."""
    source, log = services.source(tmp_path, history_days=12), MemoryLog()
    polled(source, log)
    for _ in range(48):
        services.clock.advance(hours=8)
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


def test_a_status_of_500_is_asked_once_more(services: Services, tmp_path: Path) -> None:
    fill(services)
    services.fail("TherapyEvents", 500)
    assert polled(services.source(tmp_path), MemoryLog()).of("bolus.completed")
    services.fail("TherapyEvents", 500, times=2)
    with pytest.raises(Retryable, match="500"):
        polled(services.source(tmp_path), MemoryLog())


def test_a_token_that_is_refused_is_followed_by_one_login(services: Services, tmp_path: Path) -> None:
    fill(services)
    source = services.source(tmp_path, phone=False)
    log = polled(source, MemoryLog())
    services.refused = {"token-1"}
    services.clock.advance(hours=2)
    polled(source, log)
    assert len(services.forms) == 2
    services.fail("therapytimeline/", 401, times=2)
    services.clock.advance(hours=2)
    with pytest.raises(Retryable, match="token") as caught:
        polled(source, log)
    assert caught.value.after_s == 1800.0


def test_a_token_near_its_end_is_not_used_any_more(services: Services, tmp_path: Path) -> None:
    source = services.source(tmp_path, phone=False)
    log = polled(source, MemoryLog())
    services.clock.advance(hours=7, minutes=58)
    polled(source, log)
    assert len(services.forms) == 2


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
    """The days are read all the same."""
    fill(services)
    services.fail("getlast", 503)
    log = MemoryLog()
    with pytest.raises(Retryable, match="newest upload"):
        polled(services.source(tmp_path), log)
    assert log.of("bolus.completed")


def test_older_days_are_opened_once_they_are_complete(services: Services, tmp_path: Path) -> None:
    source, log = services.source(tmp_path), polled(services.source(tmp_path), MemoryLog())
    for batch in source.backfill(log, date(2021, 3, 1), date(2021, 3, 3)):
        log.append(batch.events)
    opened = log.of("history.opened")[-1]
    assert (opened.body.first_day, opened.body.last_day) == ("2021-03-01", "2021-03-03")
    assert opened is log.events[-1]
    assert any("03-04-2021" in path for path in services.asked)


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


@pytest.mark.parametrize("body", ["<html>maintenance</html>", "[]", '{"event": 5}', '{"events": []}'])
def test_an_answer_of_another_shape_is_never_no_data(services: Services, tmp_path: Path, body: str) -> None:
    services.fail("TherapyEvents", 200, body=body)
    with pytest.raises(SourceChanged, match="has changed"):
        polled(services.source(tmp_path), MemoryLog())


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
    # the days after the failed ones are read again with them: there ends what began in those
    assert [event.body.first_day for event in log.of("window.fetched")] == WINDOWS[2:]
    polled(source, log)
    assert {event.body.first_day for event in log.of("window.fetched")} == set(WINDOWS)
    assert len(log.of("bolus.completed")) == 1


@pytest.mark.parametrize("history_days", [40, 41])
def test_few_requests_if_server_is_down(services: Services, tmp_path: Path, history_days: int) -> None:
    """Whichever way the days come out in pairs: tomorrow's, which a wearer further east may have, are not today's."""
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
    """First two windows are requested, later one and that of today."""
    fill(services)
    services.fail("2csv", 500, times=100)
    log = MemoryLog()
    with pytest.raises(Retryable, match="CSV export"):
        polled(services.source(tmp_path, history_days=20), log)
    assert services.count()["2csv"] == 3 * 5, "three times each"
    assert log.of("bolus.completed")
    assert not log.of("window.fetched")


def test_windows_that_always_fail(services: Services, tmp_path: Path) -> None:
    """They come first in every poll; the others must not be asked for again and again because of them."""
    fill(services)
    log, source = MemoryLog(), services.source(tmp_path, history_days=20)
    for _ in range(2):
        services.fail("2csv", 500, times=6)
        with pytest.raises(Retryable, match="CSV export"):
            polled(source, log)
    read = [event.body.last_day for event in log.of("window.fetched")]
    assert "2021-04-01" in read or "2021-04-02" in read
    assert len(read) >= 3


def test_a_timeline_without_basal_is_never_no_data(services: Services, tmp_path: Path) -> None:
    services.timeline = {"basal": None, "suspensionDeliveryEvents": [], "events": None}
    assert polled(services.source(tmp_path), MemoryLog()).of("window.fetched")
    services.timeline["delivered"] = services.timeline.pop("basal")
    with pytest.raises(SourceChanged, match="no basal"):
        polled(services.source(tmp_path), MemoryLog())


@pytest.mark.parametrize("key", ["bolusIsComplete", "insulinDelivered"])
def test_incomplete_boluses(services: Services, tmp_path: Path, key: str) -> None:
    """They are filled from the export, or reported."""
    services.therapy = [bolus(7007, "2021-04-01T12:58:26", 13.53), bolus(7008, "2021-04-01T14:58:26", 2.0)]
    for row in services.therapy:
        if key == "insulinDelivered":
            row["standard"][key]["units"] = row["standard"][key].pop("value")
        else:
            del row["standard"][key]
    log, source = MemoryLog(), services.source(tmp_path)
    with pytest.raises(SourceChanged, match="2 Bolus"):
        polled(source, log)
    assert len([event for event in log.of("unknown") if event.raw and event.raw["row"]["type"] == "Bolus"]) == 2
    assert "2021-04-01" not in {event.body.first_day for event in log.of("window.fetched")}
    services.csv = export(boluses(CSV_BOLUS)).decode()
    with pytest.raises(SourceChanged, match="1 Bolus"):  # the export has one of them only
        polled(source, log)
    assert [event.body.delivered_u for event in log.of("bolus.completed")] == [13.53]
    services.therapy.pop()
    assert "2021-04-01" in {event.body.first_day for event in polled(source, log).of("window.fetched")}


CHANGES: dict[str, Callable[[Services], None]] = {
    "one bolus of two": lambda services: services.therapy[1]["standard"]["insulinDelivered"].update(value=None),
    "a type renamed": lambda services: services.therapy[1].update(kind=services.therapy[1].pop("type")),
    "a rate renamed": lambda services: [row.update(rate=row.pop("y")) for row in _rows_of(services)] and None,
}


def _rows_of(services: Services) -> list[dict[str, Any]]:
    return [row for rows in services.timeline["basal"].values() for row in rows]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_unreadable_answer(services: Services, tmp_path: Path, change: Callable[[Services], None]) -> None:
    """It is SourceChanged, and is fetched again later."""
    fill(services)
    services.therapy.append(bolus(7008, "2021-04-01T14:58:26", 2.0))
    good = deepcopy((services.timeline, services.therapy))
    change(services)
    log = MemoryLog()
    for _ in range(2):
        with pytest.raises(SourceChanged, match="cannot be read") as caught:
            polled(services.source(tmp_path), log)
        assert caught.value.after_s == 3600
        services.clock.advance(hours=1)
    assert log.of("bolus.completed"), "what can be read is there"
    assert not log.of("window.fetched")
    services.timeline, services.therapy = good
    polled(services.source(tmp_path), log)
    assert {event.body.delivered_u for event in log.of("bolus.completed")} == {13.53, 2.0}
    assert {event.body.rate_u_per_h for event in log.of("basal.delivered")} == {1.0, 0.5}


def test_numbers_as_text_are_numbers(services: Services, tmp_path: Path) -> None:
    fill(services)
    wanted = polled(services.source(tmp_path / "plain"), MemoryLog())

    def as_text(found: Any) -> Any:
        if isinstance(found, dict):
            return {key: as_text(value) for key, value in found.items()}
        if isinstance(found, list):
            return [as_text(value) for value in found]
        return str(found) if isinstance(found, (int, float)) else found

    services.timeline, services.therapy = as_text(services.timeline), as_text(services.therapy)
    services.index = as_text(services.index)
    found = polled(services.source(tmp_path / "text"), MemoryLog())
    told = [[(event.kind, event.pump_time, event.body) for event in log.events if event.kind.startswith(("bolus", "basal"))] for log in (wanted, found)]  # fmt: skip
    assert told[0] == told[1]
    assert {kind for kind, _, _ in told[0]} >= {"basal.delivered", "bolus.completed"}


def test_basal_iq_suspensions(services: Services, tmp_path: Path) -> None:
    """They are requested if there is no Control-IQ."""
    services.since = None
    services.csv = export(
        basal(("08:00:00", "1.0"), ("11:00:00", "0"), ("11:20:00", "1.0"), ("12:00:00", "0.9"))
    ).decode()
    services.basal_iq = [site("2021-04-01T11:00", "x"), site("2021-04-02T00:00", "previous")]
    log = polled(services.source(tmp_path, history_days=3), MemoryLog())
    assert [(event.body.reason, event.pump_time.hour) for event in log.of("pumping.suspended")] == [("plgs", 11)]
    assert [event.pump_time.minute for event in log.of("pumping.resumed")] == [20]


def test_with_control_iq_basal_iq_is_not_asked_for(services: Services, tmp_path: Path) -> None:
    fill(services)
    polled(services.source(tmp_path, history_days=3), MemoryLog())
    assert not [path for path in services.asked if "basaliqtech" in path]


def test_an_answer_of_basal_iq_that_is_no_list_is_told(services: Services, tmp_path: Path) -> None:
    services.since, services.basal_iq = None, "what"  # type: ignore[assignment]
    with pytest.raises(SourceChanged, match="Basal-IQ"):
        polled(services.source(tmp_path, history_days=1), MemoryLog())
