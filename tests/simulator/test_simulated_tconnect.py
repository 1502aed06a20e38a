"""The simulated older t:connect, used as its interface was described, by a client that knows nothing of the product."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import attrs
import pytest
import requests

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.support.clocks import FakeClock
from tests.support.cloud_faults import CloudFault, answered, web_page_blocked
from tests.support.simulated_tconnect.cloud import TconnectCloud
from tests.support.simulated_tconnect.records import SuspensionRow, TconnectRecords
from tests.support.simulated_tconnect.responses import suspensions
from tests.support.truths import all_uploaded_at

ZONE = ZoneInfo("America/New_York")
LOGIN = "login.aspx?ReturnUrl=%2f"
CONTROL = "ctl00$ContentBody$LoginControl$"
PHONE = {"User-Agent": "Dalvik/2.1.0 (Linux; U; Android 12; Pixel 5)"}


@attrs.define
class BrowserAndPhone:
    """A browser, and a phone."""

    cloud: TconnectCloud
    session: requests.Session
    token: str = ""

    def log_in(self, password: str | None = None) -> requests.Response:
        account = self.cloud.account
        page = self.session.get(self.cloud.endpoints["login"] + LOGIN).text
        hidden = re.findall(r'<input type="hidden" name="(\w+)" [^>]*value="([^"]*)"', page)
        typed = {"txtLoginEmailAddress": account.email, "txtLoginPassword": password or account.password}
        form = {name: unescape(value) for name, value in hidden}
        form |= {"__LASTFOCUS": "", "__EVENTTARGET": f"{CONTROL}linkLogin", "__EVENTARGUMENT": ""}
        for name, value in typed.items():
            said = dict.fromkeys(("validationText", "valueAsString", "lastSetTextBoxValue"), value)
            form |= {
                f"{CONTROL}{name}": value,
                f"{name}_ClientState": json.dumps({"enabled": True, "emptyMessage": "", **said}),
            }
        answer = self.session.post(self.cloud.endpoints["login"] + LOGIN, data=form, allow_redirects=False)
        self.token = self.session.cookies.get("accessToken") or ""
        return answer

    def get(self, path: str, *params: tuple[str, str]) -> requests.Response:
        told = {"Authorization": f"Bearer {self.token}"}
        return self.session.get(self.cloud.endpoints["controliq"] + path, params=list(params), headers=told)

    def timeline(self, first: str, last: str) -> Any:
        path = f"tconnect/controliq/api/therapytimeline/users/{self.cloud.account.guid}"
        return self.get(path, ("startDate", first), ("endDate", last))

    def events(self, first: str, last: str) -> list[dict[str, Any]]:
        path = f"tconnect/therapyevents/api/TherapyEvents/{first}/{last}/false"
        found: list[dict[str, Any]] = self.get(path, ("userId", self.cloud.account.guid)).json()["event"]
        return found

    def export(self, first: str, last: str) -> requests.Response:
        return self.get(f"therapytimeline2csv/{self.cloud.account.guid}/{first}/{last}", ("format", "csv"))

    def suspensions(self, first: str, last: str) -> list[tuple[datetime, str]]:
        path = f"basalsuspension/{self.cloud.account.guid}/{first}/{last}/"
        text = self.get(path, ("callback", "cb")).text
        assert text[:3] + text[-1] == "cb()"
        listed = json.loads(text[3:-1])["BasalSuspension"]
        found = []
        for each in listed:
            milliseconds = re.fullmatch(r"/Date\((\d+)-0000\)/", each["EventDateTime"])
            assert milliseconds
            found.append((wall(int(milliseconds[1]) // 1000), each["SuspendReason"]))
        return found


def wall(x: int) -> datetime:
    """The wearer's wall clock that the services' seconds stand for."""
    return datetime.fromtimestamp(x, ZoneInfo("America/Los_Angeles")).replace(tzinfo=None)


def true(at: datetime) -> datetime:
    """The same in true time."""
    return at.replace(tzinfo=ZONE).astimezone(timezone.utc)


def local(at: datetime) -> datetime:
    return at.astimezone(ZONE).replace(tzinfo=None)


def tables(text: str) -> dict[str, list[dict[str, str]]]:
    """The tables of an export by what their rows begin with."""
    _, *parts = re.split(r"\r\n\r\n", text.strip())
    read = [list(csv.DictReader(io.StringIO(part))) for part in parts]
    return {next(iter(rows[0].values())): rows for rows in read if rows}


@pytest.fixture(scope="module")
def pump() -> SimulatedPump:
    """Eight days of a simulated pump."""
    return simulate(SimulationPlan(seed=7, start=date(2021, 4, 1), days=8))


@pytest.fixture
def cloud(pump: SimulatedPump) -> Iterator[TconnectCloud]:
    """The older services, an hour after the last upload."""
    with TconnectCloud(pump, FakeClock(all_uploaded_at(pump) + timedelta(hours=1))) as running:
        yield running


@pytest.fixture
def client(cloud: TconnectCloud) -> Iterator[BrowserAndPhone]:
    """A browser that has logged in."""
    with requests.Session() as session:
        found = BrowserAndPhone(cloud, session)
        found.log_in()
        yield found


def test_login_form(cloud: TconnectCloud) -> None:
    """It gives cookies, and for a wrong password the reason."""
    with requests.Session() as session:
        client = BrowserAndPhone(cloud, session)
        refused = client.log_in("wrong")
        assert refused.status_code == 200
        assert re.search(r'class="notice_error">[^<]*incorrect', refused.text)
        assert "UserGUID" not in session.cookies
        answer = client.log_in()
        assert (answer.status_code, answer.headers["Location"]) == (302, "/")
        assert session.cookies["UserGUID"] == cloud.account.guid
        assert datetime.fromisoformat(session.cookies["accessTokenExpiresAt"][:-1] + "+00:00") > cloud.clock.now()
        assert session.post(cloud.url + "/", allow_redirects=False).status_code == 200
        assert client.timeline("04-02-2021", "04-03-2021").status_code == 200
    bare = requests.post(cloud.endpoints["login"] + LOGIN, data={}, timeout=5)
    assert "__VIEWSTATE" in bare.text
    assert "UserGUID" not in bare.cookies


def test_token_expires_or_is_revoked(client: BrowserAndPhone, cloud: TconnectCloud) -> None:
    assert client.timeline("04-02-2021", "04-03-2021").status_code == 200
    cloud.revoke_tokens()
    assert client.timeline("04-02-2021", "04-03-2021").status_code == 401
    client.log_in()
    assert client.timeline("04-02-2021", "04-03-2021").status_code == 200
    assert isinstance(cloud.clock, FakeClock)
    cloud.clock.advance(hours=8, seconds=1)
    assert client.timeline("04-02-2021", "04-03-2021").status_code == 401


def test_login_of_phone_app(client: BrowserAndPhone, cloud: TconnectCloud, pump: SimulatedPump) -> None:
    """It has its own login, and the index of what was uploaded."""
    account = cloud.account
    form = {
        "username": account.email,
        "password": account.password,
        "grant_type": "password",
        "scope": "cloud.account cloud.upload cloud.accepttcpp cloud.email cloud.password",
    }
    url = cloud.endpoints["android"] + "cloud/oauth2/token"
    app = (account.client_id, account.client_secret)
    granted = requests.post(url, data=form, auth=app, headers=PHONE, timeout=5).json()
    assert granted["user"] == {"id": account.guid}
    assert requests.post(url, data=form, auth=(app[0], "no"), headers=PHONE, timeout=5).status_code == 401
    assert requests.post(url, data=form | {"password": "no"}, auth=app, headers=PHONE, timeout=5).status_code == 400
    client.token = granted["accessToken"]
    found = client.get("cloud/upload/getlasteventuploaded", ("sn", pump.plan.serial)).json()
    assert found == {"maxPumpEventIndex": pump.log[-1].entry["sequenceNumber"], "processingStatus": 1}
    assert client.get("cloud/upload/getlasteventuploaded", ("sn", "1")).status_code == 404


def test_index_and_rows_follow_uploads(pump: SimulatedPump) -> None:
    first, later = pump.upload_times_s[20], pump.upload_times_s[40]
    clock = FakeClock(datetime.fromtimestamp(first, timezone.utc))
    with TconnectCloud(pump, clock) as cloud:
        before, known = cloud.records.newest_index, len(cloud.records.basal)
        clock.time = datetime.fromtimestamp(later, timezone.utc)
        assert cloud.records.newest_index > before
        assert len(cloud.records.basal) > known
        newest = max(row.at + timedelta(seconds=row.span_s) for row in cloud.records.basal)
        assert true(newest) <= clock.time


def test_basal_by_kind_sums_to_what_the_pump_gave(client: BrowserAndPhone, pump: SimulatedPump) -> None:
    answer = client.timeline("04-02-2021", "04-05-2021").json()
    assert set(answer) == {"basal", "suspensionDeliveryEvents", "events"}
    kinds = {"tempDeliveryEvents": 2, "algorithmDeliveryEvents": 3, "profileDeliveryEvents": 1}
    assert {name: {row["type"] for row in rows} for name, rows in answer["basal"].items() if rows} == {
        name: {kind} for name, kind in kinds.items() if answer["basal"][name]
    }
    rows = sorted((row for each in answer["basal"].values() for row in each), key=lambda row: int(row["x"]))
    begin, end = datetime(2021, 4, 2, 5, tzinfo=timezone.utc), datetime(2021, 4, 6, 3, tzinfo=timezone.utc)
    given = 0.0
    for row in rows:
        assert set(row) == {"x", "y", "type", "duration"}
        start = true(wall(row["x"]))
        stop = min(start + timedelta(seconds=row["duration"]), end)
        given += row["y"] * max(0.0, (stop - max(start, begin)).total_seconds()) / 3600
    really = sum(u for hour, u in pump.truth.basal_u_per_hour.items() if begin <= hour < end)
    assert given == pytest.approx(really, abs=0.02)


def test_sleep_exercise_and_suspensions_are_where_they_were(client: BrowserAndPhone, pump: SimulatedPump) -> None:
    answer = client.timeline("04-01-2021", "04-08-2021").json()
    told = {(e["eventType"], true(wall(e["x"])), e["duration"]) for e in answer["events"] if e["eventType"] in (1, 2)}
    number = {"sleep": 1, "exercise": 2}
    really = {
        (number[mode.name], mode.started_at, (mode.ended_at - mode.started_at).total_seconds())
        for mode in pump.truth.modes
        if mode.ended_at is not None
    }
    assert really <= told
    assert len(told - really) <= 1  # the last night is reported up to the newest record
    stops = {true(wall(row["x"])): row["suspendReason"] for row in answer["suspensionDeliveryEvents"]}
    names = {"user": {"manual", "site-cart"}, "alarm": {"alarm"}, "plgs": {"control-iq"}}
    for each in pump.truth.suspensions:
        assert stops[each.started_at] in names[each.name]


def test_a_bolus_whose_request_is_not_there_yet_is_not_told(pump: SimulatedPump) -> None:
    log = tuple(record for record in pump.log if record.entry["eventCode"] != 65)
    with TconnectCloud(attrs.evolve(pump, log=log), FakeClock(all_uploaded_at(pump))) as cloud:
        assert cloud.records.boluses == []


def test_boluses_have_both_parts_as_they_were_delivered(client: BrowserAndPhone, pump: SimulatedPump) -> None:
    told = {
        e["standard"]["bolusRequestId"]: e for e in client.events("04-01-2021", "04-09-2021") if e["type"] == "Bolus"
    }
    finished = [bolus for bolus in pump.truth.boluses if bolus.finished]
    assert len(finished) > 20
    assert any(bolus.extended_u for bolus in finished)
    for bolus in finished:
        entry = told[float(bolus.bolus_id)]
        parts = [entry["standard"], *([entry["bolex"]] if "bolex" in entry else [])]
        delivered = sum(part["insulinDelivered"]["value"] for part in parts if "insulinDelivered" in part)
        assert delivered == pytest.approx(bolus.delivered_u, abs=1e-5)
        assert entry["requestDateTime"] == entry["eventDateTime"] == local(bolus.requested_at).isoformat()
        assert entry["carbSize"] == bolus.carbs_g
        assert entry["actualTotalBolusRequested"] == pytest.approx(bolus.requested_u, abs=1e-5)
        assert (entry["bolusType"] == "Automatic Correction") == (bolus.kind == "automatic")


def test_a_bolus_that_runs_is_not_complete(pump: SimulatedPump) -> None:
    """Also one whose end is still on its way."""
    plan = attrs.evolve(pump.plan, upload_every_min=5)
    running = simulate(plan)
    bolus = next(each for each in running.truth.boluses if each.kind == "manual" and each.delivered_u > 5)
    end_s = next(
        record.uploaded_s
        for record in running.log
        if record.entry["eventCode"] == 20 and record.entry["eventProperties"]["bolusId"] == bolus.bolus_id
    )
    log = tuple(record for record in running.log if record.uploaded_s < end_s)
    log += tuple(record for record in running.log if record.uploaded_s >= end_s and record.entry["eventCode"] != 20)
    with (
        TconnectCloud(attrs.evolve(running, log=log), FakeClock(all_uploaded_at(running))) as cloud,
        requests.Session() as session,
    ):
        client = BrowserAndPhone(cloud, session)
        client.log_in()
        day = f"{local(bolus.requested_at):%m-%d-%Y}"
        told = {e["standard"]["bolusRequestId"]: e for e in client.events(day, day) if e["type"] == "Bolus"}
        part = told[float(bolus.bolus_id)]["standard"]
        assert (part["bolusIsComplete"], part["bolusCompletionId"], "insulinDelivered" in part) == (0, 0.0, False)


def test_readings_and_finger_sticks(client: BrowserAndPhone, pump: SimulatedPump) -> None:
    found = client.events("04-02-2021", "04-02-2021")
    assert {event["type"] for event in found} >= {"Bolus", "CGM"}
    told = {(e["eventDateTime"], e["egv"]["estimatedGlucoseValue"]) for e in found if e["type"] == "CGM"}
    really = {
        (local(reading.at).isoformat(), reading.glucose_mg_dl)
        for reading in pump.truth.glucose
        if local(reading.at).date() == date(2021, 4, 2)
    }
    assert told == really
    sticks = {e["eventDateTime"]: e["bg"] for e in client.events("04-01-2021", "04-08-2021") if e["type"] == "BG"}
    for stick in pump.truth.finger_sticks:
        assert sticks[local(stick.at).isoformat()] == stick.value


def test_suspension_over_midnight() -> None:
    """It is sent for both days."""
    stop = SuspensionRow(at=datetime(2021, 4, 1, 23, 50), reason="manual", ended_at=datetime(2021, 4, 3, 0, 10))
    days = (date(2021, 4, 2), date(2021, 4, 3))
    assert [each["SuspendReason"] for each in suspensions(TconnectRecords(sites=[stop]), days)] == [
        "previous",
        "previous",
    ]
    (first, *_) = suspensions(TconnectRecords(sites=[stop]), (date(2021, 4, 1), date(2021, 4, 1)))
    x = int(datetime(2021, 4, 1, 23, 50, tzinfo=ZoneInfo("America/Los_Angeles")).timestamp())
    assert first == {"EventDateTime": f"/Date({x}000-0000)/", "SuspendReason": "manual"}


def test_a_new_site_is_what_the_pump_was_stopped_for(client: BrowserAndPhone, pump: SimulatedPump) -> None:
    listed = client.suspensions("04-01-2021", "04-08-2021")
    assert {reason for _, reason in listed} <= {"manual", "alarm", "site-cart", "previous"}
    changes = [true(at) for at, reason in listed if reason == "site-cart"]
    cannulas = [fill.at for fill in pump.truth.fills if fill.name == "cannula"]
    assert len(changes) == len(cannulas) > 0
    for change, cannula in zip(changes, cannulas, strict=True):
        assert timedelta() <= cannula - change < timedelta(hours=1)


def test_tables_of_the_export(pump: SimulatedPump) -> None:
    """It has basal only before Control-IQ."""
    clock = FakeClock(all_uploaded_at(pump))
    with TconnectCloud(pump, clock, control_iq_since=date(2021, 4, 4)) as cloud, requests.Session() as session:
        client = BrowserAndPhone(cloud, session)
        client.log_in()
        text = client.export("04-03-2021", "04-04-2021").text
        assert text.startswith('"t:connect Therapy Timeline Data Export"')
        found = tables(text)
        assert set(found) == {"t:slim X2 Insulin Pump", "IOB", "Basal", "Bolus"}
        assert {row["EventDateTime"][:10] for row in found["Basal"]} == {"2021-04-03"}
        assert {row["EventDateTime"][:10] for row in found["Bolus"]} == {"2021-04-03", "2021-04-04"}
        row = found["Bolus"][0]
        assert re.fullmatch(r"\d+\.000", row["BolusRequestID"])
        assert re.fullmatch(r"\d+\.\d\d", row["InsulinDelivered"])
        assert {row["Description"] for row in found["t:slim X2 Insulin Pump"]} <= {"EGV", "BG"}
        assert {row["EventID"] for row in found["IOB"]} == {"81"}
        assert set(tables(client.export("04-06-2021", "04-07-2021").text)) == {"t:slim X2 Insulin Pump", "IOB", "Bolus"}


def test_before_control_iq_there_is_no_such_page(pump: SimulatedPump) -> None:
    clock = FakeClock(all_uploaded_at(pump))
    with TconnectCloud(pump, clock, control_iq_since=date(2021, 4, 4)) as cloud, requests.Session() as session:
        client = BrowserAndPhone(cloud, session)
        client.log_in()
        assert client.timeline("04-02-2021", "04-03-2021").status_code == 404
        rows = client.timeline("04-03-2021", "04-04-2021").json()["basal"]["algorithmDeliveryEvents"]
        assert {wall(row["x"]).date() for row in rows} == {date(2021, 4, 4)}
        (told,) = client.get(f"tconnect/controliq/api/pumpfeatures/users/{cloud.account.guid}").json()
        assert told["serialNumber"] == pump.plan.serial
        assert told["features"]["controlIQ"]["dateTimeFirstDetected"] == "2021-04-04T00:00:00"


def test_limits_of_the_export(pump: SimulatedPump) -> None:
    """Two days at most; it fails under load."""
    clock = FakeClock(all_uploaded_at(pump))
    with TconnectCloud(pump, clock, csv_fails_every=3) as cloud, requests.Session() as session:
        client = BrowserAndPhone(cloud, session)
        asked = [client.export("04-02-2021", "04-03-2021").status_code for _ in range(6)]
        assert asked == [200, 200, 500, 200, 200, 500]
        assert client.export("04-02-2021", "04-04-2021").status_code == 500


@pytest.mark.parametrize(
    "params",
    [
        (("endDate", "04-03-2021"), ("startDate", "04-02-2021")),
        (("startDate", "04-02-2021"),),
        (("startDate", "04-02-2021"), ("endDate", "04-03-2021"), ("more", "1")),
    ],
)
def test_firewall_wants_order_of_parameters(
    client: BrowserAndPhone, cloud: TconnectCloud, params: tuple[tuple[str, str], ...]
) -> None:
    path = f"tconnect/controliq/api/therapytimeline/users/{cloud.account.guid}"
    assert "Attack ID:" in client.get(path, *params).text


@pytest.mark.parametrize("day", ["2021-04-02", "4-2-2021", "13-45-2021", "04/02/2021"])
def test_a_day_has_one_form(client: BrowserAndPhone, day: str) -> None:
    assert client.timeline(day, "04-03-2021").status_code == 400


def test_nobody_elses_data(client: BrowserAndPhone) -> None:
    other = "00000000-0000-0000-0000-000000000000"
    path = f"tconnect/controliq/api/therapytimeline/users/{other}"
    assert client.get(path, ("startDate", "04-02-2021"), ("endDate", "04-03-2021")).status_code == 404
    assert client.get(f"basalsuspension/{other}/04-02-2021/04-03-2021/", ("callback", "cb")).status_code == 404


def test_faults_and_kept_requests(client: BrowserAndPhone, cloud: TconnectCloud) -> None:
    """The faults are those of the other cloud, and requests are kept."""
    cloud.fail(
        answered(503, path="therapytimeline/"),
        web_page_blocked(path="therapytimeline/"),
        CloudFault(path="therapytimeline/", cut=True),
        CloudFault(path="therapytimeline/", revoke=True),
    )
    assert client.timeline("04-02-2021", "04-02-2021").status_code == 503
    page = client.timeline("04-02-2021", "04-02-2021")
    assert (page.status_code, "Web Page Blocked!" in page.text) == (200, True)
    with pytest.raises(ValueError, match=r"delimiter|Unterminated|Expecting"):
        client.timeline("04-02-2021", "04-02-2021").json()
    assert client.timeline("04-02-2021", "04-02-2021").status_code == 401
    assert cloud.count("timeline") == 4
    assert cloud.count("login") == 1
