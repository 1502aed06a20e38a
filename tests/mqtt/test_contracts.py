"""The MQTT sink keeps the contracts for plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from tconnectsync import Document, Sink
from tconnectsync.testing import FoldContract, SinkContract, plugin_context
from tconnectsync_mqtt import session as mqtt_session
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.sink import open_sink
from tconnectsync_mqtt.state_fold import LASTING, StateFold


class TestFolds(FoldContract):
    max_examples = 20
    folds = (StateFold(),)


@attrs.define
class SilentSession:
    """A session without a broker: keeps the newest payload of each topic. Real brokers are in ``test_mqtt_broker.py``."""

    payloads: dict[str, bytes] = attrs.field(factory=dict)

    def publish(self, *groups: Sequence[mqtt_session.Message]) -> None:
        for message in (message for group in groups for message in group):
            self.payloads[message.topic] = message.payload


class TestSink(SinkContract):
    reads_back = False

    @pytest.fixture(autouse=True)
    def without_a_broker(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sessions record what would be published."""
        self.sessions: dict[str, SilentSession] = {}

        def session(options: MqttOptions) -> SilentSession:
            return self.sessions.setdefault(options.host or "", SilentSession())

        monkeypatch.setattr(mqtt_session, "MqttSession", session)

    @contextmanager
    def open_sink(self, folder: Path) -> Iterator[Sink]:
        yield open_sink(MqttOptions(host=folder.name), plugin_context(folder))

    def documents(self, sink: Sink, part: float = 1.0) -> dict[str, Document]:
        """Only the retained document: a broker does not store the other one."""
        return {known.id: known for known in super().documents(sink, part).values() if known.ttl_s is None}

    def stored(self, sink: Sink) -> Mapping[str, object]:
        host = sink.receiver.address.removeprefix("mqtt://").partition(":")[0]
        payload = self.sessions[host].payloads.get(f"tconnectsync/{LASTING}") if host in self.sessions else None
        return {identity: payload for identity in self.documents(sink) if payload}
