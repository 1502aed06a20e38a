"""Lost answers, and the copies that result from them: nothing is lost, nothing doubled, whatever fails."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tconnectsync import Retryable, document_id
from tconnectsync_nightscout.api.document_format import created_at_text, moment_of
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import DirectSender, minutes, put, rounds, taken
from tests.nightscout.scripted_site.receivers import NEW, OLD, both, held, iob, receiver_of
from tests.nightscout.stub_site import NOW, StubFault, StubSite
from tests.support.clocks import FakeClock


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

    It was stored at one time, moved with a lost answer, and moved again before that was retried.
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


def test_old_copy_gone_in_doubt(site: StubSite, receiver: NightscoutReceiver) -> None:
    """A document whose old copy is gone is in doubt, whether or not the new one was stored."""
    site.version = "15.0.6"
    (stored,) = taken(receiver.deliver([put("a")]))
    site.fail("POST", "treatments", StubFault(status=429))
    with pytest.raises(Retryable) as told:
        receiver.deliver([put("a", minutes(9), stored=stored)])
    assert held(site) == {}
    assert told.value.in_doubt


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
