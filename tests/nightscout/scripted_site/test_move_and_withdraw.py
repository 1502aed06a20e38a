"""Documents that are moved or withdrawn, on sites of either generation."""

from __future__ import annotations

import json

import pytest

from tconnectsync import document_id
from tconnectsync_nightscout.api import find_copies as reading
from tconnectsync_nightscout.api.document_format import created_at_text
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import minutes, put, take_back, taken
from tests.nightscout.scripted_site.receivers import NEW, OLD, SINK, both, held
from tests.nightscout.stub_site import StubSite
from tests.support.clocks import FakeClock


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


@both
@pytest.mark.parametrize("by_minutes", [-1, 45])
def test_change_of_moved_copy(site: StubSite, receiver: NightscoutReceiver, version: str, by_minutes: int) -> None:
    """A dose that a user moved is not doubled when it changes, also if the user only added a note (whole minutes)."""
    site.version = version
    (stored,) = taken(receiver.deliver([put("a", insulin=1.0)]))
    site.receiver_key["treatments"][0] |= {"created_at": created_at_text(minutes(by_minutes)), "notes": "pizza"}
    taken(receiver.deliver([put("a", stored=stored, insulin=2.0)]))
    at, document = held(site)[document_id("test", "a")]
    assert (at, document["insulin"]) == (created_at_text(minutes(0)), 2.0)


@both
def test_change_of_split_copy(site: StubSite, receiver: NightscoutReceiver, version: str) -> None:
    """A dose whose insulin a user dragged to another time, which makes a second copy, is one document when it changes."""
    site.version = version
    (stored,) = taken(receiver.deliver([put("a", insulin=1.0, carbs=20)]))
    (document,) = site.receiver_key["treatments"]
    added = {**document, "created_at": created_at_text(minutes(9))}
    del added["_id"], added["carbs"], document["insulin"]
    site.add("treatments", **added)
    taken(receiver.deliver([put("a", stored=stored, insulin=2.0, carbs=20)]))
    _, document = held(site)[document_id("test", "a")]
    assert (document["insulin"], document["carbs"]) == (2.0, 20)
