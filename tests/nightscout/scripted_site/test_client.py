"""The client: secrets, errors, time-outs, connections and the site's status."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync import CredentialsRefused, HttpLimits, Rejected, Retryable, Secret, TconnectsyncError
from tconnectsync_nightscout.api import client as client_module
from tconnectsync_nightscout.api.address import SiteStatus, is_exposed, read_status, site_url
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tests.nightscout.stub_site import NOW, SECRET, StubFault, StubSite, running
from tests.support.clocks import FakeClock

FIND = [("created_at[$gte]", "2026-01-01T00:00:00.000Z")]
NOTE = {"eventType": "Note", "created_at": "2026-02-01T00:00:00.000Z", "identifier": "an-identifier"}


@pytest.fixture
def client(site: StubSite, clock: FakeClock) -> Iterator[NightscoutClient]:
    """A client of the site, with its secret."""
    made = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock)
    yield made
    made.close()


def read(client: NightscoutClient) -> list[dict[str, object]]:
    return client.read("treatments", FIND, count=10)


def create(client: NightscoutClient) -> list[dict[str, object]]:
    return client.create("treatments", [NOTE])


# --- who we are -----------------------------------------------------------------------------------------------------


def test_secret_in_header_only(site: StubSite, client: NightscoutClient) -> None:
    """A secret is sent as lower-case SHA-1 in the header and never in the URL."""
    create(client)
    read(client)
    digest = hashlib.sha1(SECRET.encode()).hexdigest()
    assert {request.headers["api-secret"] for request in site.requests} == {digest}
    assert not any(digest in request.target or "secret" in request.target for request in site.requests)
    assert not any("Authorization" in request.headers for request in site.requests)


def test_token_unchanged() -> None:
    """A token is sent as it is."""
    assert header_of(None, Secret("pump-0123456789abcdef")).reveal() == "pump-0123456789abcdef"


def test_netrc_ignored(
    site: StubSite, client: NightscoutClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A netrc file adds no second credential."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    read(client)
    assert "Authorization" not in site.requests[-1].headers


def test_secret_not_shown(site: StubSite, client: NightscoutClient) -> None:
    """No secret shows in representations or errors."""
    site.accepts = lambda key: False
    with pytest.raises(CredentialsRefused) as refused:
        read(client)
    words = f"{client!r} {vars(client)!r} {refused.value!r} {refused.value} {refused.value.remedy}"
    assert SECRET not in words
    assert hashlib.sha1(SECRET.encode()).hexdigest() not in words


def test_refused_secret_waits_a_minute(site: StubSite, client: NightscoutClient, clock: FakeClock) -> None:
    """A refused secret is sent once and again only after a minute."""
    site.accepts = lambda key: False
    for times in range(5):
        with pytest.raises(CredentialsRefused, match="401") as refused:
            create(client)
        assert refused.value.asked == (times == 0)
    assert len(site.requests) == 1
    site.accepts = lambda key: True
    clock.advance(seconds=61)
    assert len(create(client)) == 1


# --- what answers mean ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (400, Rejected, "cannot read"),
        (403, Retryable, "forbids"),
        (404, Retryable, "no way to write"),
        (405, Retryable, "no way to write"),
        (413, Rejected, "too large"),
        (429, Retryable, "fewer requests"),
        (451, Retryable, "451"),
        (500, Retryable, "failed"),
        (503, Retryable, "failed"),
    ],
)
def test_status_decides(
    site: StubSite, client: NightscoutClient, status: int, error: type[TconnectsyncError], words: str
) -> None:
    """An HTTP status decides what follows."""
    site.fail("POST", "treatments", StubFault(status=status))
    with pytest.raises(error, match=words):
        create(client)
    assert len(site.requests_of("POST")) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refused_read(site: StubSite, client: NightscoutClient, status: int) -> None:
    """A refused read sets no document aside.

    A proxy's page for a read is temporary trouble: the doses that wait behind it are not set aside.
    """
    site.fail("GET", "treatments", StubFault(status=status))
    with pytest.raises(Retryable):
        client.read("treatments", [], count=1)


def test_write_without_careportal(site: StubSite, client: NightscoutClient) -> None:
    """If a site knows no way to write, the message asks to enable careportal."""
    site.fail("POST", "treatments", StubFault(status=404))
    with pytest.raises(Retryable) as told:
        create(client)
    assert "careportal" in (told.value.remedy or "")


@pytest.mark.parametrize(
    ("status", "in_doubt"), [(500, True), (502, True), (503, True), (504, True), (429, False), (404, False)]
)
def test_failed_write_in_doubt(site: StubSite, client: NightscoutClient, status: int, in_doubt: bool) -> None:
    """A failed write says whether it may have happened."""
    site.fail("POST", "treatments", StubFault(status=status))
    with pytest.raises(Retryable) as told:
        create(client)
    assert told.value.in_doubt is in_doubt


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("120", 120.0),
        ((NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 90.0),
        ((NOW - timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 0.0),
        ("86400", 4 * 3600.0),
        ("99999999", 4 * 3600.0),
        ("soon", None),
    ],
)
def test_retry_after(
    site: StubSite, client: NightscoutClient, clock: FakeClock, header: str, wait_s: float | None
) -> None:
    """``Retry-After`` is honoured as seconds or as a date."""
    clock.still = True
    site.fail("GET", "treatments", StubFault(status=503, headers={"Retry-After": header}))
    with pytest.raises(Retryable) as told:
        read(client)
    assert told.value.after_s == wait_s


@pytest.mark.parametrize("body", [b"null", b'{"status": 500}', b'"text"', b"[1, 2]"])
def test_read_answer_not_a_list(site: StubSite, client: NightscoutClient, body: bytes) -> None:
    """An answer that is no list of documents is an error and never counts as "none"."""
    site.fail("GET", "treatments", StubFault(status=200, body=body))
    with pytest.raises(Retryable, match="instead of a list"):
        read(client)


def test_create_answer_not_a_list(site: StubSite, client: NightscoutClient) -> None:
    """If the answer to a create is no list, the result is in doubt."""
    site.fail("POST", "treatments", StubFault(status=200, body=b"null"))
    with pytest.raises(Retryable) as told:
        create(client)
    assert told.value.in_doubt


@pytest.mark.parametrize("body", [b"null", b"[]", b'"gone"'])
def test_delete_answer_not_nightscouts(site: StubSite, client: NightscoutClient, body: bytes) -> None:
    """An answer to a delete that is not the site's is an error.

    Something in between said it: the document is still there.
    """
    site.fail("DELETE", "treatments", StubFault(status=200, body=body))
    with pytest.raises(Retryable) as told:
        client.delete("treatments", "0123456789abcdef01234567")
    assert told.value.in_doubt


def test_web_page_with_200(site: StubSite, client: NightscoutClient) -> None:
    """A web page with status 200 is named as that."""
    page = StubFault(status=200, body=b"<html>sleeping</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    site.fail("POST", "treatments", page)
    with pytest.raises(Retryable, match="text/html") as told:
        create(client)
    assert told.value.in_doubt
    site.fail("DELETE", "treatments", page)
    with pytest.raises(Retryable, match="text/html"):
        client.delete("treatments", "0" * 24)


def test_redirect_without_secret(site: StubSite, client: NightscoutClient) -> None:
    """A redirect is reported, and the secret is not carried along."""
    with running(StubSite()) as elsewhere:
        site.fail(
            "POST",
            "treatments",
            StubFault(status=301, headers={"Location": elsewhere.url + "api/v1/treatments?token=x"}),
        )
        with pytest.raises(Retryable, match=r"redirects to http://127\.0\.0\.1") as told:
            create(client)
        assert elsewhere.requests == []
    assert "token" not in str(told.value)
    assert "nightscout.url" in (told.value.remedy or "")


@pytest.mark.parametrize("location", ["http://[", "//[", "http://a..b/", "\x00", "x" * 5000])
def test_redirect_to_no_address(site: StubSite, client: NightscoutClient, location: str) -> None:
    """A redirect to no address is reported like any other."""
    site.fail("POST", "treatments", StubFault(status=302, headers={"Location": location}))
    with pytest.raises(Retryable, match="redirects") as told:
        create(client)
    assert "nightscout.url" in (told.value.remedy or "")


@pytest.mark.parametrize("token", ["uploader–0123456789abcdef", "uploader-0123\u200b", " uploader-01", "uploader-01\n"])
def test_token_not_for_a_header(site: StubSite, clock: FakeClock, token: str) -> None:
    """A token that no header can carry is reported and not shown."""
    client = NightscoutClient(url=site.url, key=header_of(None, Secret(token)), clock=clock)
    with pytest.raises(Retryable, match="api-secret") as told:
        create(client)
    client.close()
    assert "nightscout.token" in (told.value.remedy or "")
    assert token not in f"{told.value} {told.value.remedy}"
    assert site.requests == []


# --- connections ----------------------------------------------------------------------------------------------------


def test_site_not_there(clock: FakeClock) -> None:
    """A request to a site that is not there is not in doubt."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        client = NightscoutClient(
            url=f"http://127.0.0.1:{taken.getsockname()[1]}/", key=header_of(Secret(SECRET), None), clock=clock
        )
        with pytest.raises(Retryable, match="cannot be reached") as told:
            create(client)
    client.close()
    assert not told.value.in_doubt


def test_broken_read_or_delete_repeated(site: StubSite, client: NightscoutClient) -> None:
    """A read or delete whose connection breaks is repeated once."""
    held = site.add("treatments", **NOTE)
    site.fail("GET", "treatments", StubFault(broken="before"))
    assert [item["_id"] for item in read(client)] == [held["_id"]]
    site.fail("DELETE", "treatments", StubFault(broken="after"))
    client.delete("treatments", str(held["_id"]))
    assert site.receiver_key["treatments"] == []
    site.fail("GET", "treatments", StubFault(broken="before"), times=3)
    with pytest.raises(Retryable, match="broke the connection") as told:
        read(client)
    assert not told.value.in_doubt
    assert len(site.faults) == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_broken_write_not_repeated(site: StubSite, client: NightscoutClient, when: str) -> None:
    """A write whose connection breaks is never repeated by the client."""
    site.fail("POST", "treatments", StubFault(broken=when))
    with pytest.raises(Retryable) as told:
        create(client)
    assert told.value.in_doubt
    assert len(site.requests_of("POST")) == 1


def test_write_times_out(site: StubSite, client: NightscoutClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is not answered in time is in doubt."""
    monkeypatch.setattr(client_module, "LIMITS", HttpLimits(silence_s=0.05))
    site.fail("POST", "treatments", StubFault(hang_s=0.2))
    with pytest.raises(Retryable, match="in time") as told:
        create(client)
    assert told.value.in_doubt


def test_read_times_out(site: StubSite, client: NightscoutClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that is not answered in time is not repeated at once."""
    monkeypatch.setattr(client_module, "LIMITS", HttpLimits(silence_s=0.05))
    site.fail("GET", "treatments", StubFault(hang_s=0.2))
    with pytest.raises(Retryable, match="in time"):
        read(client)
    assert len(site.requests_of("GET")) == 1


def test_endless_answer(site: StubSite, client: NightscoutClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer without an end is given up."""
    monkeypatch.setattr(client_module, "LIMITS", HttpLimits(most_bytes=100))
    site.fail("GET", "treatments", StubFault(status=200, body=b"[" + b" " * 200 + b"]"))
    with pytest.raises(Retryable, match="too large"):
        read(client)


def test_idle_connection(site: StubSite, client: NightscoutClient, clock: FakeClock) -> None:
    """An idle connection is not used again."""
    read(client)
    read(client)
    clock.advance(seconds=5)
    create(client)
    first, second, third = (request.connection for request in site.requests)
    assert first == second != third


def test_body_compression(site: StubSite, client: NightscoutClient) -> None:
    """Large bodies are sent compressed, small ones plain."""
    create(client)
    client.create("treatments", [{**NOTE, "notes": "x" * 20000, "created_at": "2026-02-01T00:00:01.000Z"}])
    small, large = site.requests_of("POST")
    assert "Content-Encoding" not in small.headers
    assert large.headers["Content-Encoding"] == "gzip"
    assert json.loads(large.raw)[0]["notes"] == "x" * 20000


def test_query_dates_encoded(site: StubSite, client: NightscoutClient) -> None:
    """Dates in queries are encoded."""
    read(client)
    assert "find%5Bcreated_at%5D%5B%24gte%5D=2026-01-01T00%3A00%3A00.000Z" in site.requests[-1].target


@pytest.mark.parametrize("mongo_id", ["*", "", "abc", "../treatments", "0" * 23, "0" * 24 + "?find[x]=y"])
def test_delete_one_document_only(site: StubSite, client: NightscoutClient, mongo_id: str) -> None:
    """Only a single document can be deleted."""
    with pytest.raises(ValueError, match="_id"):
        client.delete("treatments", mongo_id)
    assert site.requests == []


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def self_signed(tmp_path: Path) -> Callable[[socket.socket], socket.socket]:
    """A certificate that nobody signed, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(timezone.utc) - timedelta(days=1))
        .not_valid_after(datetime.now(timezone.utc) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "site.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return lambda plain: context.wrap_socket(plain, server_side=True)


def test_certificate_verified(
    clock: FakeClock, self_signed: Callable[[socket.socket], socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate is verified unless that is turned off."""
    with running(StubSite(), wrap=self_signed) as site:
        strict = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock)
        with pytest.raises(Retryable, match="certificate") as told:
            create(strict)
        strict.close()
        assert not told.value.in_doubt
        assert "verify_tls" in (told.value.remedy or "")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/at/all.pem")
        trusting = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock, verify_tls=False)
        assert len(create(trusting)) == 1
        trusting.close()


# --- the site -------------------------------------------------------------------------------------------------------


def test_status_asked_hourly(site: StubSite, client: NightscoutClient, clock: FakeClock) -> None:
    """The status is asked hourly and after errors."""
    assert client.status().version == "15.0.7"
    site.version = "15.0.6"
    assert client.status().version == "15.0.7"
    clock.advance(seconds=3601)
    assert client.status().version == "15.0.6"
    site.version = "15.0.7"
    site.fail("GET", "treatments", StubFault(status=500))
    with pytest.raises(Retryable):
        read(client)
    assert client.status().version == "15.0.7"
    assert len(site.requests_of("GET", "status")) == 3


@pytest.mark.parametrize("body", [b"null", b"[]", b'{"hello": 1}'])
def test_status_not_nightscouts(site: StubSite, client: NightscoutClient, body: bytes) -> None:
    """A status that is not Nightscout's is an error."""
    site.fail("GET", "status", StubFault(status=200, body=body))
    with pytest.raises(Retryable, match="of a Nightscout site"):
        client.status()


def test_clock_compared(site: StubSite, client: NightscoutClient, clock: FakeClock) -> None:
    """The computer's clock is compared with the site's."""
    clock.still = True
    site.date = (NOW - timedelta(minutes=10)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    read(client)
    assert client.clock_ahead_s == 600.0


@pytest.mark.parametrize(
    ("version", "keyed"),
    [
        ("15.0.7", True),
        ("15.0.8-dev-20260601", True),
        ("15.1.0", True),
        ("16.0.0", True),
        ("15.0.7-dev", False),
        ("15.0.6", False),
        ("14.2.6", False),
        ("0.12.8", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_version_decides_identity(version: str, keyed: bool) -> None:
    """The version decides what identifies a treatment."""
    assert SiteStatus(version=version).identifier_is_key is keyed


def test_odd_status() -> None:
    """A status with odd parts is read as far as possible."""
    assert read_status({"version": 15, "settings": None}) == SiteStatus(version="15")
    assert read_status({"settings": {"enable": ["iob"], "units": "mmol"}}).careportal is False


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://My-Site.example", "https://my-site.example/"),
        (" https://site.example/ ", "https://site.example/"),
        ("http://localhost:1337", "http://localhost:1337/"),
        ("https://site.example/child/", "https://site.example/child/"),
        ("https://site.example/api/v1", "https://site.example/"),
        ("https://site.example/child/api/v1/treatments.json", "https://site.example/child/"),
        ("http://[::1]:1337", "http://[::1]:1337/"),
    ],
)
def test_address_form(text: str, url: str) -> None:
    """An address has one form."""
    assert site_url(text) == url


@pytest.mark.parametrize(
    "text",
    ["", "site.example", "ftp://site.example", "https://", "https://me:word@site.example", "https://s.example/?token=word",
     "https://s.example/#word", "https://s.example:port/", "https://https://word.example", "https:// word.example",
     "https://word..example/", f"https://{'word' * 16}.example/", "https://[", "https://word.example/a b"],
)  # fmt: skip
def test_impossible_address(text: str) -> None:
    """An impossible address is refused, and the message does not repeat it."""
    with pytest.raises(ValueError, match=r"expected|must") as told:
        site_url(text)
    assert "word" not in str(told.value).replace("password", "")


@pytest.mark.parametrize(
    ("url", "exposed"),
    [
        ("https://site.example/", False),
        ("http://site.example/", True),
        ("http://8.8.8.8/", True),
        ("http://192.168.1.2:1337/", False),
        ("http://127.0.0.1/", False),
        ("http://[::1]/", False),
        ("http://raspberry/", False),
        ("http://raspberry.local/", False),
    ],
)
def test_unencrypted_address(url: str, exposed: bool) -> None:
    """An unencrypted address outside the own network is reported as exposed."""
    assert is_exposed(url) is exposed
