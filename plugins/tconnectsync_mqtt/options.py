"""``[sinks.mqtt]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from tconnectsync import Secret, addresses, option, pasted

DEFAULT_PREFIX = "tconnectsync"
_TOPIC = re.compile(r"[^+#\0/]+(/[^+#\0/]+)*")


def _topic(value: object) -> str | None:
    fits = isinstance(value, str) and _TOPIC.fullmatch(value) and len(value) <= 200
    return None if fits else "a topic without +, # and empty levels, such as tconnectsync"


def _topic_or_off(value: object) -> str | None:
    return None if value == "" else _topic(value)


def _port(value: object) -> str | None:
    return None if isinstance(value, int) and 0 < value < 65536 else "a port between 1 and 65535"


def _host(value: str | None) -> str | None:
    if value is None or not re.search(r"/|^[^:]*:\d*$|\]:\d*$", value):
        return None
    return "only the broker's name or address, such as homeassistant.local; its port belongs to port"


@attrs.frozen(kw_only=True)
class MqttOptions:
    """The broker, and the topics to publish to."""

    host: str | None = option(None, clean=pasted.without_unseen, check=_host, help="the broker's name or address")
    port: int | None = option(
        None, check=lambda value: None if value is None else _port(value), help="1883, or 8883 with tls"
    )
    username: str | None = option(None, clean=pasted.text_or_none, help="the broker's user name, if it requires one")
    password: Secret | None = option(None, credential="mqtt-password", help="the password of that user")
    tls: bool = option(False, help="encrypt the connection; brokers on the internet require it")
    verify_tls: bool = option(True, help="false: accept any certificate")
    prefix: str = option(
        DEFAULT_PREFIX, check=_topic, help="the topics begin with PREFIX/; each person needs another one"
    )
    discovery_prefix: str = option(
        "homeassistant", check=_topic_or_off, help='topic prefix of Home Assistant discovery; "" turns it off'
    )

    @property
    def broker_port(self) -> int:
        """The port in use."""
        return self.port or (8883 if self.tls else 1883)


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
