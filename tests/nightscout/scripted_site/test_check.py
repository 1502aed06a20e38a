"""``check``: rights found out by trying them, with a document that is never left behind."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tconnectsync import CheckResult, Context, CredentialsRefused, Secret, document_id
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tconnectsync_nightscout.options import NightscoutOptions
from tconnectsync_nightscout.sinks import Sites
from tests.nightscout.stub_site import NOW, SECRET, StubFault, StubSite
from tests.support.clocks import FakeClock

COLLECTIONS = ("treatments", "activity", "devicestatus")


def findings(site: StubSite, *, token: str | None = None, url: str | None = None) -> list[CheckResult]:
    key = header_of(Secret(SECRET), None if token is None else Secret(token))
    client = NightscoutClient(url=url or site.url, key=key, clock=FakeClock(NOW))
    found = list(NightscoutReceiver(client, sink="nightscout-treatments", collections=COLLECTIONS).check())
    client.close()
    return found


def bad(site: StubSite, *, token: str | None = None) -> list[CheckResult]:
    return [finding for finding in findings(site, token=token) if not finding.good]


@pytest.mark.parametrize("version", ["15.0.6", "15.0.7"])
def test_check_good_site(site: StubSite, version: str) -> None:
    """A good site is reported with version, units and rights."""
    site.version = version
    found = findings(site)
    assert all(finding.good and finding.remedy is None for finding in found)
    words = "\n".join(finding.what for finding in found)
    assert f"Nightscout {version} at {site.url}, units mg/dl" in words
    for collection in COLLECTIONS:
        assert f"{collection}: may create, read and delete" in words
        assert site.receiver_key[collection] == []


def test_check_leaves_no_trace(site: StubSite) -> None:
    """Nothing of the check can be seen while it runs."""
    findings(site)
    posted = [request.raw.decode() for request in site.requests_of("POST")]
    assert len(posted) == 3
    assert all('"created_at":"2001-02-03T04:05:06.000Z"' in body for body in posted)


def test_check_removes_earlier_trial(site: StubSite) -> None:
    """A document that an earlier check left is removed; other programs' documents are not."""
    stamp = "2001-02-03T04:05:06.000Z"
    site.add("treatments", created_at=stamp, eventType="Note", identifier=document_id("check", "treatments"))
    other = site.add("treatments", created_at="2001-02-03T04:05:07.000Z", eventType="Note", notes="a person's")
    assert bad(site) == []
    assert site.receiver_key["treatments"] == [other]


def test_check_small_requests_only(site: StubSite) -> None:
    """A site that takes small requests only is reported.

    As large as a full batch of treatments; nothing of it stays.
    """
    for fault in (StubFault(status=413), StubFault(status=503), StubFault(broken="before"), StubFault(broken="after")):
        site.judge = lambda request, fault=fault: fault if len(request.raw) > 100_000 else None
        (finding,) = bad(site)
        assert "treatments: small requests work" in finding.what
        assert "client_max_body_size" in (finding.remedy or "")
        assert site.receiver_key["treatments"] == []
    site.judge = lambda request: StubFault(status=415) if "Content-Encoding" in request.headers else None
    assert bad(site) == []
    assert "sent uncompressed" in "\n".join(finding.what for finding in findings(site))


def test_check_trial_size(site: StubSite) -> None:
    """The trial is as large as a full batch, plain and compressed."""
    findings(site)
    largest = max(site.requests_of("POST"), key=lambda request: len(request.raw))
    assert 120_000 < len(largest.raw) < 250_000
    assert 15_000 < int(largest.headers["Content-Length"]) < 60_000


def test_check_cleans_by_site_id(site: StubSite) -> None:
    """A site that keeps no identifier of ours is cleaned by its own ids."""
    site._store = lambda collection, document: (  # type: ignore[method-assign]
        site.add(collection, **{name: value for name, value in document.items() if name != "identifier"})
    )
    assert bad(site) == []
    assert all(site.receiver_key[collection] == [] for collection in COLLECTIONS)


def test_check_wrong_secret_once(site: StubSite) -> None:
    """A wrong secret is sent once."""
    site.accepts = lambda key: False
    (finding,) = bad(site)
    assert "refused the secret" in finding.what
    assert "NS_SECRET" in (finding.remedy or "")
    assert len(site.requests) == 1


@pytest.mark.parametrize(
    ("secret", "told"),
    [("0123456789abcdef0123456789abcdef01234567", "SHA-1"), ("site\u2013secret-1234", "word processor")],
)
def test_check_explains_refused_secret(site: StubSite, secret: str, told: str) -> None:
    """The message says what may be wrong with a refused secret."""
    site.accepts = lambda key: False
    options = NightscoutOptions(url=site.url, api_secret=Secret(secret))
    client = Sites().client_of(
        options, Context(clock=FakeClock(NOW), folder=Path(), version="4", sections={}, zone_of=str)
    )
    for _ in range(2):
        with pytest.raises(CredentialsRefused) as refused:
            client.status()
        assert told in (refused.value.remedy or "")
        assert secret not in f"{refused.value.message} {refused.value.remedy}"
    client.close()


def test_check_login_of_proxy(site: StubSite) -> None:
    """A proxy's own login is not called a wrong secret."""
    site.fail("GET", "status.json", StubFault(status=401, headers={"WWW-Authenticate": 'Basic realm="Home"'}, body=b""))
    (finding,) = bad(site)
    assert "in front of" in finding.what
    assert "refused the secret" not in finding.what
    assert "proxy" in (finding.remedy or "")


def test_check_wrong_secret_on_public_site(site: StubSite) -> None:
    """A wrong secret on a site that everybody may read is found by writing."""
    site.allows = lambda method, collection: method == "GET"
    (finding,) = bad(site)
    assert "treatments: may not create" in finding.what
    assert "NS_SECRET" in (finding.remedy or "")
    assert len(site.requests_of("POST")) == 1


@pytest.mark.parametrize(("method", "right"), [("GET", "read"), ("POST", "create"), ("DELETE", "delete")])
def test_check_token_lacks_right(site: StubSite, method: str, right: str) -> None:
    """The message names the right that a token lacks."""
    site.allows = lambda asked, collection: (asked, collection) != (method, "activity")
    (finding,) = bad(site, token="pump-0123456789abcdef")
    assert f"activity: may not {right}" in finding.what
    assert "api:activity:create" in (finding.remedy or "")
    assert ("may remain" in finding.what) is (right == "delete")
    assert len(findings(site, token="pump-0123456789abcdef")) == 4


def test_check_missing_careportal(site: StubSite) -> None:
    """A missing careportal is reported."""
    site.enabled.remove("careportal")
    site.fail("POST", "", StubFault(status=404), times=3)
    first, *others = bad(site)
    assert "careportal" in first.what
    assert "ENABLE" in (first.remedy or "")
    assert len(others) == 3


def test_check_document_vanishes(site: StubSite) -> None:
    """A document that vanishes is reported."""
    site.forgets = lambda document: "activityType" in document
    (finding,) = bad(site)
    assert "activity" in finding.what
    assert "document is missing" in finding.what


def test_check_lost_answer(site: StubSite) -> None:
    """The document is removed even if the answer was lost."""
    site.fail("POST", "treatments", StubFault(broken="after"))
    (finding,) = bad(site)
    assert "may remain" not in finding.what
    assert site.receiver_key["treatments"] == []


def test_check_cannot_remove(site: StubSite) -> None:
    """A document that cannot be removed is named."""
    site.fail("DELETE", "treatments", StubFault(status=500), times=2)
    (finding,) = bad(site)
    assert "2001-02-03T04:05:06.000Z, may remain there" in finding.what


@pytest.mark.parametrize(("minutes_off", "words"), [(10, "600 s behind"), (-10, "600 s ahead of")])
def test_check_clock_off(site: StubSite, minutes_off: int, words: str) -> None:
    """A clock that is off is reported."""
    site.date = (NOW + timedelta(minutes=minutes_off)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    (finding,) = bad(site)
    assert words in finding.what
    assert "timedatectl" in (finding.remedy or "")


def test_check_no_answer(site: StubSite) -> None:
    """A site that does not answer is one finding."""
    site.fail("GET", "status", StubFault(status=502))
    (finding,) = findings(site)
    assert not finding.good
    assert site.url in (finding.remedy or "")


def test_check_unsafe_connection() -> None:
    """An unencrypted or unverified connection is reported."""
    clock = FakeClock(NOW)
    for url, verify_tls, words in (
        ("http://site.invalid/", True, "not encrypted"),
        ("https://site.invalid/", False, "not verified"),
    ):
        client = NightscoutClient(url=url, key=header_of(Secret(SECRET), None), clock=clock, verify_tls=verify_tls)
        first = next(NightscoutReceiver(client, sink="x", collections=COLLECTIONS).check())
        client.close()
        assert not first.good
        assert words in first.what
        assert first.remedy
