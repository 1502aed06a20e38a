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
    GlucoseUnits,
    Outcome,
    Retryable,
    Sink,
    document_id,
)
from tconnectsync_mqtt import alarm_fold
from tconnectsync_mqtt.alarm_fold import AlarmFold
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
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.state_fold import COLLECTION, CURRENT, LASTING, StateFold
from tconnectsync_mqtt.value_age import left_s, without_expired

if TYPE_CHECKING:
    from tconnectsync_mqtt.presence import Presence
    from tconnectsync_mqtt.session import Message

_TOPICS = {document_id("site", COLLECTION, topic): topic for topic in (CURRENT, LASTING, DETAILS)}
_RETAINED = frozenset({LASTING, DETAILS})
"""The current state is not retained: a broker would send it to later subscribers as news. Nor are alarms."""
SUBSCRIBE_S = 2.0
"""Home Assistant subscribes to the topics of a device that is new to it a moment after the discovery message (2025.4: 0.2 s)."""
_ONE_DEVICE = "device discovery"
"""What the receiver remembers once the discovery messages of earlier releases are replaced."""


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
        self._memory = ""
        self._presence: Presence | None = None

    def memory(self) -> str:
        """Whether the discovery messages of earlier releases are replaced."""
        return self._memory

    def recall(self, memory: str) -> None:
        """Take it back."""
        self._memory = memory

    def show(self, problems: Sequence[str]) -> None:
        """Publish that the daemon runs, and its problems. The first call opens a connection with a last will."""
        from tconnectsync_mqtt.presence import Presence

        if self._presence is None:
            self._presence = Presence(self.options)
        self._presence.show(problems)

    def leave(self) -> None:
        """Publish that the daemon was stopped."""
        presence, self._presence = self._presence, None
        if presence is not None:
            presence.leave()

    def deliver(self, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        """Publish the newest state. A withdrawn document becomes an empty message, which clears the retained one."""
        now = self.clock.now()
        messages = [self._message(delivery, now) for delivery in batch]
        contents = {
            _topic_of(delivery): delivery.document.content for delivery in batch if delivery.document is not None
        }
        # first the expiry of each value: Home Assistant counts it from the value's arrival
        is_new = self._memory != _ONE_DEVICE
        discovery = self._discovery(contents, now, replace=is_new and any(each.receiver_key for each in batch))
        if is_new and discovery:
            self._publish(*discovery)
            self.clock.sleep(SUBSCRIBE_S)
            discovery = []
        self._publish(*discovery, [*self._alive(), *(each for each in messages if each.payload or each.retained)])
        if LASTING in contents:  # if an earlier release had published anything, then this
            self._memory = _ONE_DEVICE
        return [Accepted(receiver_key=_topic_of(delivery)) for delivery in batch]

    def check(self) -> Iterator[CheckResult]:
        """Check the login at the broker, with an empty message that nobody reads."""
        from tconnectsync_mqtt.session import Message

        try:
            self._publish([Message(topic=f"{self.options.prefix}/check", payload=b"", retained=False)])
        except (Retryable, CredentialsRefused) as error:
            yield CheckResult(good=False, what=error.message, remedy=error.remedy)
        else:
            yield CheckResult(good=True, what=f"MQTT broker {self.address} accepts messages")

    def _publish(self, *groups: Sequence[Message]) -> None:
        from tconnectsync_mqtt.session import MqttSession

        MqttSession(self.options).publish(*groups)

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

        options = self.options
        if not options.discovery_prefix:
            return []
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
            return [[device]]
        older = older_topics(options.prefix, options.discovery_prefix)
        return [
            [Message(topic=topic, payload=_json(MIGRATE), retained=False) for topic in older],
            [device],
            [Message(topic=topic, payload=b"", retained=True) for topic in older],
        ]

    def _message(self, delivery: Delivery, now: datetime) -> Message:
        from tconnectsync_mqtt.session import Message

        topic = _topic_of(delivery)
        payload = b"" if delivery.document is None else _json(without_expired(topic, delivery.document.content, now))
        return Message(topic=f"{self.options.prefix}/{topic}", payload=payload, retained=topic in _RETAINED)


def _topic_of(delivery: Delivery) -> str:
    return ALARM if delivery.collection == alarm_fold.COLLECTION else _TOPICS[delivery.document_id]


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()
