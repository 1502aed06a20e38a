"""Connections of the client: broken, slow, endless, idle, and TLS."""

from __future__ import annotations

import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tconnectsync import HttpLimits, Retryable, Secret
from tconnectsync_nightscout.api import client as client_module
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tests.e2e.installation import eventually
from tests.nightscout.scripted_site.requests_to_site import NOTE, create, read
from tests.nightscout.stub_site import SECRET, StubFault, StubSite, running
from tests.support.clocks import FakeClock


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


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[StubFault]:
    """A request that is not answered before the test ends. The client waits for a moment only."""
    monkeypatch.setattr(client_module, "LIMITS", HttpLimits(silence_s=0.05))
    ended = threading.Event()
    yield StubFault(hangs_until=ended)
    ended.set()


def test_write_times_out(site: StubSite, client: NightscoutClient, hanging: StubFault) -> None:
    """A write that is not answered in time is in doubt."""
    site.fail("POST", "treatments", hanging)
    with pytest.raises(Retryable, match="in time") as told:
        create(client)
    assert told.value.in_doubt


def test_read_times_out(
    site: StubSite, client: NightscoutClient, hanging: StubFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that is not answered in time is not repeated at once."""
    site.fail("GET", "treatments", hanging, times=2)
    with pytest.raises(Retryable, match="in time"):
        read(client)
    eventually(lambda: bool(site.requests_of("GET")), "the request at the site")
    site.faults.clear()
    monkeypatch.setattr(client_module, "LIMITS", HttpLimits())
    read(client)
    assert len(site.requests_of("GET")) == 2, "one that was not answered, and the next one"


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
