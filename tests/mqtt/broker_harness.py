"""A pump's day for the broker, and somebody who listens to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone

import attrs
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from tconnectsync import Delivery, Event, Fold, events
from tconnectsync_mqtt.discovery import device_topic
from tconnectsync_mqtt.sink import Broker
from tconnectsync_mqtt.state_fold import StateFold

DEVICE = device_topic("tconnectsync", "homeassistant")
NOON = datetime(2026, 5, 14, 12, 0, tzinfo=timezone.utc)


@attrs.frozen
class NoonClock:
    """A clock that stands still at so many minutes after noon. ``wait`` is called instead of sleeping."""

    minutes: float = 2.0
    wait: Callable[[float], object] = float

    def now(self) -> datetime:
        return NOON + timedelta(minutes=self.minutes)

    def monotonic(self) -> float:
        return 60 * self.minutes

    def sleep(self, seconds: float) -> None:
        self.wait(seconds)


def deliveries(fold: Fold[object] | None = None) -> list[Delivery]:
    """The fold's documents after a basal record and a bolus."""
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
    """Listens to the broker; ``until`` waits for topics."""

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


def components(listener: Listener) -> dict[str, dict[str, object]]:
    """The entities of the device's discovery message."""
    found = listener.said(DEVICE)["components"]
    assert isinstance(found, dict)
    return found


@contextmanager
def showing(receiver: Broker) -> Iterator[None]:
    """The daemon's connection of this receiver."""
    receiver.show([])
    try:
        yield
    finally:
        receiver.leave()
