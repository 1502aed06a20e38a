"""A broker that refuses the login of the daemon's own connection: a hiccup, or a wrong password."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from tconnectsync import Secret
from tconnectsync_mqtt import presence
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.sink import Broker
from tests.e2e.installation import eventually
from tests.mqtt.broker_harness import NoonClock, deliveries, listening, showing


class NeverConnected:
    """A client that keeps the wait before its next attempt."""

    pause_s = 0
    on_connect: Any = None

    def reconnect_delay_set(self, shortest_s: int, _longest_s: int) -> None:
        self.pause_s = shortest_s

    def will_set(self, *_message: object, **_more: object) -> None: ...
    def connect_async(self, *_address: object, **_more: object) -> None: ...
    def loop_start(self) -> None: ...
    def publish(self, *_message: object, **_more: object) -> None: ...

    def disconnect(self) -> MQTTErrorCode:
        raise AssertionError("it has not left")


def test_one_refusal_waits_minutes_not_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The login of a broker that is just starting may not be ready. A row of refusals is a wrong password."""
    client = NeverConnected()
    monkeypatch.setattr(presence, "new_client", lambda _options, *, reconnect: client)
    options = MqttOptions(host="127.0.0.1", discovery_prefix="")
    presence.Presence(options, publish_device=lambda _publish: None, publish_values=lambda _publish: None)

    def pause_after(name: str) -> int:
        client.on_connect(client, None, None, ReasonCode(PacketTypes.CONNACK, name), None)
        return client.pause_s

    waits = [pause_after(name) for name in ("Not authorized", "Server unavailable", "Not authorized", "Not authorized")]
    assert waits == [120, 120, 3600, 3600]
    assert [pause_after("Success"), pause_after("Bad user name or password")] == [1, 120]


def test_an_accepted_delivery_ends_the_wait(broker: Callable[..., int], tmp_path: Path) -> None:
    """The broker refused once while it started. What it accepts now would otherwise stay unavailable for minutes."""
    log, settings = tmp_path / "broker.log", {}
    for word in ("right", "other"):
        users = tmp_path / word
        users.touch(mode=0o600)
        subprocess.run(["mosquitto_passwd", "-b", str(users), "pump", word], check=True)
        settings[word] = (f"password_file {users}", f"log_dest file {log}", "allow_anonymous true")
    port = broker(*settings["right"])
    options = MqttOptions(host="127.0.0.1", port=port, username="pump", password=Secret("right"))
    receiver = Broker(options, version="4", clock=NoonClock())
    with showing(receiver):
        with listening(port) as listener:
            listener.until("tconnectsync/status")
        broker(*settings["other"], port=port)
        eventually(lambda: "not authorised" in log.read_text(), "the refusal in the broker's log")
        broker(*settings["right"], port=port)
        receiver.show(["a problem"])
        receiver.deliver(deliveries())
        with listening(port) as listener:
            listener.until("tconnectsync/status", "tconnectsync/current")
        assert listener.said("tconnectsync/status")["problems"] == ["a problem"]
