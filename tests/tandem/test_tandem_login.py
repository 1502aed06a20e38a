"""Logging in, keeping the token, and everything that can go wrong."""

from __future__ import annotations

import json
import random
import stat
from datetime import timedelta

import pytest

from tconnectsync import CredentialsRefused, Retryable, Secret, SourceChanged
from tconnectsync.retry.backoff import backoff_s
from tests.tandem.fake_cloud import EMAIL, PASSWORD, PUMPER, FakeCloudFault, TandemHarness, basal


def test_one_login_lasts_for_many_polls(harness: TandemHarness) -> None:
    for _ in range(3):
        harness.clock.advance(hours=1)
        harness.poll()
    assert harness.cloud.count("/login") == 1


def test_token_kept_over_restart(harness: TandemHarness) -> None:
    """The token is kept over a restart, in a file that only the owner can read."""
    harness.poll()
    harness.poll(harness.source())
    assert harness.cloud.count("/login") == 1
    path = harness.folder / "token.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert PASSWORD not in text
    assert EMAIL not in text


def test_the_token_is_renewed_five_minutes_before_its_end(harness: TandemHarness) -> None:
    harness.cloud.expires_in = 1800
    harness.poll()
    harness.clock.advance(minutes=24, seconds=59)
    harness.poll()
    assert harness.cloud.count("/login") == 1
    harness.clock.advance(seconds=1)
    harness.poll()
    assert harness.cloud.count("/login") == 2


@pytest.mark.parametrize("life_s", [60, 300])
def test_token_of_a_short_life_is_used(harness: TandemHarness, life_s: int) -> None:
    """A token that lives for five minutes or less still serves more than one request."""
    harness.cloud.expires_in = life_s
    harness.settings["history_days"] = 365
    harness.poll()
    assert len(harness.cloud.windows()) > 10
    assert harness.cloud.count("/login") == 1
    harness.clock.advance(seconds=life_s * 0.7)
    harness.poll()
    assert harness.cloud.count("/login") == 1
    harness.clock.advance(seconds=life_s * 0.1)
    harness.poll()
    assert harness.cloud.count("/login") == 2


def _token_file(**fields: object) -> str:
    times = {"obtained_at": "2026-11-20T00:00:00+00:00", "expires_at": "2027-11-20T00:00:00+00:00"}
    return json.dumps({"account": "{account}", "access_token": "a", "pumper_id": "x", **times, **fields})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no json",
        "[]",
        "{}",
        "null",
        '{"account": 1}',
        _token_file(access_token=""),
        _token_file(access_token=5),
        _token_file(pumper_id=None),
        _token_file(expires_at="2027-11-20T00:00:00"),
        _token_file(expires_at="soon"),
    ],
)
def test_a_damaged_token_file_costs_a_login_and_no_more(harness: TandemHarness, text: str) -> None:
    harness.poll()
    path = harness.folder / "token.json"
    account = json.loads(path.read_text())["account"]
    path.write_text(text.replace("{account}", account))
    harness.poll(harness.source())
    assert harness.cloud.count("/login") == 2


def test_unusable_token_file(harness: TandemHarness) -> None:
    """A token file that cannot be read or written costs one login, nothing else."""
    (harness.folder / "token.json").mkdir(parents=True)
    harness.poll()
    harness.poll()
    assert harness.cloud.count("/login") == 1
    assert harness.log.of("window.fetched") != []


def test_a_token_of_another_account_is_not_used(harness: TandemHarness) -> None:
    harness.poll()
    with pytest.raises(CredentialsRefused):
        harness.poll(harness.source(email="other@example.org"))


def test_forgotten_token_replaced(harness: TandemHarness) -> None:
    """A token that the server has forgotten is replaced once."""
    harness.poll()
    harness.cloud.tokens.clear()
    harness.clock.advance(hours=1)
    harness.poll()
    assert harness.cloud.count("/login") == 2


def test_new_token_refused(harness: TandemHarness) -> None:
    """A new token that is refused is no reason for another login."""
    harness.cloud.faults.append(FakeCloudFault("/bff/", status=401, body=b"{}", times=99))
    for _ in range(3):
        with pytest.raises(Retryable, match="just issued") as caught:
            harness.poll(harness.source())
        assert (caught.value.after_s or 0) >= 1800
    assert harness.cloud.count("/login") == 1


def test_replacement_token_refused(harness: TandemHarness) -> None:
    """A revoked token whose replacement is refused ends after one login."""
    harness.poll()
    harness.clock.advance(hours=1)
    harness.cloud.faults.append(FakeCloudFault("/bff/", status=401, body=b"{}", times=99))
    with pytest.raises(Retryable, match="just issued"):
        harness.poll()
    assert harness.cloud.count("/login") == 2


def test_refused_credentials_message(harness: TandemHarness) -> None:
    """The message about refused credentials names both regions and no secret."""
    harness.cloud.password = "something else"
    with pytest.raises(CredentialsRefused) as caught:
        harness.poll()
    told = f"{caught.value.message} {caught.value.remedy}"
    assert "region US" in told
    assert 'region = "EU"' in told
    assert "account/invalid_credentials" in told
    assert PASSWORD not in told
    assert EMAIL not in told
    assert harness.cloud.count("/login") == 1


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (FakeCloudFault("/login", status=200, body=b'{"status": "LOCKED"}'), CredentialsRefused, "locked"),
        (FakeCloudFault("/login", status=400, body=b'{"message": "Max attempted logins exceeded."}'), CredentialsRefused, "locked"),
        (FakeCloudFault("/login", status=400, body=b'{"name": "ZodError"}'), SourceChanged, "400"),
        (FakeCloudFault("/login", status=423), CredentialsRefused, "locked"),
        (FakeCloudFault("/login", status=422, body=b'{"errors": [{"code": "account/max_attempts"}]}'), CredentialsRefused, "locked"),
        (FakeCloudFault("/login", status=401, body=b'{"message": "Incorrect user name or password"}'), CredentialsRefused, "refuses"),
        (FakeCloudFault("/login", status=400, body=b'{"code": "account/new_reason"}'), CredentialsRefused, "new_reason"),
        (FakeCloudFault("/login", status=200, body=b'{"status": "MFA_REQUIRED"}'), CredentialsRefused, "MFA"),
        (FakeCloudFault("/login", status=200, body=b'{"status": "OK", "mfaRequired": true}'), CredentialsRefused, "MFA"),
        (FakeCloudFault("/login", status=200, body=b'{"status": "PASSWORD_EXPIRED"}'), CredentialsRefused, "new password"),
        (FakeCloudFault("/login", status=200, body=b'{"status": "TERMS_REQUIRED"}'), SourceChanged, "terms"),
        (FakeCloudFault("/login", status=403, body=b'{"message": "The request is blocked."}'), Retryable, "firewall"),
        (FakeCloudFault("/login", status=412, body=b'{"message": "unlocked"}'), SourceChanged, "412"),
        (FakeCloudFault("/login", status=422, body=b'{"path": "password", "message": "Required"}'), SourceChanged, "422"),
        (FakeCloudFault("/login", status=404, body=b"<html>"), SourceChanged, "404"),
        (FakeCloudFault("/login", status=200, body=b"<html>"), SourceChanged, "has changed"),
        (FakeCloudFault("/login", status=403, body=b"<html>Web Page Blocked!</html>"), Retryable, "firewall"),
        (FakeCloudFault("/login", status=429, headers={"Retry-After": "77"}), Retryable, "wait"),
        (FakeCloudFault("/login", status=503), Retryable, "503"),
        (FakeCloudFault("/login", reset=True), Retryable, "broke the connection"),
        (FakeCloudFault("/page", status=403, body=b"x"), Retryable, "firewall"),
        (FakeCloudFault("/page", status=502, body=b"x"), Retryable, "502"),
        (FakeCloudFault("/authorize", status=200, body=b"<html>new terms</html>"), SourceChanged, "unexpected page"),
        (FakeCloudFault("/authorize", status=302, headers={"Location": "/accounts/api/connect/authorize"}, times=99), SourceChanged, "too often"),
        (FakeCloudFault("/hop", status=302, headers={"Location": "https://sso.example.org/auth/callback?error=consent_required"}), SourceChanged, "consent_required"),
        (FakeCloudFault("/hop", status=302, headers={"Location": "ftp://example.org/"}), SourceChanged, "unsafe"),
        (FakeCloudFault("/hop", status=302, headers={"Location": "https://[broken"}), SourceChanged, "valid address"),
        (FakeCloudFault("/token", status=400, body=b'{"error": "invalid_client"}'), SourceChanged, "400"),
        (FakeCloudFault("/token", body=b"[]"), SourceChanged, "has changed"),
        (FakeCloudFault("/token", change=lambda granted: {**granted, "access_token": None}), SourceChanged, "access_token"),
        (FakeCloudFault("/token", change=lambda granted: {**granted, "id_token": "a.b.c"}), SourceChanged, "signature"),
        (FakeCloudFault("/jwks", body=b'{"keys": []}'), SourceChanged, "no keys"),
        (FakeCloudFault("/jwks", body=b'{"keys": [{"kid": "k1", "kty": "RSA"}]}'), SourceChanged, "signature"),
        (FakeCloudFault("/jwks", body=b'{"keys": [{"kid": "k2"}]}'), SourceChanged, "does not list"),
        (FakeCloudFault("/jwks", status=500, body=b""), Retryable, "500"),
    ],
    ids=lambda value: f"{value.path[1:]}-{value.status}" if isinstance(value, FakeCloudFault) else None,
)  # fmt: skip
def test_what_goes_wrong_on_the_way_is_told_apart(
    harness: TandemHarness, fault: FakeCloudFault, error: type[Exception], words: str
) -> None:
    harness.cloud.faults.append(fault)
    with pytest.raises(error, match=words) as caught:
        harness.poll()
    assert type(caught.value).__mro__.index(error) <= 2
    assert harness.cloud.count("/login") <= 1
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, b""),
        (401, b"<html>401 Unauthorized</html>"),
        (401, b'{"message": "Unauthorized"}'),
        (200, b'{"status": 500, "error": "Internal Server Error"}'),
        (200, b'{"status": "ERROR", "accountLocked": false, "mfaRequired": false}'),
        (429, b'{"message": "too many login attempts"}'),
    ],
)
def test_unclear_login_is_retried_rarely(harness: TandemHarness, status: int, body: bytes) -> None:
    """A login that fails for no known reason does not stop the source, nor lock the account: the wait grows to four hours."""
    harness.cloud.faults.append(FakeCloudFault("/login", status=status, body=body))
    with pytest.raises(Retryable) as caught:
        harness.poll()
    asked_for = caught.value.after_s
    waits = [backoff_s(tries, after_s=asked_for, rng=random.Random(1)) / 3600 for tries in (1, 2, 3, 4, 5)]
    assert min(waits) >= 0.5
    assert sum(waits) > 11
    assert not isinstance(caught.value, SourceChanged)  # its wait does not grow
    harness.poll()
    assert harness.log.of("window.fetched") != []


def test_success_in_any_case_is_one(harness: TandemHarness) -> None:
    harness.cloud.faults.append(FakeCloudFault("/login", change=lambda found: {**found, "status": "success"}))
    harness.poll()
    assert harness.log.of("window.fetched") != []


def test_a_token_signed_by_someone_else_is_not_taken(harness: TandemHarness) -> None:
    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa

    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = {"iss": harness.cloud.endpoints.issuer, "pumperId": PUMPER}
    forged = jwt.encode(claims, stranger, algorithm="RS256", headers={"kid": "k1"})
    harness.cloud.faults.append(FakeCloudFault("/token", change=lambda granted: {**granted, "id_token": forged}))
    with pytest.raises(SourceChanged, match="signature"):
        harness.poll()
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": "k1"})
    harness.cloud.faults.append(FakeCloudFault("/token", change=lambda granted: {**granted, "id_token": unsigned}))
    with pytest.raises(SourceChanged, match="signature"):
        harness.poll()


def test_a_token_of_another_issuer_is_not_taken(harness: TandemHarness) -> None:
    harness.cloud.issuer = "https://elsewhere.example.org"
    with pytest.raises(SourceChanged, match="not issued by"):
        harness.poll()


def test_another_audience_is_a_warning(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    harness.cloud.audience = "somebody-new"
    harness.poll()
    assert "id_token_audience" in caplog.text


@pytest.mark.parametrize(("off_s", "good"), [(-290, True), (-310, False), (290, True), (310, False)])
def test_the_id_token_has_five_minutes_of_leeway(harness: TandemHarness, off_s: int, good: bool) -> None:
    now = harness.clock.now()
    if off_s < 0:
        harness.cloud.claims = {"exp": (now + timedelta(seconds=off_s)).timestamp()}
    else:
        harness.cloud.claims = {"nbf": (now + timedelta(seconds=off_s)).timestamp()}
    if good:
        harness.poll()
    else:
        with pytest.raises(SourceChanged, match="not valid at"):
            harness.poll()


def test_an_account_without_a_pump_wearer_is_told(harness: TandemHarness) -> None:
    harness.cloud.claims = {"pumperId": None}
    with pytest.raises(SourceChanged, match="pumperId"):
        harness.poll()


@pytest.mark.parametrize("told", [None, "soon", -5, True, 1e300])
def test_a_life_that_is_not_told_is_the_id_tokens(harness: TandemHarness, told: object) -> None:
    harness.cloud.expires_in = told
    harness.poll()
    harness.clock.advance(minutes=50)
    harness.poll()
    assert harness.cloud.count("/login") == 1
    harness.clock.advance(minutes=6)
    harness.poll()
    assert harness.cloud.count("/login") == 2


@pytest.mark.parametrize(("off_s", "words"), [(600, "behind"), (-600, "ahead of")])
def test_wrong_host_clock_saves_password(harness: TandemHarness, off_s: float, words: str) -> None:
    """If the host's clock is wrong, the login stops before the password is sent a second time."""
    harness.cloud.date_off_s = off_s
    with pytest.raises(Retryable, match=f"this computer's clock .* {words}") as caught:
        harness.poll()
    assert "timedatectl" in (caught.value.remedy or "")
    assert harness.cloud.count("/token") == 0
    if off_s > 0:
        assert harness.cloud.count("/login") == 0


def test_wrong_host_clock_with_kept_token(harness: TandemHarness) -> None:
    """A wrong host clock is noticed with a kept token, too."""
    harness.poll()
    harness.cloud.date_off_s = 400
    with pytest.raises(Retryable, match="this computer's clock"):
        harness.poll()
    harness.cloud.date_off_s = 200
    harness.cloud.pumps[0].records = [basal(1, "2026-11-20T00:00:00")]
    harness.cloud.pumps[0].uploaded = "2026-11-20T11:59:00Z"
    harness.poll()
    assert harness.log.numbered() == [1]


def test_nothing_secret_shows(harness: TandemHarness, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="tconnectsync")
    source = harness.source(password=Secret(PASSWORD))
    harness.poll(source)
    shown = caplog.text + repr(source) + repr(source.account) + repr(harness.log.events)
    for secret in (PASSWORD, PUMPER, EMAIL.split("@")[0], *harness.cloud.tokens, "Ada", "1990-01-01"):
        assert secret not in shown, secret


def test_sessions_and_cookies(harness: TandemHarness) -> None:
    """Sessions are closed, and a login has its own cookies."""
    harness.poll()
    data = [headers for headers in harness.cloud.headers_seen if "authorization" in headers]
    assert all("cookie" not in headers for headers in data)
    assert all("Mozilla" in headers["user-agent"] for headers in harness.cloud.headers_seen)
