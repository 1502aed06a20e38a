"""What is on the site before the first delivery: an older bridge's documents, and our own."""

from __future__ import annotations

import pytest

from tconnectsync import Secret, document_id
from tconnectsync_nightscout.api import find_copies as reading
from tconnectsync_nightscout.api.client import NightscoutClient, header_of
from tconnectsync_nightscout.api.document_format import created_at_text, stored_key
from tconnectsync_nightscout.delivery.receiver import NightscoutReceiver
from tests.nightscout.deliveries import minutes, put, taken
from tests.nightscout.scripted_site.receivers import SINK, iob, receiver_of
from tests.nightscout.stub_site import SECRET, StubSite
from tests.support.clocks import FakeClock


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
    """Our own treatments stop nothing."""
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
