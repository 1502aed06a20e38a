"""The daemon's own connection to the broker. If the daemon dies, the broker publishes the last will.

The device and its values are published again at each connection, since the broker may have lost them: a power cut ends the broker and
this program together. The same happens when Home Assistant starts (its birth message).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo

from tconnectsync_mqtt.announcer import Announcer
from tconnectsync_mqtt.discovery import BIRTH, OFFLINE, ONLINE, STATUS
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.session import Message, is_login_refused, new_client

KEEPALIVE_S = 60
"""After one and a half times as long without a sign the broker publishes the last will, for example after a power failure."""
PAUSES_S = (1, 120)
"""The shortest and the longest wait before it connects again."""
REFUSED_PAUSES_S = (120, 3600)
"""The wait after the first refused login, which may be a broker that is still starting, and after each further one: a broker may
lock out who tries a wrong password again and again."""
_LEAVE_S = 1.0
_ANSWER_S = 2.0


def status_payload(availability: str, problems: Sequence[str]) -> bytes:
    """The retained message that says whether tconnectsync works."""
    return json.dumps(
        {"availability": availability, "problem": "ON" if problems else "OFF", "problems": list(problems)}
    ).encode()


class Presence:
    """A connection that lasts as long as the daemon. It connects again by itself, and then publishes everything again.

    ``publish_device`` and ``publish_values`` call their argument with each message, in the announcer's thread.
    """

    def __init__(
        self,
        options: MqttOptions,
        *,
        publish_device: Callable[[Callable[[Message], None]], None],
        publish_values: Callable[[Callable[[Message], None]], None],
    ) -> None:
        self._topic = f"{options.prefix}/{STATUS}"
        self._birth_topic = f"{options.discovery_prefix}/{BIRTH}" if options.discovery_prefix else ""
        self._announcer = Announcer(
            announce=lambda: publish_device(self._publish_acknowledged),
            publish_values=lambda: publish_values(self._publish_acknowledged),
        )
        self._last_sent: MQTTMessageInfo | None = None
        self.problems: Sequence[str] = ()
        self._refusals = 0
        self._has_left = False
        client = new_client(options, reconnect=True)
        client.reconnect_delay_set(*PAUSES_S)
        client.will_set(
            self._topic, status_payload(OFFLINE, ["tconnectsync ended unexpectedly"]), qos=1, retain=True
        )  # fmt: skip
        client.on_connect = self._connected
        client.on_message = self._heard
        client.connect_async(options.host or "", options.broker_port, keepalive=KEEPALIVE_S)
        self._client = client  # before its thread begins, which may announce at once
        client.loop_start()

    def show(self, problems: Sequence[str]) -> None:
        """Publish these problems now, or when there is a connection."""
        self.problems = problems
        if self.is_connected():
            self._publish(self._client)

    def is_connected(self) -> bool:
        """Whether the broker knows that the daemon runs."""
        return self._client.is_connected()

    def leave(self) -> None:
        """Say that the daemon was stopped, and disconnect. Then the broker drops the last will."""
        self._has_left = True
        self._announcer.stop()
        connected = self._client.is_connected()
        if connected:
            payload = status_payload(OFFLINE, ["tconnectsync was stopped"])
            with contextlib.suppress(ValueError, RuntimeError):  # the connection broke just now: the will says it
                self._client.publish(self._topic, payload, qos=1, retain=True).wait_for_publish(_LEAVE_S)
        self._client.disconnect()
        if connected:  # else its thread may be in a long attempt to connect, and ends after it
            self._client.loop_stop()

    def _publish(self, client: Client) -> None:
        client.publish(self._topic, status_payload(ONLINE, self.problems), qos=1, retain=True)

    def _connected(self, client: Client, _data: object, _flags: object, answer: Any, _more: object) -> None:
        if self._has_left:  # while the attempt to connect was on its way
            client.disconnect()
            return
        if is_login_refused(answer):
            pause_s = REFUSED_PAUSES_S[min(self._refusals, 1)]
            self._refusals += 1
            client.reconnect_delay_set(pause_s, pause_s)
        if answer.is_failure:
            return
        self._refusals = 0
        client.reconnect_delay_set(*PAUSES_S)
        if self._birth_topic:
            client.subscribe(self._birth_topic, qos=1)
        self._publish(client)
        self._announcer.request()

    def _heard(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        if message.payload == ONLINE.encode():  # Home Assistant says so when it has started
            self._announcer.request()

    def _publish_acknowledged(self, message: Message) -> None:
        """Publish, and wait for the broker's answer: a later message of another connection must not be overtaken."""
        if not self._client.is_connected():
            return  # the next connection announces again
        if not _is_waiting(self._last_sent):
            self._last_sent = self._client.publish(message.topic, message.payload, qos=1, retain=message.retained)
            with contextlib.suppress(ValueError, RuntimeError):
                self._last_sent.wait_for_publish(_ANSWER_S)
        if _is_waiting(self._last_sent):  # it may arrive after a newer value, so another round has to follow it
            self._announcer.request()


def _is_waiting(sent: MQTTMessageInfo | None) -> bool:
    """Whether the client still has this message. One that it could not send is replaced at the next connection."""
    try:
        return sent is not None and not sent.is_published()
    except (ValueError, RuntimeError):
        return False
