"""The site's status and address: version, clock, encryption."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tconnectsync import Retryable
from tconnectsync_nightscout.api.address import SiteStatus, is_exposed, read_status, site_url
from tconnectsync_nightscout.api.client import NightscoutClient
from tests.nightscout.scripted_site.requests_to_site import read
from tests.nightscout.stub_site import NOW, StubFault, StubSite
from tests.support.clocks import FakeClock


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
