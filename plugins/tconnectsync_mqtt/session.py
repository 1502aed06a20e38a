"""One session with an MQTT broker: connect, publish, wait for the acknowledgement, disconnect."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Sequence

import attrs
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tconnectsync import CredentialsRefused, Retryable, waiting
from tconnectsync_mqtt.options import MqttOptions

CONNECT_S, ANSWER_S = 10.0, 20.0
TURN_S = 0.2
_REFUSED = frozenset({"Bad user name or password", "Not authorized"})


def is_login_refused(answer: ReasonCode) -> bool:
    """Whether the broker refuses the user name or password."""
    return answer.getName() in _REFUSED


@attrs.frozen(kw_only=True)
class Message:
    """A message and its topic. ``retained``: the broker sends it to later subscribers too."""

    topic: str
    payload: bytes
    retained: bool


def new_client(options: MqttOptions, *, reconnect: bool) -> Client:
    """Return a client with the login and encryption of the configuration, not connected."""
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311, reconnect_on_failure=reconnect)
    client.connect_timeout = CONNECT_S
    if options.username is not None:
        client.username_pw_set(options.username, options.password.reveal() if options.password else None)
    if options.tls:
        context = ssl.create_default_context()
        if not options.verify_tls:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        client.tls_set_context(context)
    return client


class MqttSession:
    """Publish messages with QoS 1 on the caller's thread."""

    def __init__(self, options: MqttOptions) -> None:
        self.options = options
        self._answer: ReasonCode | None = None
        self._client = new_client(options, reconnect=False)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected

    def publish(self, *groups: Sequence[Message]) -> None:
        """Publish all groups; each after the broker acknowledged the one before.

        Raises Retryable, or CredentialsRefused if the broker refuses the login.
        """
        where = f"the MQTT broker {self.options.host}:{self.options.broker_port}"
        try:
            with waiting():
                self._client.connect(self.options.host or "", self.options.broker_port)
                self._until(lambda: self._answer is not None, where)
                self._check_answer(where)
                for messages in groups:
                    self._send(messages, where)
        except (OSError, ValueError) as error:
            raise Retryable(
                f"{where} cannot be reached: {error}",
                remedy="Check that it is running, and check sinks.mqtt.host and port.",
            ) from error
        finally:
            self._client.disconnect()
            self._client.loop(0)

    def _send(self, messages: Sequence[Message], where: str) -> None:
        sent = [self._publish(message) for message in messages]
        self._until(lambda: all(info.is_published() for info in sent), where)

    def _publish(self, message: Message) -> MQTTMessageInfo:
        return self._client.publish(message.topic, message.payload, qos=1, retain=message.retained)

    def _until(self, done: Callable[[], bool], where: str) -> None:
        deadline = time.monotonic() + ANSWER_S
        while not done():
            code = self._client.loop(TURN_S)
            self._check_answer(where)
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise Retryable(
                    f"{where} closed the connection ({code.name})", remedy="The broker's log has the reason."
                )
            if time.monotonic() > deadline:
                raise Retryable(
                    f"{where} did not answer within {ANSWER_S:.0f} s", remedy="The broker's log may have the reason."
                )

    def _check_answer(self, where: str) -> None:
        if self._answer is None or not self._answer.is_failure:
            return
        reason = self._answer.getName()
        if is_login_refused(self._answer):
            raise CredentialsRefused(
                f"{where} refuses the login: {reason}", remedy="Correct sinks.mqtt.username and password."
            )
        raise Retryable(f"{where} refuses the connection: {reason}", remedy="The broker's log has the reason.")

    def _connected(
        self, _client: Client, _data: object, _flags: ConnectFlags, answer: ReasonCode, _more: Properties | None
    ) -> None:
        self._answer = answer

    def _disconnected(
        self, _client: Client, _data: object, _flags: DisconnectFlags, _answer: ReasonCode, _more: Properties | None
    ) -> None:
        """Nothing to do: the loop's return value reports it."""
