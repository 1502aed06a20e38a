"""The client's secrets: where they are sent, and where never."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tconnectsync import CredentialsRefused, Retryable, Secret
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tests.nightscout.scripted_site.requests_to_site import create, read
from tests.nightscout.stub_site import SECRET, StubFault, StubSite, running
from tests.support.clocks import FakeClock


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
