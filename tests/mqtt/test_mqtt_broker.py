"""The receiver against a real mosquitto."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import msgspec
import pytest

from tconnectsync import Accepted, CredentialsRefused, Delivery, Retryable, Secret
from tconnectsync_mqtt.discovery import older_topics
from tconnectsync_mqtt.options import MqttOptions, problems
from tconnectsync_mqtt.sink import Broker
from tests.e2e.installation import eventually
from tests.mqtt.broker_harness import DEVICE, NoonClock, components, deliveries, listening


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
        first.deliver([msgspec.structs.replace(each, receiver_key="of an earlier release") for each in deliveries()])
        before.until("tconnectsync/lasting")
        for topic in older:
            assert before.heard[topic] == [b'{"name": "old"}', b'{"migrate_discovery":true}', b""]
        order = list(before.heard)
        assert order.index(older[-1]) < order.index(DEVICE)
        again = Broker(options, version="4", clock=NoonClock())
        again.recall(first.memory())
        again.deliver([msgspec.structs.replace(each, receiver_key="of this release") for each in deliveries()])
        before.until("tconnectsync/lasting", DEVICE)
        assert {len(before.heard[topic]) for topic in older} == {3}
    with listening(port) as later:
        later.until(DEVICE)
    assert not set(older) & later.heard.keys()


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


@pytest.mark.parametrize("host", ["mqtt://homeassistant.local", "127.0.0.1:18883", "[::1]:1883", "broker:"])
def test_host_without_scheme_and_port(host: str) -> None:
    check = attrs.fields(MqttOptions).host.metadata["check"]
    assert "port" in (check(host) or "")
    assert [check(each) for each in ("homeassistant.local", "127.0.0.1", "::1", "fe80::1%eth0", None)] == [None] * 5
