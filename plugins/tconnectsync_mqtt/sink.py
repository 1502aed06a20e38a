"""The sink: its fold, and the broker as its receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tconnectsync import (
    Accepted,
    BaseReceiver,
    CheckResult,
    Clock,
    Context,
    CredentialsRefused,
    Delivery,
    Outcome,
    Retryable,
    Sink,
    SinkSpec,
    addresses,
    document_id,
)
from tconnectsync_mqtt.discovery import SENSORS, SensorEntity, configuration, configuration_topic
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.state_fold import COLLECTION, CURRENT, LASTING, StateFold
from tconnectsync_mqtt.value_age import left_s, without_expired

if TYPE_CHECKING:
    from tconnectsync_mqtt.session import Message

_TOPICS = {document_id("site", COLLECTION, topic): topic for topic in (CURRENT, LASTING)}


def spec() -> SinkSpec:
    """``mqtt``, off by default."""
    return SinkSpec(name="mqtt", options=MqttOptions, open=open_sink, problems=problems, notes=notes)


def problems(options: MqttOptions, _sections: Mapping[str, Any]) -> Sequence[str]:
    """Settings that are missing to reach a broker."""
    found = []
    if not options.host:
        found.append("sinks.mqtt.host: missing; set it to the broker's name, such as homeassistant.local")
    if options.password is not None and not options.username:
        found.append("sinks.mqtt.username: missing; a password needs a user name")
    return found


def notes(options: MqttOptions) -> Sequence[str]:
    """Settings that work but are not safe."""
    if options.password is None or options.tls or not options.host or addresses.is_at_home(options.host):
        return ()
    return [
        "sinks.mqtt.tls: the broker's password is sent unencrypted to a host outside your own network; set tls = true (port 8883)"
    ]


def open_sink(options: MqttOptions, context: Context) -> Sink:
    """Return the sink with its receiver."""
    return Sink(folds=[StateFold()], receiver=Broker(options, version=context.version, clock=context.clock))


class Broker(BaseReceiver):
    """An MQTT broker. It does not return what it stores: only the newest message counts."""

    batch_size = 10

    def __init__(self, options: MqttOptions, *, version: str, clock: Clock) -> None:
        self.options, self.version, self.clock = options, version, clock
        scheme = "mqtts" if options.tls else "mqtt"
        self.address = f"{scheme}://{options.host}:{options.broker_port}/{options.prefix}"

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """Publish the newest state. A withdrawn document becomes an empty message, which clears the retained one."""
        now = self.clock.now()
        contents = {
            _TOPICS[delivery.document_id]: delivery.document.content
            for delivery in batch
            if delivery.document is not None
        }
        messages = [self._message(delivery, now) for delivery in batch]
        # first the expiry of each value: Home Assistant counts it from the value's arrival
        self._tell(
            self._discovery(contents, now), [message for message in messages if message.payload or message.retained]
        )
        return [Accepted(receiver_key=_TOPICS.get(delivery.document_id, "")) for delivery in batch]

    def check(self) -> Iterator[CheckResult]:
        """Check the login at the broker."""
        try:
            self._tell(self._discovery({}, self.clock.now()))
        except (Retryable, CredentialsRefused) as error:
            yield CheckResult(good=False, what=error.message, remedy=error.remedy)
        else:
            yield CheckResult(good=True, what=f"MQTT broker {self.address} accepts messages")

    def _tell(self, *groups: Sequence[Message]) -> None:
        from tconnectsync_mqtt.session import MqttSession

        MqttSession(self.options).publish(*groups)

    def _discovery(self, contents: Mapping[str, Mapping[str, Any]], now: datetime) -> list[Message]:
        """Discovery messages, sent each time, since the broker may have lost them.

        ``contents`` by topic is published next.
        """
        from tconnectsync_mqtt.session import Message

        options = self.options
        if not options.discovery_prefix:
            return []
        return [
            Message(
                topic=configuration_topic(sensor, options.prefix, options.discovery_prefix),
                payload=_json(configuration(sensor, options.prefix, self.version, left_s=_left(sensor, contents, now))),
                retained=True,
            )
            for sensor in SENSORS
        ]

    def _message(self, delivery: Delivery, now: datetime) -> Message:
        """The message of a document.

        The current state is not retained: a broker would send it to later subscribers as news.
        """
        from tconnectsync_mqtt.session import Message

        topic = _TOPICS[delivery.document_id]
        payload = b"" if delivery.document is None else _json(without_expired(topic, delivery.document.content, now))
        return Message(topic=f"{self.options.prefix}/{topic}", payload=payload, retained=topic == LASTING)


def _left(sensor: SensorEntity, contents: Mapping[str, Mapping[str, Any]], now: datetime) -> float | None:
    content = contents.get(sensor.topic)
    found = None if content is None else left_s(sensor, content, now)
    return None if found is None else max(found, 1.0)


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
