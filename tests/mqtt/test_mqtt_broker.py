"""The receiver against a real mosquitto."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import attrs
import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tconnectsync import Accepted, CredentialsRefused, Delivery, Event, Fold, GlucoseUnits, Retryable, Secret, events
from tconnectsync_mqtt import announcer
from tconnectsync_mqtt.discovery import ENTITIES, device_message, device_topic, older_topics
from tconnectsync_mqtt.memory import BrokerMemory
from tconnectsync_mqtt.options import MqttOptions, problems
from tconnectsync_mqtt.sink import Broker
from tconnectsync_mqtt.state_fold import StateFold
from tconnectsync_mqtt.value_age import without_expired
from tests.e2e.installation import eventually

DEVICE = device_topic("tconnectsync", "homeassistant")
NOON = datetime(2026, 5, 14, 12, 0, tzinfo=timezone.utc)


@attrs.frozen
class NoonClock:
    """A clock that stands: so long after noon. ``wait`` is called instead of sleeping."""

    minutes: float = 2.0
    wait: Callable[[float], object] = float

    def now(self) -> datetime:
        return NOON + timedelta(minutes=self.minutes)

    def monotonic(self) -> float:
        return 60 * self.minutes

    def sleep(self, seconds: float) -> None:
        self.wait(seconds)


def deliveries(fold: Fold[object] | None = None) -> list[Delivery]:
    """What the fold wants told after a basal record and a bolus."""
    fold = fold or StateFold()  # type: ignore[assignment]
    state = fold.initial()
    for seq, (kind, body) in enumerate([
        ("basal.delivered", events.BasalDelivered(rate_u_per_h=0.8)),
        ("bolus.completed", events.BolusCompleted(bolus_id=7, status="completed", delivered_u=3.5, iob_u=3.25)),
    ]):  # fmt: skip
        at = NOON + timedelta(minutes=seq)
        event = Event(
            id=f"tandem:1:0:{seq}", kind=kind, pump="1", group=0, seq=seq, pump_time=at.replace(tzinfo=None),
            source="tandem", received_at=at, body=body, at=at,
        )  # fmt: skip
        state, _ = fold.step(state, event)
    return [
        Delivery(document_id=document.id, collection=document.collection, document=document)
        for document in fold.running(state)
    ]


class Listener:
    """Hears what the broker tells; ``until`` waits for topics."""

    def __init__(self, port: int) -> None:
        self.heard: dict[str, list[bytes]] = {}
        self.client = Client(CallbackAPIVersion.VERSION2)
        self.client.on_message = self._hear
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("#", qos=1)

    def _hear(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.heard.setdefault(message.topic, []).append(message.payload)

    def until(self, *topics: str) -> None:
        for _ in range(100):
            self.client.loop(0.1)
            if all(topic in self.heard for topic in topics):
                return
        raise AssertionError(f"not heard: {set(topics) - self.heard.keys()}")

    def said(self, topic: str) -> dict[str, object]:
        return dict(json.loads(self.heard[topic][-1]))


@contextmanager
def listening(port: int) -> Iterator[Listener]:
    listener = Listener(port)
    try:
        listener.client.loop(0.2)
        yield listener
    finally:
        listener.client.disconnect()
        listener.client.loop(0)


def test_a_listener_hears_the_pumps_state(broker: Callable[..., int]) -> None:
    port = broker()
    receiver = Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock())
    with listening(port) as listener:
        outcomes = receiver.deliver(deliveries())
        listener.until("tconnectsync/current", "tconnectsync/lasting")
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    current, lasting = listener.said("tconnectsync/current"), listener.said("tconnectsync/lasting")
    assert (current["iob"], current["basal_rate"], current["pump_state"]) == (3.25, 0.8, "delivering")
    assert current["glucose"] is None
    assert (lasting["last_bolus"], lasting["last_bolus_at"]) == (3.5, "2026-05-14T12:01:00+00:00")
    assert lasting["data_at"] == "2026-05-14T12:01:00+00:00"


def components(listener: Listener) -> dict[str, dict[str, object]]:
    """The entities of the device's discovery message."""
    found = listener.said(DEVICE)["components"]
    assert isinstance(found, dict)
    return found


def test_a_new_device_has_time_to_be_subscribed_to(broker: Callable[..., int]) -> None:
    """Home Assistant subscribes after the discovery message: values that are not retained come later, but once only."""
    port = broker()
    waits: list[int] = []
    with listening(port) as listener:

        def wait(_seconds: float) -> None:
            listener.until(DEVICE)
            waits.append(len(listener.heard.get("tconnectsync/current", ())))

        receiver = Broker(MqttOptions(host="127.0.0.1", port=port), version="9.9.9", clock=NoonClock(wait=wait))
        receiver.deliver(deliveries())
        listener.until("tconnectsync/current")
        receiver.deliver(deliveries())
    assert waits == [0]


def test_late_subscriber(broker: Callable[..., int]) -> None:
    """It finds the sensors, but no old insulin on board."""
    port = broker()
    Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock()).deliver(deliveries())
    with listening(port) as listener:
        listener.until("tconnectsync/lasting", "tconnectsync/status", DEVICE)
    assert "tconnectsync/current" not in listener.heard
    sensor = components(listener)["iob"]
    assert sensor["state_topic"] == "tconnectsync/current"
    assert sensor["value_template"] == "{{ value_json.iob }}"
    assert sensor["expire_after"] == 1740, (
        "insulin on board is a minute old, and Home Assistant counts from its arrival"
    )
    assert "value_json.iob_at" in str(sensor["availability"])
    assert components(listener)["data_at"]["device_class"] == "timestamp"
    assert [topic for topic in listener.heard if topic.endswith("/config")] == [DEVICE]
    assert listener.said("tconnectsync/status") == {"availability": "online", "problem": "OFF", "problems": []}


def test_the_entities_of_earlier_releases_are_kept(broker: Callable[..., int]) -> None:
    """Their messages announce the change, then comes the device, then they are removed. Once, also over restarts."""
    port = broker()
    options = MqttOptions(host="127.0.0.1", port=port)
    older = older_topics("tconnectsync", "homeassistant")
    with listening(port) as before:
        for topic in older:
            before.client.publish(topic, b'{"name": "old"}', qos=1, retain=True)
        before.until(*older)
        first = Broker(options, version="4", clock=NoonClock())
        first.deliver([attrs.evolve(each, receiver_key="of an earlier release") for each in deliveries()])
        before.until("tconnectsync/lasting")
        for topic in older:
            assert before.heard[topic] == [b'{"name": "old"}', b'{"migrate_discovery":true}', b""]
        order = list(before.heard)
        assert order.index(older[-1]) < order.index(DEVICE)
        again = Broker(options, version="4", clock=NoonClock())
        again.recall(first.memory())
        again.deliver([attrs.evolve(each, receiver_key="of this release") for each in deliveries()])
        before.until("tconnectsync/lasting", DEVICE)
        assert {len(before.heard[topic]) for topic in older} == {3}
    with listening(port) as later:
        later.until(DEVICE)
    assert not set(older) & later.heard.keys()


def said_at(minutes: float) -> dict[str, object]:
    """What is told of a state of noon (and a minute later) so long after it, with what Home Assistant makes of its age."""
    now = NOON + timedelta(minutes=minutes)
    said: dict[str, object] = {}
    for each in deliveries():
        assert each.document is not None
        said |= without_expired("current" if each.document.ttl_s else "lasting", each.document.content, now)
    return said


def test_value_that_is_too_old() -> None:
    """The rate is of noon, insulin on board of a minute later; each by its own time, and against now."""
    young, older, old, lost = said_at(29), said_at(30.5), said_at(31.5), said_at(182)
    assert (young["basal_rate"], young["iob"], young["pump_state"]) == (0.8, 3.25, "delivering")
    assert (older["basal_rate"], older["iob"]) == (None, 3.25)
    assert (old["basal_rate"], old["iob"], old["pump_state"], old["last_bolus"]) == (None, None, None, 3.5)
    assert lost["last_bolus"] is None
    assert old["iob_at"] == lost["data_at"] == lost["last_bolus_at"] == "2026-05-14T12:01:00+00:00"


@pytest.mark.parametrize(("minutes", "left_s"), [(1, 1800), (29, 120), (30.9, 6), (45, 1)])
def test_expiry_counts_from_measurement(broker: Callable[..., int], minutes: float, left_s: int) -> None:
    """The remaining time counts from the pump's measurement."""
    port = broker()
    with listening(port) as listener:
        Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock(minutes)).deliver(deliveries())
        listener.until("tconnectsync/current", DEVICE)
        topics = list(listener.heard)
    assert components(listener)["iob"]["expire_after"] == left_s
    assert topics.index(DEVICE) < topics.index("tconnectsync/current"), (
        "how long a value is good for is known before it comes"
    )


def test_sensor_values_expire() -> None:
    """Each expires by the time of its value; only sensors whose value is a time do not."""
    said = device_message("tconnectsync", "4", GlucoseUnits.MG_DL)["components"]
    for entity in ENTITIES:
        found = said[entity.key]
        if entity.device_class in ("timestamp", "problem") or entity.platform == "event":
            assert "expire_after" not in found
        else:
            assert 0 < found["expire_after"] <= 3 * 3600
            daemon, age = found["availability"]
            assert daemon["topic"] == "tconnectsync/status"
            assert f"value_json.{entity.at}, 0) < {found['expire_after']} " in age["value_template"]


def test_suspended_pump_has_rate_zero() -> None:
    """As long as it sends data."""
    fold = StateFold()
    state = fold.initial()
    for minute, body in ((0, events.PumpingSuspended(reason="alarm")), (45, events.DaySummary(iob_u=1.0))):
        at = NOON + timedelta(minutes=minute)
        kind = "pumping.suspended" if minute == 0 else "day.summary"
        state, _ = fold.step(
            state,
            Event(
                id=f"tandem:1:0:{minute}", kind=kind, pump="1", group=0, seq=minute, pump_time=at.replace(tzinfo=None),
                source="tandem", received_at=at, body=body, at=at,
            ),
        )  # fmt: skip
    current = without_expired("current", fold.running(state)[0].content, NOON + timedelta(minutes=46))
    assert (current["pump_state"], current["basal_rate"], current["iob"]) == ("suspended", 0.0, 1.0)


def test_what_is_withdrawn_leaves_the_broker(broker: Callable[..., int]) -> None:
    port = broker()
    receiver = Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock())
    told = deliveries()
    receiver.deliver(told)
    gone = [Delivery(document_id=each.document_id, collection=each.collection, document=None) for each in told]
    receiver.deliver(gone)
    with listening(port) as listener:
        listener.until(DEVICE)
    assert "tconnectsync/lasting" not in listener.heard


def test_topics_are_the_users_and_discovery_can_be_off(broker: Callable[..., int]) -> None:
    port = broker()
    options = MqttOptions(host="127.0.0.1", port=port, prefix="home/pump", discovery_prefix="")
    with listening(port) as listener:
        Broker(options, version="4", clock=NoonClock()).deliver(deliveries())
        listener.until("home/pump/current", "home/pump/lasting")
    assert set(listener.heard) == {"home/pump/current", "home/pump/lasting", "home/pump/status"}


def test_a_broker_that_is_not_there_is_asked_again_later() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Retryable, match="cannot be reached"):
        Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock()).deliver(deliveries())


def test_broker_password(broker: Callable[..., int], tmp_path: Path) -> None:
    """A wrong one is CredentialsRefused."""
    users = tmp_path / "users"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "pump", "right"], check=True)
    port = broker(f"password_file {users}")
    right = MqttOptions(host="127.0.0.1", port=port, username="pump", password=Secret("right"))
    (finding,) = Broker(right, version="4", clock=NoonClock()).check()
    assert finding.good
    wrong = MqttOptions(host="127.0.0.1", port=port, username="pump", password=Secret("wr0ng"))
    with pytest.raises(CredentialsRefused) as refused:
        Broker(wrong, version="4", clock=NoonClock()).deliver(deliveries())
    assert "wr0ng" not in str(refused.value)
    (finding,) = Broker(wrong, version="4", clock=NoonClock()).check()
    assert not finding.good


def test_the_daemons_problems_are_shown_and_its_end_too(broker: Callable[..., int]) -> None:
    """Problems are published while it works, and stay after a delivery; when it stops, that is published too."""
    port = broker()
    receiver = Broker(MqttOptions(host="127.0.0.1", port=port), version="4", clock=NoonClock())
    with listening(port) as listener:
        receiver.show(["The login to tandem was refused"])
        listener.until("tconnectsync/status")
        receiver.deliver(deliveries())
        listener.until("tconnectsync/lasting")
        assert listener.said("tconnectsync/status") == {
            "availability": "online", "problem": "ON", "problems": ["The login to tandem was refused"]
        }  # fmt: skip
        listener.heard.clear()
        receiver.show([])
        listener.until("tconnectsync/status")
        assert listener.said("tconnectsync/status")["problem"] == "OFF"
        listener.heard.clear()
        receiver.leave()
        listener.until("tconnectsync/status")
        assert listener.said("tconnectsync/status")["availability"] == "offline"
        receiver.leave()


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


@contextmanager
def showing(receiver: Broker) -> Iterator[None]:
    """The daemon's connection of this receiver."""
    receiver.show([])
    try:
        yield
    finally:
        receiver.leave()


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


def test_a_wrong_password_is_not_tried_again_and_again(broker: Callable[..., int], tmp_path: Path) -> None:
    """After a refused login the daemon's own connection waits an hour: the broker's log has one attempt."""
    users, log = tmp_path / "users", tmp_path / "broker.log"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "pump", "right"], check=True)
    port = broker(f"password_file {users}", f"log_dest file {log}", "log_type all")
    options = MqttOptions(host="127.0.0.1", port=port, username="pump", password=Secret("wr0ng"))
    receiver = Broker(options, version="4", clock=NoonClock())
    receiver.show([])
    try:
        eventually(lambda: log.exists() and "not authorised" in log.read_text(), "the refusal in the broker's log")
        with pytest.raises(CredentialsRefused):
            receiver.deliver(deliveries())
        eventually(lambda: log.read_text().count("not authorised") >= 2, "the delivery's refusal too")
        time.sleep(1.5)  # longer than the shortest wait after another failure
        assert log.read_text().count("not authorised") == 2, "the delivery's own, and one of the daemon's connection"
    finally:
        receiver.leave()


def test_what_is_missing_is_told_before_anything_runs() -> None:
    assert "sinks.mqtt.host" in problems(MqttOptions(), {})[0]
    assert "username" in problems(MqttOptions(host="h", password=Secret("x")), {})[0]
    assert problems(MqttOptions(host="h"), {}) == []
