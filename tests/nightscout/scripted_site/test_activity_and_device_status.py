"""Documents of the collections that have no key: ``activity`` and ``devicestatus``."""

from __future__ import annotations

import pytest

from tconnectsync import Accepted, Refused, Retryable
from tconnectsync_nightscout.api.document_format import created_at_text
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import minutes, put, take_back, taken
from tests.nightscout.scripted_site.receivers import both, held, iob
from tests.nightscout.stub_site import StubFault, StubSite


@both
def test_activity_stays_one(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """The activity stays one object, whatever happened before."""
    site.version = version
    stranger = site.add("activity", activityType="tconnect_iob", iob=9.0, created_at=created_at_text(minutes(-9000)))
    (stored,) = taken(receiver.deliver([iob(1.0, minutes(-10000))]))
    (stored,) = taken(receiver.deliver([iob(2.0, stored=stored)]))
    site.fail("POST", "activity", StubFault(broken="after"))
    with pytest.raises(Retryable):
        receiver.deliver([iob(3.0, stored=stored)])
    taken(receiver.deliver([iob(4.0, minutes(5))]))  # as after a wiped disk: nothing is remembered
    assert stranger in site.receiver_key["activity"]
    assert [item["iob"] for _, item in held(site, "activity").values()] == [4.0]


def test_activity_current(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A current activity is not written again."""
    taken(receiver.deliver([iob(1.0)]))
    taken(receiver.deliver([iob(1.0, in_doubt=True)]))
    assert len(site.requests_of("POST")) == 1


@pytest.mark.parametrize("broken", ["before", "after"])
def test_device_status_lost_answer(site: StubSite, receiver: NightscoutReceiver, broken: str) -> None:
    """A device status whose answer was lost is looked up before it is sent again."""
    status = {"collection": "devicestatus", "device": "pump", "pump": {"iob": {"iob": 1.5, "bolusiob": 1.5}}}
    site.fail("POST", "devicestatus", StubFault(broken=broken))
    with pytest.raises(Retryable) as told:
        receiver.deliver([put("d", **status)])
    assert told.value.in_doubt
    taken(receiver.deliver([put("d", in_doubt=True, **status)]))
    assert len(held(site, "devicestatus")) == 1


def test_device_status_one_request(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A new device status costs one request."""
    taken(receiver.deliver([put("d", collection="devicestatus", pump={})]))
    assert [request.method for request in site.requests] == ["POST"]


@pytest.mark.parametrize("collection", ["activity", "devicestatus"])
def test_keyless_bad_document(site: StubSite, receiver: NightscoutReceiver, collection: str) -> None:
    """One bad document without a key is refused alone."""
    site.culprit = lambda document: document["value"] == 1
    bad, good = receiver.deliver([put(value, collection=collection, value=value) for value in (1, 2)])
    assert isinstance(bad, Refused)
    assert bad.receiver_fault
    assert isinstance(good, Accepted)


@pytest.mark.parametrize("collection", ["activity", "devicestatus"])
def test_keyless_documents(site: StubSite, receiver: NightscoutReceiver, collection: str) -> None:
    """Documents without a key are replaced and withdrawn."""
    (stored,) = taken(receiver.deliver([put("x", collection=collection, value=1)]))
    (stored,) = taken(receiver.deliver([put("x", minutes(3), collection=collection, value=2, stored=stored)]))
    assert [item["value"] for _, item in held(site, collection).values()] == [2]
    taken(receiver.deliver([take_back("x", stored, collection=collection)]))
    assert site.receiver_key[collection] == []
