"""Documents that are put: what arrives, what is refused."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest

from tconnectsync import Accepted, Delivery, Postponed, Receiver, Refused, document_id
from tconnectsync.plugin.receiver import rendered
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import minutes, put, taken
from tests.nightscout.scripted_site.receivers import OLD, SINK, both, held
from tests.nightscout.stub_site import SECRET, StubSite


def test_implements_receiver(receiver: NightscoutReceiver, site: StubSite) -> None:
    """It implements the receiver protocol."""
    promised: Receiver = receiver
    assert promised.address == site.url
    assert promised.batch_size == 500
    assert SECRET not in repr(receiver)


def test_stored_fields(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A document is stored with its time, identity, author and sink."""
    at = datetime(2026, 3, 1, 13, 0, 0, 987654, tzinfo=timezone(timedelta(hours=1)))
    (stored,) = taken(receiver.deliver([put("a", at, notes="n", _id="x", created_at="y", identifier="z")]))
    (document,) = site.receiver_key["treatments"]
    assert {name: value for name, value in document.items() if not name.startswith("_")} == {
        "created_at": "2026-03-01T12:00:00.987Z",
        "identifier": document_id("test", "a"),
        "syncIdentifier": document_id("test", "a"),
        "enteredBy": "tconnectsync",
        "sink": SINK,
        "eventType": "Bolus",
        "insulin": 1.0,
        "notes": "n",
    }
    assert document["_id"] != "x"
    assert json.loads(stored) == {"created_at": "2026-03-01T12:00:00.987Z", "eventType": "Bolus"}


@pytest.mark.parametrize("collection", ["treatments", "activity", "devicestatus"])
def test_preview_equals_sent(site: StubSite, receiver: NightscoutReceiver, collection: str) -> None:
    """What it says it would send is what arrives."""
    delivery = put("a", minutes(0), collection=collection, notes="n", _id="x", glucose=100)
    assert delivery.document is not None
    said = rendered(receiver, delivery.document)
    assert site.requests_of("POST") == []
    taken(receiver.deliver([delivery]))
    (arrived,) = site.receiver_key[collection]
    assert {name: value for name, value in arrived.items() if not name.startswith("_")} == said


@both
def test_batch_is_one_request(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """A batch is one request, and sending it twice stores it once."""
    site.version = version
    batch = [put(number, minutes(-5 * number)) for number in range(500)]
    taken(receiver.deliver(batch))
    assert len(site.requests_of("POST")) == 1
    taken(receiver.deliver(batch))
    assert len(held(site)) == 500


@pytest.mark.parametrize(
    "delivery",
    [
        put("a", insulin=float("nan")),
        put("a", insulin=float("inf")),
        put("a", pump={"events": {1, 2}}),
        put("a", problem="a bolus of 26 U"),
        put("a", datetime(2026, 3, 1)),
        put("a", datetime(1, 1, 1, tzinfo=timezone.utc)),
        put("a", eventType=""),
        put("a", collection="food", what="bread"),
    ],
)
def test_unstorable_document_refused(site: StubSite, receiver: NightscoutReceiver, delivery: Delivery) -> None:
    """A document that the site would change is refused; the rest is sent."""
    refused, good = receiver.deliver([delivery, put("b")])
    assert isinstance(refused, Refused)
    assert isinstance(good, Accepted)
    assert list(held(site)) == [document_id("test", "b")]
    assert delivery.document is not None
    assert rendered(receiver, delivery.document) == refused


def test_document_not_in_answer(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A document that the answer does not name is postponed."""
    site.forgets = lambda document: document["insulin"] == 2.0
    first, second = receiver.deliver([put("a"), put("b", minutes(1), insulin=2.0)])
    assert isinstance(first, Accepted)
    assert isinstance(second, Postponed)


def test_same_key_on_older_site(site: StubSite, receiver: NightscoutReceiver) -> None:
    """Two documents that an older site cannot tell apart do not both count as taken."""
    site.version = OLD
    first, second = receiver.deliver([put("a"), put("b")])
    assert isinstance(first, Accepted)
    assert isinstance(second, Refused)
    assert list(held(site)) == [document_id("test", "a")]
