"""The daemon's own connection to a broker that acknowledges nothing for a while."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from datetime import datetime

import attrs
import pytest

from tconnectsync_mqtt import announcer
from tconnectsync_mqtt.discovery import device_topic
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.sink import Broker
from tests.e2e.installation import eventually
from tests.mqtt.broker_harness import NOON, deliveries
from tests.mqtt.packets import CONNECT, PUBLISH, SUBSCRIBE, acknowledgement, packets, topic
from tests.support.raw_server import serving

DEVICE = device_topic("tconnectsync", "homeassistant")
ONE_ROUND = 3
"""How often a round reads the clock: for the device and for each of two values."""


@attrs.define
class CountingClock:
    """A clock that stands still at noon and counts its readings."""

    readings: int = 0

    def now(self) -> datetime:
        self.readings += 1
        return NOON

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nobody waits for {seconds} s")


@attrs.define
class SlowBroker:
    """It acknowledges a message after ``answering`` is set, and keeps the topics in order."""

    port: int = 0
    topics: list[str] = attrs.Factory(list)
    answering: threading.Event = attrs.Factory(threading.Event)
    _withheld: list[bytes] = attrs.Factory(list)

    def talk(self, connection: socket.socket, _: threading.Event) -> None:
        connection.settimeout(60)
        later = threading.Thread(target=self._answer_later, args=(connection,))
        later.start()
        for kind, body in packets(connection):
            if kind == CONNECT:
                connection.sendall(b"\x20\x02\x00\x00")
            elif kind == SUBSCRIBE:
                connection.sendall(b"\x90\x03" + body[:2] + b"\x01")
            elif kind == PUBLISH:
                self.topics.append(topic(body))
                self._withheld.append(acknowledgement(body))
                if self.answering.is_set():
                    self._answer(connection)
        self.answering.set()
        later.join()

    def _answer_later(self, connection: socket.socket) -> None:
        self.answering.wait(60)
        with contextlib.suppress(OSError):
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        while self._withheld:
            connection.sendall(self._withheld.pop(0))


@pytest.fixture
def slow_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowBroker]:
    monkeypatch.setattr(announcer, "SUBSCRIBE_S", 0.0)
    monkeypatch.setattr(announcer, "PAUSE_S", 0.2)
    monkeypatch.setattr("tconnectsync_mqtt.presence._ANSWER_S", 0.2)
    broker = SlowBroker()
    with serving(broker.talk) as broker.port:
        yield broker


def test_late_answer_is_followed_by_another_round(slow_broker: SlowBroker) -> None:
    """It may reach the broker after a newer value. Until it is acknowledged, nothing more is put into the queue."""
    clock = CountingClock()
    receiver = Broker(MqttOptions(host="127.0.0.1", port=slow_broker.port), version="4", clock=clock)
    receiver._keep_values(deliveries())  # as after a delivery
    receiver.show([])
    try:
        eventually(lambda: clock.readings > 2 * ONE_ROUND, "more than two rounds")
        assert [topic for topic in slow_broker.topics if topic != "tconnectsync/status"] == [DEVICE]
        slow_broker.answering.set()
        eventually(lambda: {"tconnectsync/current", "tconnectsync/lasting"} <= set(slow_broker.topics), "the values")
        assert slow_broker.topics.count(DEVICE) > 1
    finally:
        receiver.leave()
