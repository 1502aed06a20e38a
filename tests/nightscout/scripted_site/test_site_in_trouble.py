"""A site that fails, is slow or refuses the secret."""

from __future__ import annotations

import pytest

from tconnectsync import Accepted, CredentialsRefused, Delivery, Postponed, Rejected, Retryable, Secret
from tconnectsync_nightscout.api import time_budget as patience
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import minutes, put, take_back, taken
from tests.nightscout.scripted_site.receivers import SINK, both, held, iob
from tests.nightscout.stub_site import StubFault, StubSite
from tests.support.clocks import FakeClock


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
