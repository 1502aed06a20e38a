"""Entries and profiles: against the simulated site under either rules, and against a real one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

import pytest

from tconnectsync import Delivery, Document, Retryable, Secret, document_id
from tconnectsync.clock import SystemClock
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.delivery.profile import plan_profile
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import taken
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.simulated_nightscout.faults import SiteFault

LONG_AGO = datetime(2025, 3, 31, 1, 0, 0, tzinfo=timezone.utc)


class AnySite(Protocol):
    url: str
    secret: str

    def documents(self, collection: str) -> list[dict[str, Any]]: ...


@pytest.fixture(params=["simulated 15.0.6", "simulated 15.0.7", pytest.param("real", marks=pytest.mark.real)])
def place(request: pytest.FixtureRequest) -> Iterator[AnySite]:
    """A simulated site of each release, and the real one."""
    if request.param == "real":
        yield request.getfixturevalue("site")
        return
    with SimulatedNightscout(version=request.param.split()[1]) as site:
        yield site


def receiver_at(place: AnySite, sink: str, *collections: str, mode: str = "add") -> NightscoutReceiver:
    client = NightscoutClient(url=place.url, key=header_of(Secret(place.secret), None), clock=SystemClock())
    return NightscoutReceiver(client, sink=sink, collections=collections, profile_mode=mode)


# --- entries --------------------------------------------------------------------------------------------------------


@pytest.fixture
def readings(place: AnySite) -> Iterator[NightscoutReceiver]:
    """The receiver of glucose readings."""
    receiver = receiver_at(place, "nightscout-cgm", "entries")
    yield receiver
    receiver.client.close()


def reading(
    number: int, at: datetime, sgv: int = 120, *, stored: str | None = None, in_doubt: bool = False
) -> Delivery:
    content = {"type": "sgv", "sgv": sgv, "device": "tandem 1", "pump": {"serial": "1", "events": [number]}}
    identity = document_id("test", number)
    document = Document(id=identity, collection="entries", at=at, content=content, unique_slot="sgv")
    return Delivery(
        document_id=identity, collection="entries", document=document, receiver_key=stored, in_doubt=in_doubt
    )


def held(place: AnySite) -> dict[str, tuple[str, int]]:
    found = place.documents("entries")
    by_identifier = {item["identifier"]: (item["dateString"], item["sgv"]) for item in found}
    assert len(by_identifier) == len(found)
    return by_identifier


def test_readings_life(place: AnySite, readings: NightscoutReceiver) -> None:
    """Readings arrive once, change, move and are deleted."""
    times = [LONG_AGO + timedelta(minutes=5 * number) for number in range(30)]
    stored = taken(readings.deliver([reading(number, at) for number, at in enumerate(times)]))
    assert len(held(place)) == 30
    taken(readings.deliver([reading(number, at, in_doubt=True) for number, at in enumerate(times)]))
    taken(readings.deliver([reading(0, times[0], 180, stored=stored[0])]))
    assert held(place)[document_id("test", 0)] == ("2025-03-31T01:00:00.000Z", 180)
    assert len(held(place)) == 30

    hour = timedelta(hours=1)
    moved = [reading(number, at - hour, stored=stored[number]) for number, at in enumerate(times)]
    stored = taken(readings.deliver(moved))
    assert max(at for at, _ in held(place).values()) == "2025-03-31T02:25:00.000Z"
    assert len(held(place)) == 30
    assert len(list(readings.read_back(times[0] - hour, times[-1]))) == 30

    taken(readings.deliver([
        Delivery(document_id=document_id("test", number), collection="entries", document=None, receiver_key=text)
        for number, text in enumerate(stored)
    ]))  # fmt: skip
    assert place.documents("entries") == []


def test_entry_time_formats(place: AnySite, readings: NightscoutReceiver) -> None:
    """An entry has its time as a number and as text."""
    taken(readings.deliver([reading(1, LONG_AGO)]))
    (entry,) = place.documents("entries")
    assert (entry["date"], entry["dateString"], entry["sysTime"]) == (
        1743382800000, "2025-03-31T01:00:00.000Z", "2025-03-31T01:00:00.000Z",
    )  # fmt: skip


def test_survey_differences(place: AnySite, readings: NightscoutReceiver) -> None:
    """A survey says what differs."""
    right, wrong = reading(1, LONG_AGO), reading(2, LONG_AGO + timedelta(minutes=5))
    taken(readings.deliver([right, wrong]))
    found = {copy.document_id: copy for copy in readings.survey(LONG_AGO, LONG_AGO + timedelta(hours=1))}
    assert right.document is not None
    assert wrong.document is not None
    assert readings.compare(right.document, found[right.document_id]) == []
    changed = reading(2, LONG_AGO + timedelta(minutes=5), 99).document
    assert changed is not None
    (contrast,) = readings.compare(changed, found[wrong.document_id])
    assert (contrast.field, contrast.ours, contrast.theirs) == ("sgv", 99, 120)


def test_other_uploader_waits(place: AnySite, readings: NightscoutReceiver) -> None:
    """A site with another uploader waits for the user."""
    span = LONG_AGO, LONG_AGO + timedelta(hours=1)
    taken(readings.deliver([reading(1, LONG_AGO)]))
    assert readings.inspect(*span) is None
    other = {"type": "sgv", "sgv": 101, "device": "another uploader", "date": 1743382860000}
    readings.client.create("entries", [{**other, "dateString": "2025-03-31T01:01:00.000Z"}])
    hold = readings.inspect(*span)
    assert hold is not None
    assert "another uploader" in hold.reason
    assert "adopt nightscout-cgm --skip" in hold.remedy


def test_older_bridges_readings(place: AnySite, readings: NightscoutReceiver) -> None:
    """An older bridge's readings are recognised and removed, and no one else's."""
    span = LONG_AGO, LONG_AGO + timedelta(hours=1)
    older = {"type": "sgv", "device": "Pump (tconnectsync)", "dateString": "2025-03-31T01:00:20+0000"}
    someones = {"type": "sgv", "sgv": 101, "device": "another uploader", "dateString": "2025-03-31T01:30:00.000Z"}
    readings.client.create(
        "entries",
        [
            {**older, "sgv": 120, "date": 1743382820000, "pump_event_id": "1"},
            {**older, "sgv": 0, "date": 1743383120000, "dateString": "2025-03-31T01:05:20+0000"},
            {**someones, "date": 1743384600000},
        ],
    )
    hold = readings.inspect(*span)
    assert hold is not None
    assert "2 readings of an older bridge" in hold.reason
    assert "tconnectsync adopt nightscout-cgm" in hold.remedy
    ours = reading(1, LONG_AGO).document
    assert ours is not None
    found = readings.recognise_legacy([ours], list(readings.survey(*span)), set())
    assert sorted((each.same, each.impossible) for each in found) == [(True, False), (True, True)]
    readings.remove([each.stored for each in found])
    assert [entry["device"] for entry in place.documents("entries")] == ["another uploader"]
    hold = readings.inspect(*span)
    assert hold is not None
    assert "--skip" in hold.remedy


def test_check_entries_rights(place: AnySite, readings: NightscoutReceiver) -> None:
    """The check tries the rights to entries and leaves nothing."""
    assert "entries: may create, read and delete" in [finding.what for finding in readings.check() if finding.good]
    assert place.documents("entries") == []


# --- profiles -------------------------------------------------------------------------------------------------------


def profile(rate: str) -> dict[str, Any]:
    row = {"time": "00:00", "timeAsSeconds": "0"}
    rows = {name: [{**row, "value": value}] for name, value in
            (("basal", rate), ("carbratio", "8"), ("sens", "45"), ("target_low", "80"), ("target_high", "200"))}  # fmt: skip
    return {**rows, "dia": "5", "units": "mg/dl", "timezone": "Europe/Berlin"}


def settings(store: Mapping[str, Any], active: str, at: datetime = LONG_AGO) -> Delivery:
    content = {"defaultProfile": active, "store": store, "pump": {"serial": "1", "events": ["settings"]}}
    identity = document_id("site", "profiles")
    document = Document(id=identity, collection="profile", at=at, content=content)
    return Delivery(document_id=identity, collection="profile", document=document)


@pytest.mark.parametrize("mode", ["add", "replace"])
def test_profile_written_if_different(place: AnySite, mode: str) -> None:
    """A profile is written only if it differs, and foreign profiles stay."""
    receiver = receiver_at(place, "nightscout-profiles", "profile", mode=mode)
    theirs = {"Mine": profile("0.5")}
    receiver.client.create("profile", [
        {"defaultProfile": "Mine", "store": theirs, "startDate": "2025-01-01T00:00:00.000Z"}
    ])  # fmt: skip
    first = settings({"Day": profile("1"), "Old": profile("0.9")}, "Day")
    taken(receiver.deliver([first]))
    taken(receiver.deliver([first]))
    shown = receiver.client.read_current_profile()
    assert shown is not None
    assert (shown["defaultProfile"], sorted(shown["store"])) == ("Day", ["Day", "Mine", "Old"])
    assert shown["store"]["Mine"] == theirs["Mine"]
    count = {"add": 2, "replace": 1}[mode]
    assert len(place.documents("profile")) == count

    taken(receiver.deliver([settings({"Day": profile("1.1")}, "Day", LONG_AGO + timedelta(days=1))]))
    shown = receiver.client.read_current_profile()
    assert shown is not None
    assert sorted(shown["store"]) == ["Day", "Mine"]
    assert shown["store"]["Day"]["basal"][0]["value"] == "1.1"
    assert len(place.documents("profile")) == {"add": 3, "replace": 1}[mode]
    receiver.client.close()


def test_profile_made_by_hand(place: AnySite) -> None:
    """A profile that was made by hand meanwhile does not hide the pump's."""
    receiver = receiver_at(place, "nightscout-profiles", "profile")
    receiver.client.create("profile", [{"defaultProfile": "X", "store": {}, "startDate": "2025-06-01T00:00:00.000Z"}])
    taken(receiver.deliver([settings({"Day": profile("1")}, "Day")]))
    shown = receiver.client.read_current_profile()
    assert shown is not None
    assert (shown["defaultProfile"], shown["startDate"]) == ("Day", "2025-06-01T00:00:01.000Z")
    receiver.client.close()


def test_profile_in_mmol() -> None:
    """A site in mmol/L gets mmol/L."""
    document = settings({"Day": profile("1")}, "Day").document
    assert document is not None
    plan = plan_profile(None, {**document.content, "created_at": "2025-03-31T01:00:00.000Z"}, mode="add", units="mmol")
    assert plan.document is not None
    day = plan.document["store"]["Day"]
    assert (day["sens"][0]["value"], day["target_low"][0]["value"], day["target_high"][0]["value"]) == (
        "2.5", "4.4", "11.1",
    )  # fmt: skip
    assert day["basal"][0]["value"] == "1"
    assert (day["units"], plan.document["units"]) == ("mmol", "mmol")


def test_profile_not_withdrawn(place: AnySite) -> None:
    """A profile is not withdrawn, because a site without one shows nothing."""
    receiver = receiver_at(place, "nightscout-profiles", "profile")
    taken(receiver.deliver([settings({"Day": profile("1")}, "Day")]))
    gone = Delivery(document_id=document_id("site", "profiles"), collection="profile", document=None, receiver_key="{}")
    taken(receiver.deliver([gone]))
    assert len(place.documents("profile")) == 1
    receiver.client.close()


def test_profile_null_answer() -> None:
    """``null`` is no answer to a changed profile."""
    with SimulatedNightscout() as place:
        receiver = receiver_at(place, "nightscout-profiles", "profile", mode="replace")
        taken(receiver.deliver([settings({"Day": profile("1")}, "Day")]))
        place.fail(SiteFault(method="PUT", status=200, body="null"))
        with pytest.raises(Retryable, match="null"):
            receiver.deliver([settings({"Day": profile("1.1")}, "Day", LONG_AGO + timedelta(days=1))])
        taken(receiver.deliver([settings({"Day": profile("1.1")}, "Day", LONG_AGO + timedelta(days=1))]))
        receiver.client.close()
