"""The receiver against a real mosquitto."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tconnectsync import CredentialsRefused, Delivery, Event, Fold, Retryable, Secret, Taken, events
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.sink import Broker, problems
from tconnectsync_mqtt.state import StateFold

NOON = datetime(2026, 5, 14, 12, 0, tzinfo=timezone.utc)


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
    receiver = Broker(MqttOptions(host="127.0.0.1", port=port), version="4")
    with listening(port) as listener:
        outcomes = receiver.deliver(deliveries())
        listener.until("tconnectsync/current", "tconnectsync/lasting")
    assert all(isinstance(outcome, Taken) for outcome in outcomes)
    current, lasting = listener.said("tconnectsync/current"), listener.said("tconnectsync/lasting")
    assert (current["iob"], current["basal_rate"], current["pump_state"]) == (3.25, 0.8, "delivering")
    assert current["glucose"] is None
    assert (lasting["last_bolus"], lasting["last_bolus_at"]) == (3.5, "2026-05-14T12:01:00+00:00")
    assert lasting["data_at"] == "2026-05-14T12:01:00+00:00"


def test_whoever_comes_later_finds_the_sensors_but_no_old_insulin_on_board(broker: Callable[..., int]) -> None:
    port = broker()
    Broker(MqttOptions(host="127.0.0.1", port=port), version="4").deliver(deliveries())
    with listening(port) as listener:
        listener.until("tconnectsync/lasting", "homeassistant/sensor/tconnectsync/iob/config")
    assert "tconnectsync/current" not in listener.heard
    sensor = listener.said("homeassistant/sensor/tconnectsync/iob/config")
    assert sensor["state_topic"] == "tconnectsync/current"
    assert sensor["value_template"] == "{{ value_json.iob }}"
    assert sensor["expire_after"] == 1800
    assert listener.said("homeassistant/sensor/tconnectsync/data_at/config")["device_class"] == "timestamp"
    assert len([topic for topic in listener.heard if topic.endswith("/config")]) == 9


def test_what_is_withdrawn_leaves_the_broker(broker: Callable[..., int]) -> None:
    port = broker()
    receiver = Broker(MqttOptions(host="127.0.0.1", port=port), version="4")
    told = deliveries()
    receiver.deliver(told)
    gone = [Delivery(document_id=each.document_id, collection=each.collection, document=None) for each in told]
    receiver.deliver(gone)
    with listening(port) as listener:
        listener.until("homeassistant/sensor/tconnectsync/iob/config")
    assert "tconnectsync/lasting" not in listener.heard


def test_topics_are_the_users_and_discovery_can_be_off(broker: Callable[..., int]) -> None:
    port = broker()
    options = MqttOptions(host="127.0.0.1", port=port, prefix="home/pump", discovery_prefix="")
    with listening(port) as listener:
        Broker(options, version="4").deliver(deliveries())
        listener.until("home/pump/current", "home/pump/lasting")
    assert set(listener.heard) == {"home/pump/current", "home/pump/lasting"}


def test_a_broker_that_is_not_there_is_asked_again_later() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Retryable, match="cannot be reached"):
        Broker(MqttOptions(host="127.0.0.1", port=port), version="4").deliver(deliveries())


def test_a_password_opens_the_broker_and_a_wrong_one_is_the_users_to_mend(
    broker: Callable[..., int], tmp_path: Path
) -> None:
    users = tmp_path / "users"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "pump", "right"], check=True)
    port = broker(f"password_file {users}")
    right = MqttOptions(host="127.0.0.1", port=port, username="pump", password=Secret("right"))
    (finding,) = Broker(right, version="4").check()
    assert finding.good
    wrong = MqttOptions(host="127.0.0.1", port=port, username="pump", password=Secret("wr0ng"))
    with pytest.raises(CredentialsRefused) as refused:
        Broker(wrong, version="4").deliver(deliveries())
    assert "wr0ng" not in str(refused.value)
    (finding,) = Broker(wrong, version="4").check()
    assert not finding.good


def test_what_is_missing_is_told_before_anything_runs() -> None:
    assert "sinks.mqtt.host" in problems(MqttOptions(), {})[0]
    assert "username" in problems(MqttOptions(host="h", password=Secret("x")), {})[0]
    assert problems(MqttOptions(host="h"), {}) == []
