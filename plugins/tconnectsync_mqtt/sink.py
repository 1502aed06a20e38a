"""The sink: its fold, and the broker as its receiver."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from tconnectsync import (
    Accepted,
    BaseReceiver,
    CheckResult,
    Clock,
    Context,
    CredentialsRefused,
    Delivery,
    GlucoseUnits,
    Outcome,
    Retryable,
    Sink,
    document_id,
)
from tconnectsync_mqtt import alarm_fold
from tconnectsync_mqtt.alarm_fold import AlarmFold
from tconnectsync_mqtt.announcer import SUBSCRIBE_S
from tconnectsync_mqtt.details_fold import DETAILS, DetailsFold
from tconnectsync_mqtt.discovery import (
    ALARM,
    ENTITIES,
    MIGRATE,
    ONLINE,
    STATUS,
    device_message,
    device_topic,
    older_topics,
)
from tconnectsync_mqtt.memory import BrokerMemory
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.state_fold import COLLECTION, CURRENT, LASTING, StateFold
from tconnectsync_mqtt.value_age import left_s, without_expired

if TYPE_CHECKING:
    from tconnectsync_mqtt.presence import Presence
    from tconnectsync_mqtt.session import Message

_TOPICS = {document_id("site", COLLECTION, topic): topic for topic in (CURRENT, LASTING, DETAILS)}
_RETAINED = frozenset({LASTING, DETAILS})
"""The current state is not retained: a broker would send it to later subscribers as news. Nor are alarms."""


def open_sink(options: MqttOptions, context: Context) -> Sink:
    """Return the sink with its receiver."""
    receiver = Broker(options, version=context.version, clock=context.clock, units=context.glucose_units)
    return Sink(folds=[StateFold(), DetailsFold(), AlarmFold()], receiver=receiver)


class Broker(BaseReceiver):
    """An MQTT broker. It does not return what it stores: only the newest message counts."""

    batch_size = 10

    def __init__(
        self, options: MqttOptions, *, version: str, clock: Clock, units: GlucoseUnits = GlucoseUnits.MG_DL
    ) -> None:
        self.options, self.version, self.clock, self.units = options, version, clock, units
        scheme = "mqtts" if options.tls else "mqtt"
        self.address = f"{scheme}://{options.host}:{options.broker_port}/{options.prefix}"
        self._memory = BrokerMemory(address=self.address)
        self._presence: Presence | None = None
        self._presence_lock = threading.Lock()
        self._order = threading.Lock()
        """Held while older values are published again, so that they come before newer ones."""

    def memory(self) -> str:
        """Where the device was announced, and the newest values."""
        return self._memory.text()

    def recall(self, memory: str) -> None:
        """Take it back."""
        self._memory = BrokerMemory.of(memory, self.options.discovery_prefix, self.address)

    def show(self, problems: Sequence[str]) -> None:
        """Publish that the daemon runs, and its problems. The first call opens a connection with a last will."""
        with self._presence_lock:
            if self._presence is None:
                with contextlib.suppress(OSError):  # no file with trusted certificates: each delivery says so
                    self._presence = self._new_presence()
            if self._presence is not None:
                self._presence.show(problems)

    def leave(self) -> None:
        """Publish that the daemon was stopped."""
        with self._presence_lock:
            presence, self._presence = self._presence, None
            if presence is not None:
                presence.leave()

    def _connect_again(self) -> None:
        """The broker accepts messages: the daemon's own connection need not wait any longer after a failure."""
        with self._presence_lock:
            presence = self._presence
            if presence is None or presence.is_connected():
                return
            presence.leave()
            self._presence = self._new_presence()
            self._presence.show(presence.problems)

    def _new_presence(self) -> Presence:
        from tconnectsync_mqtt.presence import Presence

        return Presence(
            self.options, publish_device=self._publish_device_again, publish_values=self._publish_values_again
        )

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """Publish the newest state. A withdrawn document becomes an empty message, which clears the retained one."""
        now = self.clock.now()
        messages = [self._message(delivery, now) for delivery in batch]
        contents = {
            _topic_of(delivery): delivery.document.content for delivery in batch if delivery.document is not None
        }
        self._keep_values(batch)
        # first the expiry of each value: Home Assistant counts it from the value's arrival
        is_new = self._memory.announced != self.options.discovery_prefix
        is_first = self._memory.announced is None
        discovery = self._discovery(contents, now, replace=is_first and any(each.receiver_key for each in batch))
        if is_new and discovery:
            self._publish(*discovery)
            self.clock.sleep(SUBSCRIBE_S)
            discovery = []
        told = [each for each in messages if each.payload or each.retained]
        alarms = [each for each in told if each.topic.endswith(f"/{ALARM}")]
        # alarms last: if a topic is refused, the batch comes again, and everything but an alarm may be sent twice
        self._publish(*discovery, [*self._alive(), *(each for each in told if each not in alarms)], alarms)
        self._connect_again()
        if LASTING in contents:  # if an earlier release had published anything, then this
            self._memory = attrs.evolve(self._memory, announced=self.options.discovery_prefix)
        return [Accepted(receiver_key=_topic_of(delivery)) for delivery in batch]

    def _keep_values(self, batch: Sequence[Delivery]) -> None:
        values = dict(self._memory.values)
        for delivery in batch:
            topic = _topic_of(delivery)
            values.pop(topic, None)
            if delivery.document is not None and topic != ALARM:
                values[topic] = delivery.document.content
        with self._order:
            self._memory = attrs.evolve(self._memory, values=values)

    def _publish_device_again(self, publish: Callable[[Message], None]) -> None:
        with self._order:
            if self._memory.values:  # else nothing was published yet, and there is nothing to show
                for group in self._discovery(self._memory.values, self.clock.now(), replace=False):
                    for message in group:
                        publish(message)

    def _publish_values_again(self, publish: Callable[[Message], None]) -> None:
        """Publish the newest values as of now: what is too old by now is null."""
        with self._order:
            for topic, content in self._memory.values.items():
                publish(self._value_message(topic, content, self.clock.now()))

    def check(self) -> Iterator[CheckResult]:
        """Check the login and the access list of the broker, with empty messages that nobody reads."""
        from tconnectsync_mqtt.session import Message

        topics = [f"{self.options.prefix}/check"]
        if self.options.discovery_prefix:
            topics.append(device_topic(self.options.prefix, self.options.discovery_prefix, "check"))
        try:
            self._publish([Message(topic=topic, payload=b"", retained=False) for topic in topics])
        except (Retryable, CredentialsRefused) as error:
            yield CheckResult(good=False, what=error.message, remedy=error.remedy)
        else:
            yield CheckResult(good=True, what=f"MQTT broker {self.address} accepts messages")

    def _publish(self, *groups: Sequence[Message]) -> None:
        from tconnectsync_mqtt.session import MqttSession

        MqttSession(self.options, self.clock).publish(*groups)

    def _alive(self) -> Sequence[Message]:
        """That a single cycle worked. The daemon's own connection says more."""
        from tconnectsync_mqtt.presence import status_payload
        from tconnectsync_mqtt.session import Message

        if self._presence is not None:
            return ()
        topic = f"{self.options.prefix}/{STATUS}"
        return (Message(topic=topic, payload=status_payload(ONLINE, ()), retained=True),)

    def _discovery(
        self, contents: Mapping[str, Mapping[str, Any]], now: datetime, *, replace: bool
    ) -> list[list[Message]]:
        """Discovery messages, sent each time, since the broker may have lost them.

        ``contents`` by topic is published next. ``replace``: an earlier release may have published a message for each entity. They
        announce the change, so that Home Assistant keeps the entities, and are removed after it (https://www.home-assistant.io/integrations/mqtt/#migration-from-single-component-to-device-based-discovery).
        """
        from tconnectsync_mqtt.session import Message

        options, before = self.options, self._memory.announced
        cleared = []
        if before and before != options.discovery_prefix:  # else Home Assistant would find two devices
            cleared = [[Message(topic=device_topic(options.prefix, before), payload=b"", retained=True)]]
        if not options.discovery_prefix:
            return cleared
        left = {
            entity.key: max(left, 1.0)
            for entity in ENTITIES
            if entity.topic in contents and (left := left_s(entity, contents[entity.topic], now)) is not None
        }
        device = Message(
            topic=device_topic(options.prefix, options.discovery_prefix),
            payload=_json(device_message(options.prefix, self.version, self.units, left)),
            retained=True,
        )
        if not replace:
            return [*cleared, [device]]
        older = older_topics(options.prefix, options.discovery_prefix)
        return [
            [Message(topic=topic, payload=_json(MIGRATE), retained=False) for topic in older],
            [device],
            [Message(topic=topic, payload=b"", retained=True) for topic in older],
        ]

    def _message(self, delivery: Delivery, now: datetime) -> Message:
        content = None if delivery.document is None else delivery.document.content
        return self._value_message(_topic_of(delivery), content, now)

    def _value_message(self, topic: str, content: Mapping[str, Any] | None, now: datetime) -> Message:
        """Return the message of a topic; empty if there is no content any more."""
        from tconnectsync_mqtt.session import Message

        payload = b"" if content is None else _json(without_expired(topic, content, now))
        return Message(topic=f"{self.options.prefix}/{topic}", payload=payload, retained=topic in _RETAINED)


def _topic_of(delivery: Delivery) -> str:
    return ALARM if delivery.collection == alarm_fold.COLLECTION else _TOPICS[delivery.document_id]


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
