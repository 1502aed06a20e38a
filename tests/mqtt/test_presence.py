"""The daemon's own connection, without a broker."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from tconnectsync_mqtt import presence
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.session import Message


class ConnectedAtOnce:
    """A client whose thread is connected, and has published, before ``loop_start`` returns."""

    def __init__(self) -> None:
        self.has_published = threading.Event()
        self.on_connect: Any = None

    def reconnect_delay_set(self, *_pauses_s: int) -> None: ...
    def will_set(self, *_message: object, **_more: object) -> None: ...
    def connect_async(self, *_address: object, **_more: object) -> None: ...
    def subscribe(self, _topic: str, qos: int) -> None: ...
    def disconnect(self) -> None: ...
    def loop_stop(self) -> None: ...

    def is_connected(self) -> bool:
        return True

    def loop_start(self) -> None:
        self.on_connect(self, None, None, SimpleNamespace(is_failure=False, value=0), None)
        self.has_published.wait(5)

    def publish(self, topic: str, *_message: object, **_more: object) -> SimpleNamespace:
        if topic == "device":
            self.has_published.set()
        return SimpleNamespace(is_published=lambda: True, wait_for_publish=lambda _s: None)


def test_broker_answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is up before the constructor has ended, and the device is announced nevertheless."""
    client = ConnectedAtOnce()
    monkeypatch.setattr(presence, "new_client", lambda _options, *, reconnect: client)
    monkeypatch.setattr(presence, "is_login_refused", lambda _answer: False)
    connection = presence.Presence(
        MqttOptions(host="127.0.0.1"),
        publish_device=lambda publish: publish(Message(topic="device", payload=b"", retained=True)),
        publish_values=lambda _publish: None,
    )
    connection.leave()
    assert client.has_published.is_set()
