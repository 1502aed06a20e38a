"""What the client makes of an answer: an error, a list, a page that is not Nightscout's."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tconnectsync import Rejected, Retryable, TconnectsyncError
from tconnectsync_nightscout.api.client import NightscoutClient
from tests.nightscout.scripted_site.requests_to_site import create, read
from tests.nightscout.stub_site import NOW, StubFault, StubSite
from tests.support.clocks import FakeClock


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


def test_forbidden_delete(site: StubSite, client: NightscoutClient) -> None:
    """A firewall that forbids DELETE is named: careportal is on, because posting works."""
    site.fail("DELETE", "treatments", StubFault(status=405))
    with pytest.raises(Retryable, match="DELETE") as told:
        client.delete("treatments", f"{1:024x}")
    assert "firewall" in (told.value.remedy or "")
    assert "careportal" not in (told.value.remedy or "")


def test_quoted_document_is_not_shown(site: StubSite, client: NightscoutClient) -> None:
    """A database that quotes the document it refuses: its words are shown, the person's data is not."""
    words = 'Mongo Error: not authorized to execute command { insert: "activity", documents: [ { iob: 5.486, serial: "90556643" } ] }'
    site.fail("POST", "treatments", StubFault(status=500, body=json.dumps({"status": 500, "message": words}).encode()))
    with pytest.raises(Retryable, match="not authorized to execute command") as told:
        create(client)
    assert "90556643" not in told.value.message
    assert "5.486" not in told.value.message


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


@pytest.mark.parametrize(
    "body", [b'[{"sgv": NaN}]', b'[{"sgv": 1e400}]', b'\xef\xbb\xbf[{"sgv": 1}]', b'[{"notes": "\\ud800"}]']
)
def test_answer_of_a_tolerant_site(site: StubSite, client: NightscoutClient, body: bytes) -> None:
    """JSON that only a tolerant parser reads is an answer, because other programs can have written what a site holds."""
    site.fail("GET", "treatments", StubFault(status=200, body=body))
    assert len(read(client)) == 1
