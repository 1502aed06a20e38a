"""A broker that does not allow a topic, and one that is too old to say so."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tconnectsync import Accepted, Delivery, Document, Retryable, Secret
from tconnectsync_mqtt import alarm_fold
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.sink import Broker
from tests.mqtt.broker_harness import NOON, NoonClock, deliveries, listening
from tests.mqtt.packets import CONNECT, PUBLISH, acknowledgement, packets
from tests.support.raw_server import serving


def receiver_at(port: int, *, discovery_prefix: str = "homeassistant") -> Broker:
    options = MqttOptions(
        host="127.0.0.1", port=port, username="pump", password=Secret("right"), discovery_prefix=discovery_prefix
    )
    return Broker(options, version="4", clock=NoonClock())


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [("zigbee2mqtt/#", "tconnectsync/check"), ("tconnectsync/#", "homeassistant/device/tconnectsync/check")],
)
def test_a_topic_that_is_not_allowed_is_named(
    broker: Callable[..., int], tmp_path: Path, allowed: str, refused: str
) -> None:
    """Neither a delivery nor a check is accepted; they said that all is well, and nothing arrived."""
    users, access = tmp_path / "users", tmp_path / "access"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "pump", "right"], check=True)
    access.write_text(f"user pump\ntopic readwrite {allowed}\n")
    access.chmod(0o600)
    receiver = receiver_at(broker(f"password_file {users}", f"acl_file {access}"))
    with pytest.raises(
        Retryable, match="does not accept messages to homeassistant/device/tconnectsync/config"
    ) as raised:
        receiver.deliver(deliveries())
    assert "access list" in str(raised.value.remedy)
    (finding,) = receiver.check()
    assert not finding.good
    assert f"messages to {refused}: Not authorized" in finding.what


def test_a_refused_batch_sends_no_alarm_yet(broker: Callable[..., int], tmp_path: Path) -> None:
    """The batch comes again until its topic is allowed. An alarm must not be announced each time."""
    users, access = tmp_path / "users", tmp_path / "access"
    users.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(users), "pump", "right"], check=True)
    allowed = [f"topic write tconnectsync/{each}" for each in ("status", "lasting", "alarm")]
    access.write_text("\n".join(["topic read #", "user pump", *allowed, ""]))
    access.chmod(0o600)
    port = broker(f"password_file {users}", f"acl_file {access}", "allow_anonymous true")
    content = {"event_type": "alarm", "name": "occlusion", "at": "2026-05-14T12:00:00+00:00"}
    alarm = Document(id="alarm-1", collection=alarm_fold.COLLECTION, at=NOON, content=content)
    batch = [Delivery(document_id=alarm.id, collection=alarm.collection, document=alarm), *deliveries()]
    with listening(port) as listener:
        with pytest.raises(Retryable, match="tconnectsync/current"):
            receiver_at(port, discovery_prefix="").deliver(batch)
        listener.until("tconnectsync/status", "tconnectsync/lasting")
        assert "tconnectsync/alarm" not in listener.heard
        receiver_at(port, discovery_prefix="").deliver(batch[:1])
        listener.until("tconnectsync/alarm")


def test_what_is_allowed_is_checked_without_a_trace(broker: Callable[..., int]) -> None:
    """The check's messages reach no topic that Home Assistant listens to, and are not kept."""
    port = broker()
    with listening(port) as listener:
        (finding,) = receiver_at(port).check()
        listener.until("tconnectsync/check", "homeassistant/device/tconnectsync/check")
    assert finding.good
    assert len(listener.heard) == 2


@pytest.mark.parametrize("refusal", [b"\x20\x02\x00\x01", b"", b"\x20\x02\x00\x00"])
def test_a_broker_without_mqtt_5(refusal: bytes) -> None:
    """It is asked again with 3.1.1, and gets everything."""
    versions: list[int] = []

    def talk(connection: socket.socket, _: threading.Event) -> None:
        for kind, body in packets(connection):
            if kind == CONNECT:
                versions.append(body[6])
                connection.sendall(refusal if versions[-1] == 5 else b"\x20\x02\x00\x00")
                if versions[-1] == 5:
                    return
            elif kind == PUBLISH:
                connection.sendall(acknowledgement(body))

    with serving(talk) as port:
        outcomes = receiver_at(port, discovery_prefix="").deliver(deliveries())
    assert all(isinstance(outcome, Accepted) for outcome in outcomes)
    assert versions == [5, 4]
