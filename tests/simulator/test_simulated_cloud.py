from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs
import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from tconnectsync_simulator.cloud import accounts
from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.cloud.upload_cache import cache_uploads
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.support.clocks import FakeClock
from tests.support.cloud_faults import (
    CloudFault,
    answered,
    html_page,
    login_refused,
    null_answer,
    terms_not_accepted,
)
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.truths import all_uploaded_at

UTC = timezone.utc
VERIFIER = "a verifier of more than forty characters, never reused"


@attrs.define
class DocumentedClient:
    """A client as the documents describe it, and nothing of the product."""

    cloud: FaultyTandemCloud
    session: requests.Session
    verifier: str = VERIFIER
    token: str = ""

    @property
    def at(self) -> dict[str, str]:
        return self.cloud.endpoints

    def send_password(self, password: str | None = None, region: str | None = None) -> requests.Response:
        account = self.cloud.accounts[0]
        at = self.cloud.endpoints_of(region or account.region)
        self.session.get(at["login_page"])
        return self.session.post(
            at["login_api"], json={"username": account.email, "password": password or account.password}
        )

    def code(self, **changes: str) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        query = {
            "client_id": self.at["client_id"],
            "response_type": "code",
            "scope": "openid profile email",
            "redirect_uri": self.at["redirect_uri"],
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        } | changes
        answer = self.session.get(self.at["authorize"], params=query)
        return parse_qs(urlsplit(answer.url).query).get("code", [""])[0]

    def exchange(self, code: str, verifier: str | None = None) -> requests.Response:
        form = {
            "grant_type": "authorization_code",
            "client_id": self.at["client_id"],
            "code": code,
            "redirect_uri": self.at["redirect_uri"],
            "code_verifier": verifier or self.verifier,
        }
        return self.session.post(self.at["token"], data=form)

    def log_in(self) -> dict[str, Any]:
        assert self.send_password().json() == {"redirectUrl": "/", "status": "SUCCESS"}
        granted: dict[str, Any] = self.exchange(self.code()).json()
        self.token = granted["access_token"]
        return granted

    def get(self, path: str, params: Any = None, **headers: str) -> requests.Response:
        base = self.at["data"]
        told = {"Authorization": f"Bearer {self.token}", "Origin": base.rstrip("/"), "Referer": base} | headers
        return self.session.get(base + path, params=params, headers=told)

    def pumper(self, **headers: str) -> requests.Response:
        return self.get(f"api/reports/bff/pumper/{self.cloud.accounts[0].pumper_id}", **headers)

    def logs(self, first: str, last: str, pump: SimulatedPump | None = None, **more: str) -> requests.Response:
        assignment = (pump or self.cloud.caches[0].pump).assignment_id
        query = {
            "pumperId": self.cloud.accounts[0].pumper_id,
            "startDate": f"{first}T00:00:00Z",
            "endDate": f"{last}T23:59:59Z",
        } | more
        return self.get(f"api/reports/bff/pump-logs/{assignment}", params=query)


@pytest.fixture(scope="module")
def pump() -> SimulatedPump:
    """Five days, a fifth of the records uploaded late."""
    return simulate(SimulationPlan(seed=5, days=5, late_share=0.2))


@pytest.fixture
def clock(pump: SimulatedPump) -> FakeClock:
    """An hour after the last upload."""
    return FakeClock(all_uploaded_at(pump) + timedelta(hours=1))


@pytest.fixture
def cloud(pump: SimulatedPump, clock: FakeClock) -> Iterator[FaultyTandemCloud]:
    """The pump's cloud."""
    with FaultyTandemCloud([pump], clock) as running:
        yield running


@pytest.fixture
def visitor(cloud: FaultyTandemCloud) -> Iterator[DocumentedClient]:
    """A client that has not logged in."""
    with requests.Session() as session:
        yield DocumentedClient(cloud, session)


@pytest.fixture
def client(visitor: DocumentedClient) -> DocumentedClient:
    """A client that has logged in."""
    visitor.log_in()
    return visitor


# --- the login ---


def test_login_gives_signed_id_token(visitor: DocumentedClient, clock: FakeClock) -> None:
    """It names the wearer."""
    granted = visitor.log_in()
    assert granted["expires_in"] == 1800
    keys = visitor.session.get(visitor.at["jwks"]).json()["keys"]
    header = jwt.get_unverified_header(granted["id_token"])
    key = jwt.PyJWK(next(each for each in keys if each["kid"] == header["kid"]), algorithm="RS256").key
    claims = jwt.decode(
        granted["id_token"],
        key,
        algorithms=["RS256"],
        audience=visitor.at["client_id"],
        issuer=visitor.at["issuer"],
        options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
    )
    assert claims["pumperId"] == visitor.cloud.accounts[0].pumper_id
    assert claims["exp"] == int(clock.now().timestamp()) + 1800
    counts = {kind: visitor.cloud.count(kind) for kind in ("login_page", "login", "authorize", "token", "jwks")}
    assert counts == dict.fromkeys(counts, 1)


def test_logins_at_once_share_one_signing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """With two keys, the signatures of some logins fit no key that the accounts service shows."""
    made: list[rsa.RSAPrivateKey] = []

    def make_slowly(**given: Any) -> rsa.RSAPrivateKey:
        time.sleep(0.05)
        made.append(generate(**given))
        return made[-1]

    generate = rsa.generate_private_key
    monkeypatch.setattr(rsa, "generate_private_key", make_slowly)
    accounts._made_key.cache_clear()
    with ThreadPoolExecutor(16) as pool:
        found = [each.result() for each in [pool.submit(accounts._signing_key) for _ in range(16)]]
    assert len(made) == 1
    assert all(key is made[0] for key in found)


def test_a_wrong_password_is_refused(visitor: DocumentedClient) -> None:
    answer = visitor.send_password(password="another")
    assert answer.status_code == 401
    assert "account/invalid_credentials" in answer.text


def test_the_right_password_is_refused_in_the_wrong_region(visitor: DocumentedClient) -> None:
    answer = visitor.send_password(region="EU")
    assert answer.status_code == 401
    assert "account/invalid_credentials" in answer.text


def test_account_of_other_region(pump: SimulatedPump, clock: FakeClock) -> None:
    """It has its own endpoints."""
    with (
        FaultyTandemCloud([pump], clock, accounts=[SimulatedAccount(region="EU")]) as cloud,
        requests.Session() as session,
    ):
        client = DocumentedClient(cloud, session)
        client.log_in()
        assert "/eu/" in cloud.endpoints["issuer"]
        assert client.pumper().json()["country"] == "EU"


def test_without_a_login_there_is_no_code(visitor: DocumentedClient) -> None:
    assert visitor.code() == ""


@pytest.mark.parametrize(
    "change", [{"code_challenge": ""}, {"code_challenge_method": "plain"}, {"client_id": "x"}, {"scope": "email"}]
)
def test_incomplete_authorization(visitor: DocumentedClient, change: dict[str, str]) -> None:
    """It gives no code."""
    visitor.send_password()
    assert visitor.code(**change) == ""


def test_the_code_comes_at_the_end_of_a_chain_of_redirects(visitor: DocumentedClient) -> None:
    visitor.send_password()
    assert visitor.code()
    assert [visitor.cloud.count(kind) for kind in ("authorize", "authorize_next", "redirect")] == [1, 1, 1]


def test_a_code_is_good_once_and_only_with_its_verifier(visitor: DocumentedClient) -> None:
    visitor.send_password()
    assert visitor.exchange(visitor.code(), verifier="another").status_code == 400
    code = visitor.code()
    assert visitor.exchange(code).status_code == 200
    assert visitor.exchange(code).json() == {"error": "invalid_grant"}


# --- the data ---


def test_no_old_and_revoked_tokens_are_refused(client: DocumentedClient, clock: FakeClock) -> None:
    assert client.pumper().status_code == 200
    assert client.pumper(Authorization="Bearer nonsense").status_code == 401
    clock.advance(seconds=1800)
    assert client.pumper().status_code == 401
    client.log_in()
    assert client.pumper().status_code == 200
    client.cloud.revoke_tokens()
    assert client.pumper().status_code == 401


@pytest.mark.parametrize("header", [{"Origin": "https://elsewhere.example"}, {"Referer": "https://elsewhere.example/"}])
def test_another_origin_is_blocked(client: DocumentedClient, header: dict[str, str]) -> None:
    answer = client.pumper(**header)
    assert answer.status_code == 403
    assert "The request is blocked" in answer.text


def test_a_path_that_nobody_knows_is_a_404_page(client: DocumentedClient) -> None:
    for path in ("api/reports/reportsfacade/x/pumpeventmetadata", "api/reports/bff/pumper/unknown"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "<title>404 Not Found</title>" in answer.text


def test_the_pumper_answer_has_the_known_keys(client: DocumentedClient, pump: SimulatedPump) -> None:
    body = client.pumper().json()
    assert set(body) == {
        "firstName", "lastName", "name", "dateOfBirth", "lowGlucoseThreshold", "highGlucoseThreshold", "country", "pumps"
    }  # fmt: skip
    (entry,) = body["pumps"]
    assert set(entry) == {
        "algorithm", "availableDataRange", "assignmentId", "glucoseUnit", "lastUploadDate", "maxDateOfEvents", "modelNumber",
        "modelName", "partNumber", "serialNumber", "softwareVersion", "lastUploadClientType", "settings",
    }  # fmt: skip
    assert set(entry["settings"]) == {
        "id", "deviceAssignmentId", "uploadedTimeStamp", "settingsHash", "uploadId", "details"
    }  # fmt: skip
    assert len(entry["settings"]["settingsHash"]) == 40
    assert entry["maxDateOfEvents"] == max(record["pumpDateTime"] for record in pump.records)
    assert entry["lastUploadDate"] == all_uploaded_at(pump).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_pump_that_never_uploaded_is_listed_with_nulls(pump: SimulatedPump) -> None:
    clock = FakeClock(pump.truth.begin - timedelta(days=1))
    with FaultyTandemCloud([pump], clock, unused_serials=["514387"]) as cloud, requests.Session() as session:
        client = DocumentedClient(cloud, session)
        client.log_in()
        worn, unused = client.pumper().json()["pumps"]
        for entry in (worn, unused):
            assert entry["lastUploadDate"] is entry["maxDateOfEvents"] is entry["settings"] is None
        assert unused["serialNumber"] == "514387"
        assert client.logs("2026-03-01", "2026-03-07").json() == {"events": [], "clockChanges": []}


def test_windows_give_every_record_once(client: DocumentedClient, pump: SimulatedPump) -> None:
    """In no order."""
    events = [
        event for day in range(1, 7) for event in client.logs(f"2026-03-0{day}", f"2026-03-0{day}").json()["events"]
    ]
    expected = {e["sequenceNumber"]: e for e in pump.records if e["pumpDateTime"] >= "2026-03-01"}
    assert {event["sequenceNumber"]: event for event in events} == expected
    assert len(events) == len(expected)
    numbers = [event["sequenceNumber"] for event in events]
    assert numbers != sorted(numbers)
    first = client.logs("2026-03-01", "2026-03-02")
    assert first.content == client.logs("2026-03-01", "2026-03-02").content


def test_clock_changes_ignore_the_window(client: DocumentedClient, pump: SimulatedPump) -> None:
    """All of the pump's life are sent."""
    body = client.logs("2020-01-01", "2020-01-02").json()
    assert body["events"] == []
    assert body["clockChanges"] == pump.clock_changes


def test_what_the_phone_has_not_uploaded_yet_is_not_there(
    client: DocumentedClient, clock: FakeClock, pump: SimulatedPump
) -> None:
    clock.time = pump.truth.begin + timedelta(days=2)
    client.log_in()
    seen = {event["sequenceNumber"] for event in client.logs("2026-03-01", "2026-03-28").json()["events"]}
    now_s = clock.time.timestamp()
    assert seen == {
        record.entry["sequenceNumber"]
        for record in pump.log
        if record.uploaded_s <= now_s and record.entry["pumpDateTime"] >= "2026-03-01"
    }
    uploaded = client.pumper().json()["pumps"][0]["lastUploadDate"]
    assert uploaded == max(
        datetime.fromtimestamp(record.uploaded_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for record in pump.log
        if record.uploaded_s <= now_s
    )


def test_event_codes_are_ignored_unless_the_cloud_filters(client: DocumentedClient) -> None:
    whole = client.logs("2026-03-02", "2026-03-02").json()["events"]
    assert client.logs("2026-03-02", "2026-03-02", eventCodes="20,279").json()["events"] == whole
    client.cloud.filters_codes = True
    some = client.logs("2026-03-02", "2026-03-02", eventCodes="20,279").json()["events"]
    assert {event["eventCode"] for event in some} == {20, 279}
    assert client.logs("2026-03-02", "2026-03-02", eventCodes="").json()["events"] == whole


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"eventIds": "20"}, "unrecognized_keys"),
        ({"startDate": "2026-03-02"}, "invalid_string"),
        ({"endDate": "2026-02-31T00:00:00Z"}, "invalid_string"),
        ({"pumperId": ""}, "invalid_type"),
    ],
)
def test_unknown_query_is_a_zod_error(client: DocumentedClient, change: dict[str, str], code: str) -> None:
    answer = client.logs("2026-03-02", "2026-03-02", **change)
    assert answer.status_code == 400
    assert "ZodError" in answer.text
    assert code in answer.text


def test_window_too_long(client: DocumentedClient) -> None:
    """It fails, and a shorter one does not."""
    client.cloud.largest_window_days, client.cloud.window_status = 7, 504
    assert client.logs("2026-03-01", "2026-03-08").status_code == 504
    assert client.logs("2026-03-01", "2026-03-07").status_code == 200


def test_the_newest_date_can_lie(client: DocumentedClient) -> None:
    client.cloud.newest_overrides["90556643"] = "2031-05-06T00:00:00"
    assert client.pumper().json()["pumps"][0]["maxDateOfEvents"] == "2031-05-06T00:00:00"


def test_every_answer_tells_the_clouds_time(client: DocumentedClient, clock: FakeClock) -> None:
    clock.time = datetime(2026, 3, 9, 12, tzinfo=UTC)
    assert client.session.get(client.at["login_page"]).headers["Date"] == "Mon, 09 Mar 2026 12:00:00 GMT"


def test_a_plan_is_served_like_the_pump_it_makes(
    client: DocumentedClient, pump: SimulatedPump, clock: FakeClock
) -> None:
    with FaultyTandemCloud([pump.plan], clock) as cloud, requests.Session() as session:
        other = DocumentedClient(cloud, session)
        other.log_in()
        assert other.pumper().json() == client.pumper().json()
        window = ("2026-03-01", "2026-03-06")
        assert other.logs(*window).content == client.logs(*window).content
        assert cloud.caches[0].pump.log == ()
        assert cloud.caches[0].pump.truth == pump.truth


def test_a_cache_knows_the_last_upload(pump: SimulatedPump) -> None:
    cached = cache_uploads(pump)
    first_s = next(s for s in pump.upload_times_s if cached.last_upload_s(s) is not None)
    assert cached.last_upload_s(first_s) == first_s
    assert cached.last_upload_s(first_s - 1) is None


# --- faults ---


def test_a_fault_lasts_for_as_many_requests_as_told(client: DocumentedClient) -> None:
    client.cloud.fail(answered(429, path="pumper", times=2, retry_after="7"))
    answers = [client.pumper() for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "7"


def test_a_fault_waits_for_its_path(client: DocumentedClient) -> None:
    client.cloud.fail(answered(503, path="pump-logs"))
    assert client.pumper().status_code == 200
    assert client.logs("2026-03-02", "2026-03-02").status_code == 503
    assert client.logs("2026-03-02", "2026-03-02").status_code == 200


def test_known_errors_have_their_known_bodies(client: DocumentedClient) -> None:
    client.cloud.fail(answered(403), answered(404))
    assert "The request is blocked" in client.pumper().text
    assert "404 Not Found" in client.pumper().text


def test_html_and_null_come_with_a_good_status(client: DocumentedClient) -> None:
    client.cloud.fail(html_page(), null_answer())
    answers = [client.logs("2026-03-02", "2026-03-02") for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].headers["Content-Type"].startswith("text/html")
    assert answers[1].json() is None


def test_keys_can_be_renamed_dropped_and_replaced(client: DocumentedClient) -> None:
    client.cloud.fail(
        CloudFault(path="pump-logs", rename={"events": "logEvents"}),
        CloudFault(path="pump-logs", drop=frozenset({"sequenceNumber"})),
        CloudFault(path="pump-logs", put={"clockChanges": None}),
    )
    renamed, dropped, put = (client.logs("2026-03-02", "2026-03-02").json() for _ in range(3))
    assert set(renamed) == {"logEvents", "clockChanges"}
    assert all("sequenceNumber" not in event for event in dropped["events"])
    assert put["clockChanges"] is None


def test_an_answer_can_be_cut_with_and_without_notice(client: DocumentedClient) -> None:
    client.cloud.fail(CloudFault(path="pump-logs", cut=True), CloudFault(path="pump-logs", short=True))
    with pytest.raises(requests.exceptions.JSONDecodeError):
        client.logs("2026-03-02", "2026-03-02").json()
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        client.logs("2026-03-02", "2026-03-02")


@pytest.mark.parametrize("when", ["before", "after"])
def test_connection_breaks(visitor: DocumentedClient, when: str) -> None:
    """Before or after the request is served."""
    visitor.send_password()
    code = visitor.code()
    visitor.cloud.fail(CloudFault(path="connect/token", reset=when))
    with pytest.raises(requests.exceptions.ConnectionError):
        visitor.exchange(code)
    assert visitor.exchange(code).status_code == (200 if when == "before" else 400)


def test_a_token_can_be_revoked_in_the_middle(client: DocumentedClient) -> None:
    client.cloud.fail(CloudFault(path="pump-logs", revoke=True))
    assert client.logs("2026-03-02", "2026-03-02").status_code == 401
    assert client.pumper().status_code == 401


def test_the_login_can_refuse_and_can_want_new_terms(visitor: DocumentedClient) -> None:
    visitor.cloud.fail(login_refused(), terms_not_accepted())
    assert visitor.send_password().status_code == 401
    assert visitor.send_password().json()["status"] != "SUCCESS"
    assert visitor.send_password().json()["status"] == "SUCCESS"


def test_an_answer_can_take_its_time(client: DocumentedClient) -> None:
    client.cloud.fail(CloudFault(path="pumper", wait_s=0.05))
    assert client.pumper().elapsed >= timedelta(seconds=0.05)


def test_faults_can_be_forgotten(client: DocumentedClient) -> None:
    client.cloud.fail(answered(500, times=9))
    assert client.pumper().status_code == 500
    client.cloud.faults.clear()
    assert client.pumper().status_code == 200


def test_connections_are_kept_alive_and_end_with_the_cloud(pump: SimulatedPump, clock: FakeClock) -> None:
    cloud = FaultyTandemCloud([pump], clock)
    with requests.Session() as session:
        client = DocumentedClient(cloud, session)
        client.log_in()
        cloud.close()
        with pytest.raises(requests.exceptions.ConnectionError):
            client.pumper()
