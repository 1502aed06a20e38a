"""A broker with TLS: whom it is trusted by, and what a person reads if it is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tconnectsync import Accepted, HttpFailed, Retryable
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.sink import Broker
from tests.mqtt.broker_harness import NoonClock, deliveries
from tests.support.certificates import Authority

# paho-mqtt leaves the socket of a failed handshake to Python's memory management
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def own(tmp_path: Path) -> Authority:
    """The authority of a home, which no computer knows by itself."""
    return Authority(tmp_path, "own")


def encrypted(own: Authority, *addresses: str, days: int = 2) -> Sequence[str]:
    certificate, key = own.sign("server", *addresses, days=days)
    return f"cafile {own.certificate}", f"certfile {certificate}", f"keyfile {key}"


def receiver_at(port: int, *, tls: bool = True, verify_tls: bool = True) -> Broker:
    return Broker(
        MqttOptions(host="127.0.0.1", port=port, tls=tls, verify_tls=verify_tls), version="4", clock=NoonClock()
    )


def refusal(receiver: Broker) -> str:
    """Message and remedy of a delivery. The check has the same remedy."""
    with pytest.raises(Retryable) as raised:
        receiver.deliver(deliveries())
    (finding,) = receiver.check()
    assert finding.remedy == raised.value.remedy
    return f"{raised.value.message} {raised.value.remedy}"


def test_own_authority(broker: Callable[..., int], own: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named as for HTTP: it was ignored, and only ``verify_tls = false`` helped."""
    port = broker(*encrypted(own, "127.0.0.1"))
    words = refusal(receiver_at(port))
    assert "does not know the authority that signed its certificate" in words
    assert "REQUESTS_CA_BUNDLE" in words
    assert all(isinstance(each, Accepted) for each in receiver_at(port, verify_tls=False).deliver(deliveries()))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own.certificate))
    assert all(isinstance(each, Accepted) for each in receiver_at(port).deliver(deliveries()))


@pytest.mark.parametrize(
    ("address", "days", "words"),
    [
        ("127.0.0.1", 0, "its certificate has expired (this computer's clock says 2026-05-14 12:02 UTC)"),
        ("10.0.0.1", 2, "its certificate was issued for another host"),
    ],
)
def test_certificate_faults(
    broker: Callable[..., int], own: Authority, monkeypatch: pytest.MonkeyPatch, address: str, days: int, words: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own.certificate))
    found = refusal(receiver_at(broker(*encrypted(own, address, days=days))))
    assert words in found
    assert "port" not in found.partition("cannot be trusted")[2]


def test_missing_bundle(own: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries and the check name the variable, and the daemon's own connection waits."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    receiver = receiver_at(1)
    assert "Check the path in REQUESTS_CA_BUNDLE" in refusal(receiver)
    receiver.show([])
    receiver.leave()


def test_tls_towards_a_port_without_it(broker: Callable[..., int]) -> None:
    found = refusal(receiver_at(broker()))
    assert "Does the broker speak TLS on port" in found
    assert "tls = false" in found


def test_no_tls_towards_a_port_with_it(broker: Callable[..., int], own: Authority) -> None:
    found = refusal(receiver_at(broker(*encrypted(own, "127.0.0.1")), tls=False))
    assert "speaks TLS" in found
    assert "sinks.mqtt.tls = true" in found


def test_client_certificate_wanted(broker: Callable[..., int], own: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no setting for one, and the message says so."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own.certificate))
    port = broker(*encrypted(own, "127.0.0.1"), "require_certificate true")
    assert "A broker that wants a client's certificate cannot be used" in refusal(receiver_at(port))


def test_unreachable_broker_has_a_typed_reason() -> None:
    with pytest.raises(HttpFailed, match="no program listens there") as raised:
        receiver_at(1).deliver(deliveries())
    assert "sinks.mqtt.host" in str(raised.value.remedy)
