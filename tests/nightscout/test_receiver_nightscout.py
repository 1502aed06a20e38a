"""The receiver: what ends up on a site of either generation, whatever goes wrong on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tconnectsync import (
    Accepted,
    CredentialsRefused,
    Delivery,
    Postponed,
    Receiver,
    Refused,
    Rejected,
    Retryable,
    Secret,
    document_id,
)
from tconnectsync.plugin.receiver import rendered
from tconnectsync_nightscout.api import find_copies as reading
from tconnectsync_nightscout.api import time_budget as patience
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.api.document_format import created_at_text, moment_of, stored_key
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import START, DirectSender, minutes, put, rounds, take_back, taken
from tests.nightscout.stub_site import NOW, SECRET, StubFault, StubSite, running
from tests.support.clocks import FakeClock

SINK = "nightscout-treatments"
OLD, NEW = "15.0.6", "15.0.7"
both = pytest.mark.parametrize("version", [OLD, NEW])


@pytest.fixture
def clock() -> FakeClock:
    """A moving clock."""
    return FakeClock(NOW)


@pytest.fixture
def site() -> Iterator[StubSite]:
    """A scripted site."""
    with running(StubSite()) as stub:
        yield stub


@pytest.fixture
def receiver(site: StubSite, clock: FakeClock) -> Iterator[NightscoutReceiver]:
    """A receiver for the site."""
    made = receiver_of(site, clock)
    yield made
    made.client.close()


def receiver_of(site: StubSite, clock: FakeClock, sink: str = SINK) -> NightscoutReceiver:
    client = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock)
    return NightscoutReceiver(client, sink=sink, collections=("treatments", "activity", "devicestatus"))


def held(site: StubSite, collection: str = "treatments") -> dict[str, tuple[str, Mapping[str, Any]]]:
    """By identifier; asserts that there is one of each."""
    documents = [item for item in site.receiver_key[collection] if "identifier" in item]
    assert len({item["identifier"] for item in documents}) == len(documents)
    return {item["identifier"]: (item["created_at"], item) for item in documents}


def test_implements_receiver(receiver: NightscoutReceiver, site: StubSite) -> None:
    """It implements the receiver protocol."""
    promised: Receiver = receiver
    assert promised.address == site.url
    assert promised.batch_size == 500
    assert SECRET not in repr(receiver)


# --- putting --------------------------------------------------------------------------------------------------------


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


# --- moving and taking back -----------------------------------------------------------------------------------------


@both
def test_move_leaves_no_copy(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """A moved document leaves no copy behind."""
    site.version = version
    (stored,) = taken(receiver.deliver([put("a")]))
    (again,) = taken(receiver.deliver([put("a", minutes(60), stored=stored, eventType="Meal Bolus")]))
    assert held(site)[document_id("test", "a")][0] == created_at_text(minutes(60))
    assert json.loads(again)["eventType"] == "Meal Bolus"


@both
def test_move_to_each_others_places(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """Documents that move to each other's places all arrive."""
    site.version = version
    stored = taken(receiver.deliver([put(number, minutes(5 * number)) for number in range(40)]))
    moved = [put(number, minutes(5 * number + 5), stored=stored[number]) for number in range(40)]
    # One batch for some, another for the rest, whose places the first have already taken.
    taken(receiver.deliver(moved[::2]))
    taken(receiver.deliver(moved[1::2]))
    assert {at for at, _ in held(site).values()} == {created_at_text(minutes(5 * number + 5)) for number in range(40)}
    assert len(held(site)) == len(site.receiver_key["treatments"]) == 40


def test_move_on_newer_site(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A newer site moves a document in place."""
    (stored,) = taken(receiver.deliver([put("a")]))
    taken(receiver.deliver([put("a", minutes(60), stored=stored)]))
    assert site.requests_of("DELETE") == []


def test_move_on_older_site(site: StubSite, receiver: NightscoutReceiver) -> None:
    """On an older site the old copy is deleted before the new one is sent."""
    site.version = OLD
    (stored,) = taken(receiver.deliver([put("a")]))
    site.requests.clear()
    taken(receiver.deliver([put("a", minutes(60), stored=stored)]))
    assert [request.method for request in site.requests] == ["GET", "DELETE", "POST"]


@pytest.mark.parametrize("unkeyed", [False, True])
def test_move_after_site_upgrade(site: StubSite, receiver: NightscoutReceiver, clock: FakeClock, unkeyed: bool) -> None:
    """A document from before the site's upgrade moves without doubling."""
    site.version = OLD
    (stored,) = taken(receiver.deliver([put("a")]))
    site.version, site.old_copies_are_unkeyed = NEW, unkeyed
    clock.advance(seconds=4000)
    taken(receiver.deliver([put("a", minutes(60), stored=stored)]))
    assert held(site)[document_id("test", "a")][0] == created_at_text(minutes(60))


@both
def test_withdraw_by_read_id(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """A withdrawal deletes by the id that was read together with our identifier."""
    site.version = version
    (stored,) = taken(receiver.deliver([put("a")]))
    mongo_id = site.receiver_key["treatments"][0]["_id"]
    taken(receiver.deliver([take_back("a", stored)]))
    assert site.receiver_key["treatments"] == []
    assert [request.path for request in site.requests_of("DELETE")] == [f"/api/v1/treatments/{mongo_id}"]
    taken(receiver.deliver([take_back("a", stored)]))
    assert len(site.requests_of("DELETE")) == 1


@both
def test_withdraw_spares_look_alikes(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """Look-alikes of other programs are never deleted."""
    site.version = version
    same = {"created_at": created_at_text(minutes(0)), "eventType": "Bolus", "insulin": 1.0}
    site.add("treatments", **same)
    site.add("treatments", **same, enteredBy="tconnectsync")
    site.add("treatments", **same, identifier=document_id("test", "b"), enteredBy="tconnectsync", sink=SINK)
    site.add("treatments", **same, identifier=document_id("test", "a"), _id="*")
    before = [dict(item) for item in site.receiver_key["treatments"]]
    stored = json.dumps({"created_at": same["created_at"], "eventType": "Bolus"})
    taken(receiver.deliver([take_back("a", stored), take_back("c", None), take_back("d", "not json")]))
    assert site.receiver_key["treatments"] == before
    assert site.requests_of("DELETE") == []


def test_withdraw_with_broken_filter(
    site: StubSite, receiver: NightscoutReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site whose filter does not work loses nothing of other programs."""
    site.add("treatments", created_at=created_at_text(minutes(0)), eventType="Bolus", identifier="someone's")
    monkeypatch.setattr(site, "_meets", lambda *_: True)
    taken(receiver.deliver([take_back("a", '{"created_at":"2026-03-01T12:00:00.123Z","eventType":"Bolus"}')]))
    assert len(site.receiver_key["treatments"]) == 1


@both
def test_withdraw_moved_copy(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """A copy that someone moved a little is still found."""
    site.version = version
    (stored,) = taken(receiver.deliver([put("a")]))
    site.receiver_key["treatments"][0]["created_at"] = created_at_text(minutes(45))
    taken(receiver.deliver([take_back("a", stored)]))
    assert site.receiver_key["treatments"] == []


def test_withdraw_searches_all_times(site: StubSite, receiver: NightscoutReceiver) -> None:
    """If nothing is known of a copy, all times are searched."""
    taken(receiver.deliver([put("a", minutes(-900 * 1440))]))
    taken(receiver.deliver([take_back("a", None, in_doubt=True)]))
    assert site.receiver_key["treatments"] == []


@both
def test_lookup_scattered_or_dense(
    site: StubSite, receiver: NightscoutReceiver, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scattered documents are looked up one by one, dense ones by their days."""
    site.version = version
    monkeypatch.setattr(reading, "PAGE", 50)
    dense = [put(number, minutes(5 * number)) for number in range(200)]
    sparse = [put(f"far {number}", minutes(-6 * 1440 * (number + 1))) for number in range(12)]
    stored = taken(receiver.deliver(dense)) + taken(receiver.deliver(sparse))
    site.requests.clear()
    gone = [
        take_back(name, text)
        for name, text in zip([*range(200), *(f"far {number}" for number in range(12))], stored, strict=True)
    ]
    taken(receiver.deliver(gone))
    assert site.receiver_key["treatments"] == []
    assert len(site.requests_of("GET", "treatments")) < 12 + 8


# --- lost answers and failures --------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("broken", ["before", "after"])
def test_lost_answer(site: StubSite, receiver: NightscoutReceiver, version: str, broken: str) -> None:
    """A lost answer neither loses nor doubles."""
    site.version = version
    batch = [put(number, minutes(number)) for number in range(20)]
    site.fail("POST", "treatments", StubFault(broken=broken))
    with pytest.raises(Retryable) as told:
        receiver.deliver(batch)
    assert told.value.in_doubt
    taken(receiver.deliver([put(number, minutes(number), in_doubt=True) for number in range(20)]))
    assert len(held(site)) == 20


@both
def test_lost_answer_forgotten_key(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """A copy under a key that nobody remembers is found.

    Stored at one time, moved with a lost answer, and moved on before that was tried again.
    """
    site.version = version
    (stored,) = taken(receiver.deliver([put("a")]))
    site.fail("POST", "treatments", StubFault(broken="after"))
    with pytest.raises(Retryable):
        receiver.deliver([put("a", minutes(15), stored=stored)])
    taken(receiver.deliver([put("a", minutes(30), stored=stored, in_doubt=True)]))
    assert held(site)[document_id("test", "a")][0] == created_at_text(minutes(30))


@both
def test_doubled_copies_become_one(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """Copies that two connections doubled become one."""
    site.version = version
    taken(receiver.deliver([put("a")]))
    site.receiver_key["treatments"].append({**site.receiver_key["treatments"][0], "_id": "f" * 24})
    taken(receiver.deliver([put("a", in_doubt=True, insulin=2.0)]))
    assert held(site)[document_id("test", "a")][1]["insulin"] == 2.0


def test_failing_batch_on_healthy_site(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A batch that fails on a healthy site is rejected, so that it is halved."""
    site.culprit = lambda document: document["insulin"] == 9.0
    batch = [put("a"), put("b", minutes(1), insulin=9.0), put("c", minutes(2))]
    for part in (batch, batch[1:2]):
        with pytest.raises(Rejected, match=r"HTTP 500.*Mongo Error") as told:
            receiver.deliver(part)
        assert told.value.receiver_fault, "a full database answers the same"
    taken(receiver.deliver(batch[::2]))
    assert len(held(site)) == 2


def test_failing_batch_database_down(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A batch that fails while the site's database is down is retried later."""
    site.fail("POST", "treatments", StubFault(status=500))
    site.fail("GET", "treatments", StubFault(status=200, body=b"null"))
    with pytest.raises(Retryable) as told:
        receiver.deliver([put("a"), put("b", minutes(1))])
    assert told.value.in_doubt, "what stood before the culprit may be stored"


def test_old_copy_gone_in_doubt(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A document whose old copy is gone is in doubt, whatever became of the new one."""
    site.version = "15.0.6"
    (stored,) = taken(receiver.deliver([put("a")]))
    site.fail("POST", "treatments", StubFault(status=429))
    with pytest.raises(Retryable) as told:
        receiver.deliver([put("a", minutes(9), stored=stored)])
    assert held(site) == {}
    assert told.value.in_doubt


def test_passing_failure(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A single failure that passes rejects nothing."""
    site.fail("POST", "treatments", StubFault(status=500))
    taken(receiver.deliver([put("a")]))


@pytest.mark.parametrize("status", [502, 503, 504])
def test_gateway_failure(site: StubSite, receiver: NightscoutReceiver, status: int) -> None:
    """A gateway that fails rejects nothing."""
    site.fail("POST", "treatments", StubFault(status=status))
    with pytest.raises(Retryable):
        receiver.deliver([put("a")])
    assert len(site.requests_of("GET", "treatments")) == 0


def test_batch_too_large(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A batch that is too large is rejected, so that it is halved."""
    site.fail("POST", "treatments", StubFault(status=413))
    with pytest.raises(Rejected, match="too large"):
        receiver.deliver([put("a"), put("b", minutes(1))])


def test_failed_read_before_withdrawal(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A failed read before a withdrawal deletes and forgets nothing."""
    (stored,) = taken(receiver.deliver([put("a")]))
    site.fail("GET", "treatments", StubFault(status=200, body=b"null"))
    with pytest.raises(Retryable):
        receiver.deliver([take_back("a", stored)])
    assert len(held(site)) == 1


@both
def test_slow_site(
    site: StubSite, clock: FakeClock, receiver: NightscoutReceiver, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow site gets its work in several calls."""
    site.version = version
    todo: dict[int, Delivery] = {
        number: take_back(number, text)
        for number, text in enumerate(taken(receiver.deliver([put(number, minutes(number)) for number in range(10)])))
    }
    delete = receiver.client.delete
    monkeypatch.setattr(
        receiver.client, "delete", lambda *args: (clock.advance(seconds=patience.CALL_S / 4), delete(*args))
    )
    calls = 0
    while todo:
        calls += 1
        outcomes = receiver.deliver(list(todo.values()))
        left = {}
        for (number, delivery), outcome in zip(todo.items(), outcomes, strict=True):
            if not isinstance(outcome, Accepted):
                assert isinstance(outcome, Postponed)
                assert outcome.after_s == 0
                left[number] = delivery
        todo = left
    assert calls == 3
    assert site.receiver_key["treatments"] == []


# --- activity and devicestatus --------------------------------------------------------------------------------------


def iob(value: float, at: datetime = START, **more: Any) -> Delivery:
    return put("iob", at, collection="activity", activityType="tconnect_iob", iob=value, **more)


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


@both
def test_failure_after_post_in_doubt(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """A failure after a post says that the document may be there."""
    site.version = version
    site.fail("GET", "activity", StubFault(status=200, body=b"null"))
    with pytest.raises(Retryable) as told:
        receiver.deliver([put("a"), iob(1.0)])
    assert told.value.in_doubt
    site.fail("GET", "activity", StubFault(status=200, body=b"null"))
    with pytest.raises(Retryable) as told:
        receiver.deliver([iob(1.0)])
    assert not told.value.in_doubt


def test_failure_after_put_in_doubt(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A failure to look at what was put says that it may be there."""
    site.fail("GET", "treatments", StubFault(status=200, body=b"null"))
    with pytest.raises(Retryable) as told:
        receiver.deliver([put("a"), put("b", minutes(1), in_doubt=True)])
    assert told.value.in_doubt


def test_device_status_one_request(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A new device status costs one request."""
    taken(receiver.deliver([put("d", collection="devicestatus", pump={})]))
    assert [request.method for request in site.requests] == ["POST"]


def test_failure_after_second_post_in_doubt(site: StubSite, receiver: NightscoutReceiver) -> None:
    """If something was posted twice, a failure leaves all of it in doubt."""
    batch = [put(name, minutes(number), collection="devicestatus", pump={}) for number, name in enumerate("ab")]
    site.faults = [("POST", "devicestatus", StubFault()), ("POST", "devicestatus", StubFault(status=429))]
    with pytest.raises(Retryable) as told:
        receiver.deliver(batch)
    assert told.value.in_doubt
    taken(
        receiver.deliver(
            [put(n, minutes(i), collection="devicestatus", pump={}, in_doubt=True) for i, n in enumerate("ab")]
        )
    )
    assert len(held(site, "devicestatus")) == 2


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


def test_refused_secret_stops(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A refused secret stops at once."""
    site.accepts = lambda key: False
    with pytest.raises(CredentialsRefused):
        receiver.deliver([put("a"), iob(1.0)])
    assert len(site.requests) == 1


@pytest.mark.parametrize(("method", "right"), [("POST", "create"), ("GET", "read")])
def test_token_lacks_one_right(site: StubSite, clock: FakeClock, method: str, right: str) -> None:
    """A token that lacks one right stops the sink that needs it and no other."""
    site.allows = lambda asked, collection: (asked, collection) != (method, "activity")
    in_use = {"treatments": [SINK], "activity": ["nightscout-iob"], "devicestatus": ["nightscout-iob"]}
    key = header_of(None, Secret("pump-0123456789abcdef"))
    client = NightscoutClient(url=site.url, key=key, clock=clock, in_use=in_use)
    of_iob = NightscoutReceiver(client, sink="nightscout-iob", collections=("activity", "devicestatus"))
    of_treatments = NightscoutReceiver(client, sink=SINK, collections=("treatments",))
    for _ in range(2):
        with pytest.raises(CredentialsRefused, match=f"api:activity:{right}") as refused:
            of_iob.deliver([iob(1.0)])
        assert SINK in refused.value.message
        assert f"api:activity:{right}" in (refused.value.remedy or "")
    assert len(site.requests_of(method, "activity")) == 1
    taken(of_treatments.deliver([put("a")]))
    client.close()


def test_refused_secret_not_sent_again(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A refused secret is not sent to another collection either."""
    site.accepts = lambda key: False
    for delivery in (put("a"), iob(1.0)):
        with pytest.raises(CredentialsRefused):
            receiver.deliver([delivery])
    assert len(site.requests) == 1


# --- what is there already ------------------------------------------------------------------------------------------


def test_older_bridges_treatments_wait(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A site with an older bridge's treatments waits for the user."""
    first, last = minutes(-2 * 1440), minutes(0)
    site.add("treatments", created_at=created_at_text(minutes(-9 * 1440)), eventType="Bolus", pump_event_id="1")
    site.add("treatments", created_at=created_at_text(minutes(-5)), eventType="Note", enteredBy="a person")
    assert receiver.inspect(first, last) is None
    site.add("treatments", created_at=created_at_text(minutes(-6)), eventType="Bolus", enteredBy="Pump (tconnectsync)")
    site.add(
        "treatments", created_at=created_at_text(minutes(-7)), eventType="Bolus", enteredBy="x", pump_event_id="2,3"
    )
    hold = receiver.inspect(first, last)
    assert hold is not None
    assert "2 treatments" in hold.reason
    assert "2026-02-27 and 2026-03-01" in hold.reason
    assert f"`tconnectsync adopt {SINK} --skip` to keep both" in hold.remedy


def test_own_treatments_do_not_wait(site: StubSite, receiver: NightscoutReceiver) -> None:
    """Our own treatments hold nothing up."""
    taken(receiver.deliver([put("a")]))
    assert receiver.inspect(minutes(-1440), minutes(1440)) is None


def test_sink_without_treatments(site: StubSite, clock: FakeClock) -> None:
    """A sink that writes no treatments does not look for them."""
    client = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=clock)
    receiver = NightscoutReceiver(client, sink="nightscout-iob", collections=("activity",))
    assert receiver.inspect(minutes(-1440), minutes(0)) is None
    assert site.requests == []


def test_read_back_of_this_sink(
    site: StubSite, receiver: NightscoutReceiver, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything of this sink is read back, and nothing else."""
    monkeypatch.setattr(reading, "PAGE", 20)
    stored = taken(receiver.deliver([put(number, minutes(-number)) for number in range(70)]))
    same_time = taken(receiver.deliver([put(f"same {number}", minutes(-30)) for number in range(50)]))
    other = receiver_of(site, clock, sink="nightscout-pump-events")
    taken(other.deliver([put("of the other sink", minutes(-3))]))
    other.client.close()
    site.add(
        "treatments", created_at=created_at_text(minutes(-4)), eventType="Note", enteredBy="tconnectsync", sink=SINK
    )
    site.add("treatments", created_at=created_at_text(minutes(-4)), identifier="odd", sink=SINK)
    site.add(
        "treatments", created_at=created_at_text(minutes(-4)), identifier=document_id("x"), enteredBy="tconnectsync"
    )
    taken(receiver.deliver([iob(1.0)]))
    found = list(receiver.read_back(minutes(-1440), minutes(0)))
    treatments = [item for item in found if item.collection == "treatments"]
    assert sorted(item.receiver_key for item in treatments) == sorted(stored + same_time)
    assert [item.at for item in treatments] == sorted((item.at for item in treatments), reverse=True)
    assert all(stored_key(item.receiver_key) is not None for item in treatments)
    assert [item.collection for item in found if item not in treatments] == ["activity"]
    assert {item.document_id for item in receiver.read_back(minutes(-10), minutes(-8))} == {
        document_id("test", number) for number in ("8", "9", "10")
    }


# --- the law --------------------------------------------------------------------------------------------------------

_FAULTS = {
    "before": StubFault(broken="before"),
    "after": StubFault(broken="after"),
    "500": StubFault(status=500),
    "null": StubFault(status=200, body=b"null"),
}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=rounds, version=st.sampled_from([OLD, NEW]))
def test_any_failure_ends_right(
    site: StubSite, rounds: list[tuple[dict[int, tuple[int, str] | None], str, int, str]], version: str
) -> None:
    """Whatever fails on the way, the site ends up with the desired documents once."""
    site.version, site.faults = version, []
    stranger = {"_id": "e" * 24, "created_at": created_at_text(minutes(1)), "eventType": "Announcement"}
    site.receiver_key["treatments"] = [dict(stranger)]
    clock = FakeClock(NOW)
    sender = DirectSender(receiver_of(site, clock))
    for revision, (changes, trouble, limit, then) in enumerate(rounds):
        for name, place in changes.items():
            if place is None:
                sender.wanted.pop(document_id("test", str(name)), None)
            else:
                sender.want(name, *place, revision)
        if trouble:
            site.fail("GET" if trouble == "null" else "POST", "treatments", _FAULTS[trouble])
        sender.deliver(limit)
        site.faults = []
        if then == "upgrade":
            site.version = NEW
        elif then:
            clock.advance(seconds=4000)
    while sender.pending():
        sender.deliver(3)
    sender.receiver.client.close()
    assert {
        identifier: (moment_of(at), item["eventType"], item["revision"])
        for identifier, (at, item) in held(site).items()
    } == {
        name: (wanted.at, wanted.content["eventType"], wanted.content["revision"])
        for name, wanted in sender.wanted.items()
    }
    assert [item for item in site.receiver_key["treatments"] if "identifier" not in item] == [stranger]
