"""A broker or a Home Assistant that starts again or forgot everything, another prefix, another broker."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from tconnectsync_mqtt import announcer
from tconnectsync_mqtt.discovery import device_topic
from tconnectsync_mqtt.memory import BrokerMemory
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.sink import Broker
from tests.e2e.installation import eventually
from tests.mqtt.broker_harness import DEVICE, Listener, NoonClock, components, deliveries, listening, showing


def test_a_broker_that_comes_back_is_told_again(broker: Callable[..., int]) -> None:
    """The daemon's connection is made again by itself when the broker was restarted."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    receiver = Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock())
    receiver.show(["a problem"])
    try:
        broker(port=port)
        with listening(port) as listener:
            for _ in range(6):
                if "tconnectsync/status" not in listener.heard:
                    listener.client.loop(10)
            assert listener.said("tconnectsync/status")["problems"] == ["a problem"]
    finally:
        receiver.leave()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses of a round are short."""
    monkeypatch.setattr(announcer, "SUBSCRIBE_S", 0.3)
    monkeypatch.setattr(announcer, "PAUSE_S", 1.0)
    monkeypatch.setattr("tconnectsync_mqtt.sink.SUBSCRIBE_S", 0.0)
    monkeypatch.setattr("tconnectsync_mqtt.presence.PAUSES_S", (1, 1))


def home_assistant_started(listener: Listener, prefix: str = "homeassistant") -> None:
    """Home Assistant has started."""
    listener.client.publish(f"{prefix}/status", b"online", qos=1)


VALUES = ("tconnectsync/current", "tconnectsync/lasting", DEVICE)


@pytest.mark.usefixtures("short_pauses")
def test_home_assistant_that_starts_gets_everything_again(broker: Callable[..., int]) -> None:
    """At its birth message: the device, then the values as of now; also if the daemon was restarted since the last upload."""
    port = broker()
    options = MqttOptions(host="127.0.0.1", port=port)
    first = Broker(options, version="4", clock=NoonClock())
    first.deliver(deliveries())
    again = Broker(options, version="4", clock=NoonClock(minutes=31.2))
    again.recall(first.memory())
    with listening(port) as listener, showing(again):
        listener.until("tconnectsync/status", *VALUES)
        listener.heard.clear()
        home_assistant_started(listener)
        listener.until(*VALUES)
        assert list(listener.heard).index(DEVICE) < list(listener.heard).index("tconnectsync/current")
        current = listener.said("tconnectsync/current")
        assert (current["iob"], current["iob_at"]) == (None, "2026-05-14T12:01:00+00:00"), "too old by now"
        assert listener.said("tconnectsync/lasting")["last_bolus"] == 3.5
        assert components(listener)["last_bolus"]["expire_after"] == 3 * 3600 - 60 * 30 - 12
        assert "tconnectsync/alarm" not in listener.heard


@pytest.mark.usefixtures("short_pauses")
def test_many_births_are_one_round(broker: Callable[..., int]) -> None:
    """A Home Assistant that starts again and again costs one round, after a pause."""
    port = broker()
    receiver = Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock())
    receiver.deliver(deliveries())
    with listening(port) as listener, showing(receiver):
        listener.until("tconnectsync/status", *VALUES)
        listener.heard.clear()
        for _ in range(20):
            home_assistant_started(listener)
        listener.until(*VALUES)
        assert len(listener.heard["homeassistant/status"]) == 20
        assert len(listener.heard[DEVICE]) == 1


@pytest.mark.usefixtures("short_pauses")
def test_broker_lost_everything(broker: Callable[..., int]) -> None:
    """A restarted broker without a disk has neither the device nor any value."""
    port = broker()
    receiver = Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock())
    receiver.deliver(deliveries())
    with showing(receiver):
        with listening(port) as listener:
            listener.until("tconnectsync/status")
        broker(port=port)
        with listening(port) as listener:
            listener.until("tconnectsync/status", *VALUES)
        assert listener.said("tconnectsync/current")["iob"] == 3.25
        assert listener.said("tconnectsync/status")["availability"] == "online"


@pytest.mark.usefixtures("short_pauses")
def test_power_cut_of_the_whole_house(broker: Callable[..., int]) -> None:
    """Broker and daemon start together: the first connection publishes what the daemon remembers, but no alarm."""
    port = broker()
    options = MqttOptions(host="127.0.0.1", port=port)
    before = Broker(options, version="4", clock=NoonClock())
    before.deliver(deliveries())
    broker(port=port)
    after = Broker(options, version="4", clock=NoonClock())
    after.recall(before.memory())
    with listening(port) as listener, showing(after):
        listener.until(*VALUES)
    assert listener.said("tconnectsync/current")["iob"] == 3.25
    assert "tconnectsync/alarm" not in listener.heard


def test_a_round_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure in its own thread, such as an odd value of another release, must not end the rounds for years."""
    monkeypatch.setattr(announcer, "SUBSCRIBE_S", 0.0)
    monkeypatch.setattr(announcer, "PAUSE_S", 0.0)
    rounds: list[str] = []

    def announce() -> None:
        rounds.append("device")
        if len(rounds) == 1:
            raise TypeError("an odd value")

    rounds_of = announcer.Announcer(announce=announce, publish_values=lambda: rounds.append("values"))
    rounds_of.request()
    eventually(lambda: rounds, "the first round")
    rounds_of.request()
    eventually(lambda: rounds[-1] == "values", "the second round")
    assert rounds == ["device", "device", "values"]
    rounds_of.stop()


OTHER = device_topic("tconnectsync", "ha2")


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.parametrize("daemon", [True, False])
def test_a_changed_discovery_prefix_moves_the_device(broker: Callable[..., int], daemon: bool) -> None:
    """The old message is cleared, so that there is no second device; the daemon does it at once, else with the next delivery."""
    port = broker()
    first = Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock())
    first.deliver(deliveries())
    waits: list[float] = []
    moved = MqttOptions(host="127.0.0.1", port=port, discovery_prefix="ha2")
    second = Broker(moved, version="4", clock=NoonClock(wait=waits.append))
    second.recall(first.memory())
    with listening(port) as listener:
        listener.until(DEVICE)
        if daemon:
            with showing(second):
                listener.until(OTHER, "tconnectsync/current")
                listener.heard.clear()
                home_assistant_started(listener, "ha2")
                listener.until("ha2/status")
        else:
            second.deliver(deliveries())
            listener.until(OTHER, "tconnectsync/current")
            assert len(waits) == 1, "the device is new under this prefix"
            second.deliver(deliveries())
            assert len(waits) == 1
    with listening(port) as later:
        later.until(OTHER)
    assert DEVICE not in later.heard


@pytest.mark.usefixtures("short_pauses")
def test_discovery_that_is_turned_off_leaves_no_device(broker: Callable[..., int]) -> None:
    port = broker()
    first = Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock())
    first.deliver(deliveries())
    second = Broker(MqttOptions(host="127.0.0.1", port=port, discovery_prefix=""), version="4", clock=NoonClock())
    second.recall(first.memory())
    second.deliver(deliveries())
    with listening(port) as later:
        later.until("tconnectsync/lasting")
    assert DEVICE not in later.heard


@pytest.mark.parametrize("text", ["", "device discovery", "{", "[]", '{"announced":1}'])
def test_a_memory_of_another_release_is_usable(text: str) -> None:
    memory = BrokerMemory.of(text, "homeassistant", "mqtt://home")
    assert memory.announced == ("homeassistant" if text.startswith("device") else None)
    assert memory.values == {}


def test_another_broker_gets_no_remembered_values() -> None:
    """It may be somebody else's. The memory is there again if the old address is put back."""
    kept = BrokerMemory(address="mqtt://home", announced="homeassistant", values={"lasting": {"last_bolus": 3.5}})
    other = BrokerMemory.of(kept.text(), "homeassistant", "mqtt://elsewhere")
    assert (other.values, other.announced, other.text()) == ({}, None, "")
    assert BrokerMemory.of(kept.text(), "homeassistant", "mqtt://home") == kept
    receiver = Broker(MqttOptions(host="elsewhere"), version="4", clock=NoonClock())
    receiver.recall(kept.text())
    assert receiver.memory() == ""
