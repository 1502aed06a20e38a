"""Sites behind proxies that bound a request's size or time, that take nothing compressed, or whose database is full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tconnectsync import Rejected, Retryable, Secret
from tconnectsync.outbox import Outbox
from tconnectsync.outbox.sender import Sender
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.api.error_text import LONGEST
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import minutes, put, taken
from tests.nightscout.stub_site import NOW, SECRET, StubFault, StubRequest, StubSite
from tests.support.clocks import FakeClock

SINK = "nightscout-treatments"
BACKLOG = 700
SMALL, LARGE = 5_000, 60_000
GZIP = "Content-Encoding"


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    """An empty outbox."""
    outbox = Outbox(tmp_path / "sink.sqlite")
    yield outbox
    outbox.close()


def receiver_of(site: StubSite, clock: FakeClock) -> NightscoutReceiver:
    client = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock)
    return NightscoutReceiver(client, sink=SINK, collections=("treatments",))


def fill(outbox: Outbox, first: int = 0, count: int = BACKLOG) -> None:
    with outbox.transaction():
        for number in range(first, first + count):
            document = put(number, minutes(-number), notes=f"{number * 7919:x}" * 20).document
            assert document is not None
            outbox.documents.upsert(document, "fold", "1:0", 0)


def drain(sender: Sender, clock: FakeClock) -> None:
    while sender.send_next(clock.now()):
        pass


def deliver(outbox: Outbox, site: StubSite, clock: FakeClock, *, rounds: int = 60) -> int:
    """Act as a daemon does, with another process for each round; return the number of rounds."""
    for number in range(rounds):
        clock.advance(seconds=60)
        receiver = receiver_of(site, clock)
        sender = Sender(outbox, receiver)
        try:
            drain(sender, clock)
        except Retryable:
            continue
        finally:
            receiver.client.close()
        if not outbox.queue.waiting(clock.now()):
            return number + 1
    raise AssertionError(f"{outbox.queue.waiting(clock.now())} documents still wait")


def wire_bytes(request: StubRequest) -> int:
    return int(request.headers.get("Content-Length", "0"))


def over(most: int, fault: StubFault) -> Callable[[StubRequest], StubFault | None]:
    return lambda request: fault if request.method == "POST" and wire_bytes(request) > most else None


FAULTS = {
    **{str(status): StubFault(status=status) for status in (403, 406, 408, 413, 415, 501, 502, 503, 504, 524)},
    "reset": StubFault(broken="before"),
    "done, and no answer": StubFault(broken="after"),
    "a page": StubFault(status=200, body=b"<html>", headers={"Content-Type": "text/html"}),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_small_requests_only(site: StubSite, clock: FakeClock, outbox: Outbox, kind: str) -> None:
    """A site that takes small requests only gets everything."""
    site.judge = over(SMALL, FAULTS[kind])
    fill(outbox)
    assert deliver(outbox, site, clock) <= 20
    assert len(site.receiver_key["treatments"]) == BACKLOG
    assert outbox.dead_letters.counts().dead == 0
    site.requests.clear()
    fill(outbox, BACKLOG, 200)
    deliver(outbox, site, clock)
    assert len(site.receiver_key["treatments"]) == BACKLOG + 200
    assert sum(wire_bytes(request) > SMALL for request in site.requests_of("POST")) <= 8, "the size is remembered"


@pytest.mark.parametrize("status", [400, 403, 406, 415, 422, 501])
def test_compressed_refused(site: StubSite, clock: FakeClock, outbox: Outbox, status: int) -> None:
    """A body that is refused compressed is sent plain at once, and so from then on."""
    site.judge = lambda request: StubFault(status=status) if GZIP in request.headers else None
    fill(outbox)
    assert deliver(outbox, site, clock) == 1
    assert len(site.receiver_key["treatments"]) == BACKLOG
    fill(outbox, BACKLOG)
    deliver(outbox, site, clock)
    assert sum(GZIP in request.headers for request in site.requests_of("POST")) == 1
    assert outbox.dead_letters.counts().dead == 0


@pytest.mark.parametrize("fault", [StubFault(broken="before"), StubFault(status=502)], ids=["reset", "502"])
def test_compressed_breaks(site: StubSite, clock: FakeClock, outbox: Outbox, fault: StubFault) -> None:
    """A body that breaks the connection compressed is tried plain."""
    site.judge = lambda request: fault if GZIP in request.headers else None
    fill(outbox)
    assert deliver(outbox, site, clock) <= 3
    assert len(site.receiver_key["treatments"]) == BACKLOG
    fill(outbox, BACKLOG)
    deliver(outbox, site, clock)
    assert sum(GZIP in request.headers for request in site.requests_of("POST")) == 1


def test_compression_after_outage(site: StubSite, clock: FakeClock, outbox: Outbox) -> None:
    """After an outage, bodies are compressed if plain ones are too large.

    What an outage showed about compression is forgotten when it is no longer true.
    """
    down = True
    site.judge = lambda request: (
        StubFault(status=503) if down or (request.method == "POST" and wire_bytes(request) > LARGE) else None
    )
    fill(outbox, count=2 * BACKLOG)
    for _ in range(7):
        receiver = receiver_of(site, clock)
        with pytest.raises(Retryable):
            Sender(outbox, receiver).send_next(clock.now())
        receiver.client.close()
    down = False
    deliver(outbox, site, clock)
    assert len(site.receiver_key["treatments"]) == 2 * BACKLOG
    assert outbox.dead_letters.counts().dead == 0


# --- a full database --------------------------------------------------------------------------------------------------

FULL = b'{"status":500,"message":"Mongo Error","description":"you are over your space quota, using 512 MB of 512 MB"}'


@pytest.mark.parametrize("collection", ["treatments", "activity", "devicestatus"])
def test_full_database_resumes(site: StubSite, clock: FakeClock, outbox: Outbox, collection: str) -> None:
    """A full database that has room again resumes without a command."""
    full = True
    site.judge = lambda request: StubFault(status=500, body=FULL) if full and request.method == "POST" else None
    with outbox.transaction():
        for number in range(60):
            document = put(number, minutes(-number), collection=collection, value=number).document
            assert document is not None
            outbox.documents.upsert(document, "fold", "1:0", 0)
    for _ in range(30):
        clock.advance(seconds=1800)
        receiver = receiver_of(site, clock)
        sender = Sender(outbox, receiver)
        with pytest.raises(Retryable, match="over your space quota") as told:
            drain(sender, clock)
        assert "HTTP 500" in told.value.message
        assert "full" in (told.value.remedy or "")
        assert not sender.is_halted()
        receiver.client.close()
    assert outbox.dead_letters.counts().dead == 0
    assert len(site.requests_of("POST")) < 300
    full = False
    deliver(outbox, site, clock)
    assert len(site.receiver_key[collection]) == 60
    assert outbox.dead_letters.counts().dead == 0


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/json", FULL, "Mongo Error: you are over your space quota"),
        ("application/json", b'{"error": {"code": 7, "message": "disk full"}}', "disk full"),
        ("text/html; charset=utf-8", b"<html><head><title>Blocked &amp; logged</title></head>", "Blocked & logged"),
        ("text/plain", b"no \x1b[31mroom\x00\nleft \xe2\x80\xae here", "no [31mroom left here"),
        ("text/plain", b"sent: " + b"ab" * 20 + b" and pump-0123456789abcdef", "sent: \u2026 and \u2026"),
        ("application/json", b"[" * 100_000, ""),
        ("text/plain", "\u00e9".encode() * 5000, "\u00e9" * LONGEST),
    ],
)
def test_sites_own_words(site: StubSite, clock: FakeClock, kind: str, body: bytes, expected: str) -> None:
    """The site's own words are reported."""
    fault = StubFault(status=503, body=body, headers={"Content-Type": kind})
    site.fail("POST", "treatments", fault)
    receiver = receiver_of(site, clock)
    with pytest.raises(Retryable, match="HTTP 503") as told:
        receiver.deliver([put("a")])
    receiver.client.close()
    assert expected in told.value.message
    assert len(told.value.message) < LONGEST + 120
    assert ('says "' in told.value.message) is bool(expected)


def test_refusal_condemns_what_it_names(site: StubSite, clock: FakeClock) -> None:
    """A refusal sets aside only the document that it is about.

    400 to a small plain body is the document's fault; 413 of the size.
    """
    receiver = receiver_of(site, clock)
    for status, narrow in ((400, False), (413, True)):
        site.fail("POST", "treatments", StubFault(status=status))
        with pytest.raises(Rejected) as told:
            receiver.deliver([put("a")])
        assert (told.value.narrow, told.value.receiver_fault) == (narrow, False)
    taken(receiver.deliver([put("a", NOW - timedelta(minutes=1))]))
    receiver.client.close()
