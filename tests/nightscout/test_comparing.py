"""What is a difference between our document and a stored copy, and what is only a server's way of writing it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from tconnectsync import Secret
from tconnectsync.plugin.receiver import ReadableReceiver, StoredDocument
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.api.diff import diff
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import minutes, put, taken
from tests.nightscout.stub_site import NOW
from tests.support.clocks import FakeClock
from tests.support.simulated_nightscout.app import SimulatedNightscout

SECRET = "a simulated secret"
SINK = "nightscout-treatments"
BODY = {
    "eventType": "Meal Bolus", "created_at": "2026-03-01T12:00:00.123Z", "insulin": 2.5, "carbs": 0, "notes": "",
    "duration": 0, "pump": {"serial": "1", "events": [7]}, "identifier": "x", "enteredBy": "tconnectsync", "sink": SINK,
}  # fmt: skip


def stored(**changes: Any) -> dict[str, Any]:
    """As a server holds it: without what is 0 or empty, with fields of its own."""
    held = {name: value for name, value in BODY.items() if name not in ("carbs", "notes")}
    return {**held, "_id": "0" * 24, "utcOffset": 0, "srvModified": 1, "carbs": None, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"carbs": 0},
        {"created_at": "2026-03-01T13:00:00.123+01:00"},
        {"insulin": 2.50},
        {"enteredBy": "another name since"},
        {"subject": "device", "modifiedBy": "me", "glucoseType": "Finger", "units": "mg/dl"},
    ],
    ids=["as it is", "a zero", "another way to write the time", "a number", "an author", "additions"],
)
def test_compare_servers_format(changes: dict[str, Any]) -> None:
    """A server's way of writing a value is no difference."""
    assert diff(BODY, stored(**changes)) == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"insulin": 2.4}, "insulin"),
        ({"insulin": None}, "insulin"),
        ({"carbs": 30}, "carbs"),
        ({"absolute": 0}, "absolute"),
        ({"duration": 5}, "duration"),
        ({"notes": "not what the pump said"}, "notes"),
        ({"glucose": 100}, "glucose"),
        ({"eventType": "Correction Bolus"}, "eventType"),
        ({"created_at": "2026-03-01T12:00:00.124Z"}, "created_at"),
        ({"pump": {"serial": "1", "events": [8]}}, "pump"),
    ],
)
def test_compare_changed_meaning(changes: dict[str, Any], field: str) -> None:
    """Whatever changes the meaning is a difference."""
    assert [each.field for each in diff(BODY, stored(**changes))] == [field]


WITH_GLUCOSE = {**BODY, "glucose": 255.0, "units": "mg/dl", "glucoseType": "Sensor"}
IN_MMOL = {**WITH_GLUCOSE, "glucose": 14.2, "units": "mmol"}


@pytest.mark.parametrize(("ours", "theirs"), [(WITH_GLUCOSE, IN_MMOL), (IN_MMOL, WITH_GLUCOSE), (IN_MMOL, IN_MMOL)])
def test_compare_glucose_units(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    """The same glucose in other units is no difference.

    A site whose units were changed is not rewritten for that; another value is reported in the copy's units.
    """
    assert diff(ours, {**theirs, "_id": "0" * 24}) == []
    (other,) = diff(ours, {**theirs, "glucose": theirs["glucose"] * 2})
    assert other.field == "glucose"


@pytest.mark.parametrize(
    ("units", "shown"), [("mmol", (14.2, "mmol")), ("mmol/L", (14.2, "mmol")), ("mg/dl", (255, "mg/dl"))]
)
def test_bolus_glucose_in_site_units(units: str, shown: tuple[float, str]) -> None:
    """The glucose of a bolus is sent in the units that the site shows."""
    with SimulatedNightscout(api_secret=SECRET, now=lambda: minutes(0), units=units) as site:
        client = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=FakeClock(NOW))
        receiver = NightscoutReceiver(client, sink=SINK, collections=("treatments",))
        delivery = put("bolus", minutes(-5), glucose=255.0, units="mg/dl", glucoseType="Sensor")
        assert delivery.document is not None
        taken(receiver.deliver([delivery]))
        (stored,) = site.documents("treatments")
        assert (stored["glucose"], stored["units"], stored["glucoseType"]) == (*shown, "Sensor")
        site.units = "mg/dl" if shown[1] == "mmol" else "mmol"
        client._status = None
        client.status()
        (copy,) = receiver.survey(minutes(-10), minutes(0))
        assert receiver.compare(delivery.document, copy) == []
        taken(receiver.deliver([msgspec.structs.replace(delivery, receiver_key=copy.receiver_key)]))  # a replay
        (stored,) = site.documents("treatments")
        assert stored["units"] != shown[1]
        client.close()


@pytest.fixture(params=["0.12.8", "15.0.6", "15.0.7"])
def site(request: pytest.FixtureRequest) -> Iterator[SimulatedNightscout]:
    """A simulated site of each release's rules."""
    with SimulatedNightscout(version=request.param, api_secret=SECRET, now=lambda: minutes(0)) as running:
        yield running


@pytest.fixture
def receiver(site: SimulatedNightscout) -> Iterator[NightscoutReceiver]:
    """A receiver for the site."""
    client = NightscoutClient(url=site.url, key=header_of(Secret(SECRET), None), clock=FakeClock(NOW))
    yield NightscoutReceiver(client, sink=SINK, collections=("treatments", "activity", "devicestatus"))
    client.close()


def test_document_that_cannot_be_sent_differs(receiver: NightscoutReceiver) -> None:
    """Its copy is not taken for the delivered document."""
    delivery = put("mine", minutes(-5), insulin=1.5)
    taken(receiver.deliver([delivery]))
    (copy,) = receiver.survey(minutes(-60), minutes(0))
    assert delivery.document is not None
    impossible = msgspec.structs.replace(delivery.document, at=datetime(3000, 1, 1, tzinfo=timezone.utc))
    (difference,) = receiver.compare(impossible, copy)
    assert "3000" in str(difference.ours)


def test_survey_shows_everything(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """A survey shows everything that is there, and whose it is."""
    assert isinstance(receiver, ReadableReceiver)
    deliveries = [put("mine", minutes(-5), insulin=1.5, carbs=0), put("rings", minutes(-4), eventType="Announcement")]
    taken(receiver.deliver(deliveries))
    rings, mine = receiver.survey(minutes(-60), minutes(0))
    assert (mine.document_id, mine.unique_slot, mine.ephemeral) == (deliveries[0].document_id, "Bolus", False)
    assert (rings.unique_slot, rings.ephemeral) == ("Announcement", True)
    assert deliveries[0].document is not None
    assert receiver.compare(deliveries[0].document, mine) == []

    site.put(
        "treatments", {"eventType": "Note", "created_at": "2026-03-01T11:50:00Z", "enteredBy": "me", "notes": "hi"}
    )
    site.put("treatments", {**mine.content, "_id": None, "identifier": "loop-1", "eventType": "Carbs", "sink": None})
    other = {**mine.content, "eventType": "Site Change", "sink": "nightscout-pump-events"}
    site.put(
        "treatments", {name: value for name, value in other.items() if name != "_id"} | {"identifier": rings_like()}
    )
    found = list(receiver.survey(minutes(-60), minutes(0)))
    foreign = [each for each in found if not each.document_id]
    assert sorted(each.author for each in foreign) == ["me", "tconnectsync"]
    assert {each.unique_slot for each in found} == {"Bolus", "Announcement", "Note", "Carbs"}, "not the other sink's"
    assert all(bool(each.receiver_key) != site.rules.identifier_is_key for each in foreign), (
        "only older sites keep one per key"
    )


@pytest.mark.parametrize(("age_min", "words"), [(1, ""), (43, ", 43 minutes ago"), (125, ", 2 hours 5 minutes ago")])
def test_late_alarm_announced(
    site: SimulatedNightscout, receiver: NightscoutReceiver, age_min: int, words: str
) -> None:
    """A late alarm is announced now, with its age.

    A site rings for its newest treatment alone, if that is younger than ten minutes, and a fresh alarm's suspension
    would be newer. The document's content does not depend on when it was sent.
    """
    notes = "Occlusion alarm at 02:10"
    delivery = put("rings", minutes(-age_min), eventType="Announcement", notes=notes, isAnnouncement=True)
    taken(receiver.deliver([delivery]))
    (stored,) = site.documents("treatments")
    assert stored["notes"] == notes + words
    (copy,) = receiver.survey(minutes(-10), minutes(0))
    assert timedelta() < minutes(0) - copy.at <= timedelta(seconds=2)
    assert delivery.document is not None
    assert receiver.compare(delivery.document, copy) == []
    again = msgspec.structs.replace(delivery, in_doubt=True)
    receiver.client.clock.sleep(300)
    taken(receiver.deliver([again]))  # after a lost answer
    (stored,) = site.documents("treatments")
    assert stored["notes"] != notes


def rings_like() -> str:
    return "11111111-2222-5333-8444-555555555555"


def test_survey_skips_old_device_status(site: SimulatedNightscout, receiver: NightscoutReceiver) -> None:
    """Old device statuses are not compared."""
    for ago in (10, 300):
        taken(
            receiver.deliver([put(f"status {ago}", minutes(-ago), collection="devicestatus", pump={"iob": {"iob": 1}})])
        )
    found: list[StoredDocument] = list(receiver.survey(minutes(0) - timedelta(days=1), minutes(0)))
    assert [(each.at, each.ephemeral) for each in found] == [(minutes(-10), True)]
