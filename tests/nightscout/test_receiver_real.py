"""The receiver against a real Nightscout over a real MongoDB: what a fake would only flatter."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from tconnectsync import CredentialsRefused, Secret, document_id
from tconnectsync.clock import SystemClock
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.api.document_format import created_at_text
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.e2e.installation import eventually
from tests.nightscout.deliveries import put, take_back, taken
from tests.support.real_servers import Site

COLLECTIONS = ("treatments", "activity", "devicestatus")
LONG_AGO = datetime(2024, 3, 31, 1, 0, 0, 123000, tzinfo=timezone.utc)


@pytest.fixture
def receiver(site: Site) -> Iterator[NightscoutReceiver]:
    """A receiver for the real Nightscout."""
    client = NightscoutClient(url=site.url, key=header_of(Secret(site.secret), None), clock=SystemClock())
    yield NightscoutReceiver(client, sink="nightscout-treatments", collections=COLLECTIONS)
    client.close()


def ours(site: Site, collection: str = "treatments") -> dict[str, str]:
    found = site.documents(collection)
    by_identifier = {item["identifier"]: item["created_at"] for item in found}
    assert len(by_identifier) == len(found)
    return by_identifier


def test_real_history(site: Site, receiver: NightscoutReceiver) -> None:
    """A history arrives once, moves and is deleted."""
    times = [LONG_AGO + timedelta(minutes=5 * number) for number in range(400)]
    basal = {"eventType": "Temp Basal", "absolute": 0, "rate": 0, "duration": 5.0833, "insulin": None}
    batch = [put(number, at, **basal) for number, at in enumerate(times)]
    stored = taken(receiver.deliver(batch))
    taken(receiver.deliver([put(number, at, in_doubt=True, **basal) for number, at in enumerate(times)]))
    assert len(ours(site)) == 400
    assert {(item["absolute"], item["duration"]) for item in site.documents("treatments")} == {(0, 5.0833)}

    hour = timedelta(hours=1)
    moved = [put(number, at - hour, stored=stored[number], **basal) for number, at in enumerate(times)]
    stored = taken(receiver.deliver(moved[200:])) + taken(receiver.deliver(moved[:200]))
    stored = stored[200:] + stored[:200]
    assert ours(site) == {
        document_id("test", str(number)): created_at_text(at - hour) for number, at in enumerate(times)
    }
    assert len(list(receiver.read_back(times[0] - hour, times[-1]))) == 400

    taken(receiver.deliver([take_back(number, text) for number, text in enumerate(stored)]))
    assert site.documents("treatments") == []


def test_real_others_documents_stay(site: Site, receiver: NightscoutReceiver) -> None:
    """Documents that others wrote at the same time stay."""
    theirs = {
        "created_at": created_at_text(LONG_AGO),
        "eventType": "Note",
        "notes": "a person's",
        "enteredBy": "tconnectsync",
    }
    site.ask("POST", "treatments", json=theirs).raise_for_status()
    (stored,) = taken(receiver.deliver([put("a", LONG_AGO)]))
    taken(receiver.deliver([take_back("a", stored), take_back("b", stored.replace("Bolus", "Note"))]))
    assert [item["notes"] for item in site.documents("treatments")] == ["a person's"]


def test_real_edited_dose(site: Site, receiver: NightscoutReceiver) -> None:
    """A dose that was edited in Nightscout, which moves it to the whole minute, is not doubled when it changes."""
    at = LONG_AGO + timedelta(seconds=54)
    (stored,) = taken(receiver.deliver([put("a", at)]))
    (document,) = site.documents("treatments")
    del document["created_at"]  # as the editor of the reports does
    whole_minute = created_at_text(at.replace(second=0, microsecond=0))
    edited = {**document, "eventTime": whole_minute, "insulin": "1", "notes": "pizza"}
    site.ask("PUT", "treatments/", json=edited).raise_for_status()
    assert ours(site) == {document_id("test", "a"): whole_minute}
    taken(receiver.deliver([put("a", at, stored=stored, insulin=2.0)]))
    assert ours(site) == {document_id("test", "a"): created_at_text(at)}


def test_real_activity_and_device_status(site: Site, receiver: NightscoutReceiver) -> None:
    """There is one activity and one device status each."""
    stored = None
    for value in (1, 2, 3):
        at = LONG_AGO + timedelta(minutes=value)
        (stored,) = taken(receiver.deliver([put("iob", at, collection="activity", stored=stored, iob=value)]))
        taken(
            receiver.deliver(
                [put("d", LONG_AGO, collection="devicestatus", in_doubt=True, pump={"iob": {"iob": value}})]
            )
        )
        assert [item["iob"] for item in site.documents("activity")] == [value]
        assert [item["pump"]["iob"]["iob"] for item in site.documents("devicestatus")] == [value]


def test_real_check(site: Site, receiver: NightscoutReceiver) -> None:
    """The check finds the site good and leaves nothing."""
    assert [finding for finding in receiver.check() if not finding.good] == []
    assert all(site.documents(collection) == [] for collection in COLLECTIONS)


def test_real_wrong_secret(site: Site) -> None:
    """A wrong secret is found although everybody may read."""
    client = NightscoutClient(url=site.url, key=header_of(Secret("not-the-secret"), None), clock=SystemClock())
    receiver = NightscoutReceiver(client, sink="nightscout-treatments", collections=COLLECTIONS)
    (bad,) = [finding for finding in receiver.check() if not finding.good]
    client.close()
    assert "refused the secret" in bad.what


def test_real_token(site: Site) -> None:
    """A server before version 14 takes no access token in a header, whatever its rights. The message names the way out."""
    api, secret = f"{site.url}api/v2/authorization", {"api-secret": site.key}
    for what, body in (
        ("roles", {"name": "everything", "permissions": ["*"]}),
        ("subjects", {"name": "ours", "roles": ["everything"]}),
    ):
        site.session.post(f"{api}/{what}", json=body, headers=secret, timeout=60).raise_for_status()

    def tokens() -> list[str]:
        subjects = site.session.get(f"{api}/subjects", headers=secret, timeout=60).json()
        return [subject["accessToken"] for subject in subjects if subject["name"] == "ours"]

    eventually(lambda: len(tokens()) > 0, "the new token")
    client = NightscoutClient(url=site.url, key=header_of(None, Secret(tokens()[0])), clock=SystemClock())
    receiver = NightscoutReceiver(client, sink="nightscout-treatments", collections=COLLECTIONS)
    with pytest.raises(CredentialsRefused) as raised:
        receiver.deliver([put(1, LONG_AGO, eventType="Bolus", insulin=1)])
    (finding,) = [finding for finding in receiver.check() if not finding.good]
    client.close()
    assert "Nightscout 0.12.8 takes no access token here" in finding.what
    assert "before version 14 takes no token here: set nightscout.api_secret" in str(raised.value.remedy)


def test_real_older_bridge(site: Site, receiver: NightscoutReceiver) -> None:
    """An older bridge's treatments are seen."""
    old = {"created_at": created_at_text(LONG_AGO), "eventType": "Bolus", "insulin": 1}
    assert receiver.inspect(LONG_AGO, LONG_AGO) is None
    site.ask("POST", "treatments", json={**old, "enteredBy": "Pump (tconnectsync)"}).raise_for_status()
    site.ask("POST", "treatments", json={**old, "eventType": "Temp Basal", "pump_event_id": "12,13"}).raise_for_status()
    hold = receiver.inspect(LONG_AGO, LONG_AGO)
    assert hold is not None
    assert "2 treatments" in hold.reason
    site.ask("POST", "treatments", json={**old, "eventType": "Note", "pump_event_id": "14"}).raise_for_status()
    assert receiver.inspect(LONG_AGO, LONG_AGO) == hold, "a note is no dose, and this sink's are doses"


def test_real_sync_identifier(site: Site, receiver: NightscoutReceiver) -> None:
    """A second name of the identity is kept and changes nothing.

    Compatible sites that drop ``identifier`` know ``syncIdentifier``; the real one keeps both.
    """
    (stored,) = taken(receiver.deliver([put("a", LONG_AGO)]))
    taken(receiver.deliver([put("a", LONG_AGO, stored=stored, insulin=2.0)]))
    (document,) = site.documents("treatments")
    assert document["syncIdentifier"] == document["identifier"] == document_id("test", "a")
    assert document["insulin"] == 2.0
    assert not receiver.client.drops_identifier
    assert receiver.shows("treatments")
    taken(receiver.deliver([take_back("a", stored)]))
    assert site.documents("treatments") == []
