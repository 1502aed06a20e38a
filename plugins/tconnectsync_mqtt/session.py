"""One session with an MQTT broker: connect, publish, wait for the acknowledgement, disconnect."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import attrs
from paho.mqtt.client import Client, ConnectFlags, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tconnectsync import Clock, CredentialsRefused, HttpFailure, Retryable, connections, waiting
from tconnectsync_mqtt.options import MqttOptions

CONNECT_S, ANSWER_S = 10.0, 20.0
TURN_S = 0.2
_IN_FLIGHT = 5
"""Messages that wait for an answer at once. A broker may close the connection if there are more than it takes."""
_SETTINGS = "The settings are sinks.mqtt.host and port."
WORDS: dict[HttpFailure, tuple[str, str]] = {
    HttpFailure.UNKNOWN_NAME: (
        "cannot be reached: no connection, because no computer has this name (DNS)",
        f"Is this computer online? {_SETTINGS}",
    ),
    HttpFailure.REFUSED: (
        "cannot be reached: no connection, because no program listens there (port {port} refuses it)",
        f"Check that the broker is running. {_SETTINGS} The daemon retries.",
    ),
    HttpFailure.CUT_OFF: (
        "cannot be reached: it broke the connection",
        f"The broker's log may have the reason. {_SETTINGS}",
    ),
}
"""Words for the failures that HTTP names differently."""
_NO_TLS = (
    "cannot be reached: it broke the TLS connection",
    (
        "Does the broker speak TLS on port {port}? If not, correct sinks.mqtt.port (usually 8883), or set tls = false."
        " A broker that wants a client's certificate cannot be used. The broker's log may have more."
    ),
)
WORDS_WITH_TLS = WORDS | dict.fromkeys((HttpFailure.CUT_OFF, HttpFailure.PLAIN_PORT, HttpFailure.TLS_BROKEN), _NO_TLS)
_OLD_BROKER = "Unsupported protocol version"
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


class _NotMqtt5(Exception):
    """The broker does not know MQTT 5."""


def new_client(
    options: MqttOptions, *, reconnect: bool, protocol: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311
) -> Client:
    """Return a client with the login and encryption of the configuration, not connected.

    Errors: OSError if the file with trusted certificates cannot be read.
    """
    client = Client(CallbackAPIVersion.VERSION2, protocol=protocol, reconnect_on_failure=reconnect)
    client.connect_timeout = CONNECT_S
    if options.username is not None:
        client.username_pw_set(options.username, options.password.reveal() if options.password else None)
    if options.tls:
        client.tls_set_context(connections.tls_context(verify=options.verify_tls))
    return client


class MqttSession:
    """Publish messages with QoS 1 on the caller's thread. Only MQTT 5 says that a topic is not allowed; an older broker gets 3.1.1."""

    def __init__(self, options: MqttOptions, clock: Clock) -> None:
        self.options, self.clock = options, clock

    def publish(self, *groups: Sequence[Message]) -> None:
        """Publish all groups; each after the broker acknowledged the one before.

        Raises Retryable, also for a topic that is not allowed, or CredentialsRefused if the broker refuses the login.
        """
        where = f"the MQTT broker {self.options.host}:{self.options.broker_port}"
        try:
            with waiting():
                try:
                    _Connection(self.options, MQTTProtocolVersion.MQTTv5, where).publish(groups)
                except _NotMqtt5:
                    _Connection(self.options, MQTTProtocolVersion.MQTTv311, where).publish(groups)
                return
        except (OSError, ValueError) as error:
            # raised below and not here: the error would keep the socket of a failed handshake open
            failed = connections.connection_failed(
                error, where=where, host=self.options.host or "", port=self.options.broker_port, connect_s=CONNECT_S,
                now=self.clock.now(), other_words=WORDS_WITH_TLS if self.options.tls else WORDS,
            )  # fmt: skip
        raise failed


class _Connection:
    """One connection with one version of the protocol."""

    def __init__(self, options: MqttOptions, protocol: MQTTProtocolVersion, where: str) -> None:
        self._host, self._port, self._tls, self._where = options.host or "", options.broker_port, options.tls, where
        self._is_mqtt5 = protocol == MQTTProtocolVersion.MQTTv5
        self._answer: ReasonCode | None = None
        self._topics: dict[int, str] = {}
        self._denied: dict[str, str] = {}
        self._client = new_client(options, reconnect=False, protocol=protocol)
        self._client.max_inflight_messages_set(_IN_FLIGHT)
        self._client.on_connect = self._connected
        self._client.on_publish = self._published

    def publish(self, groups: Sequence[Sequence[Message]]) -> None:
        """Publish all groups."""
        try:
            self._client.connect(self._host, self._port)
            self._until(lambda: self._answer is not None)
            self._check_answer()
            for messages in groups:
                self._send(messages)
        finally:
            self._client.disconnect()
            self._client.loop(0)

    def _send(self, messages: Sequence[Message]) -> None:
        sent = [self._publish(message) for message in messages]
        self._until(lambda: all(info.is_published() for info in sent))
        for topic, reason in self._denied.items():
            raise Retryable(
                f"{self._where} does not accept messages to {topic}: {reason}",
                remedy="Allow this topic in the broker's access list.",
            )

    def _publish(self, message: Message) -> MQTTMessageInfo:
        info = self._client.publish(message.topic, message.payload, qos=1, retain=message.retained)
        self._topics[info.mid] = message.topic
        return info

    def _until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + ANSWER_S
        while not done():
            try:
                code = self._client.loop(TURN_S)
            except IndexError:  # paho-mqtt 2.1, if the answer is none of MQTT 5
                code = MQTTErrorCode.MQTT_ERR_PROTOCOL
            self._check_answer()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                if self._is_mqtt5 and self._answer is None:
                    raise _NotMqtt5  # some close the connection without a word
                raise self._closed(code)
            if time.monotonic() > deadline:
                raise Retryable(
                    f"{self._where} did not answer within {ANSWER_S:.0f} s",
                    remedy="The broker's log may have the reason.",
                )

    def _closed(self, code: MQTTErrorCode) -> Retryable:
        if self._answer is None and not self._tls and connections.speaks_tls(self._host, self._port):
            return Retryable(
                f"{self._where} cannot be reached: port {self._port} speaks TLS",
                remedy="Set sinks.mqtt.tls = true, or sinks.mqtt.port to the port without TLS (usually 1883).",
            )
        remedy = "The broker's log has the reason."
        if self._answer is None and self._tls:
            remedy = f"A broker that wants a client's certificate cannot be used. {remedy}"
        return Retryable(f"{self._where} closed the connection ({code.name})", remedy=remedy)

    def _check_answer(self) -> None:
        if self._answer is None or not self._answer.is_failure:
            return
        reason = self._answer.getName()
        if self._is_mqtt5 and reason == _OLD_BROKER:
            raise _NotMqtt5
        if is_login_refused(self._answer):
            raise CredentialsRefused(
                f"{self._where} refuses the login: {reason}", remedy="Correct sinks.mqtt.username and password."
            )
        raise Retryable(f"{self._where} refuses the connection: {reason}", remedy="The broker's log has the reason.")

    def _connected(
        self, _client: Client, _data: object, _flags: ConnectFlags, answer: ReasonCode, _more: Properties | None
    ) -> None:
        self._answer = answer

    def _published(
        self, _client: Client, _data: object, mid: int, answer: ReasonCode, _more: Properties | None
    ) -> None:
        if answer.is_failure:
            self._denied[self._topics[mid]] = answer.getName()
