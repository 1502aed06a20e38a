"""The MQTT sink keeps the contracts for plugins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from tconnectsync import Document, Sink, document_id
from tconnectsync.testing import FoldContract, SinkContract, plugin_context
from tconnectsync_mqtt import session as mqtt_session
from tconnectsync_mqtt.alarm_fold import AlarmFold
from tconnectsync_mqtt.details_fold import DETAILS, DetailsFold
from tconnectsync_mqtt.options import MqttOptions
from tconnectsync_mqtt.sink import open_sink
from tconnectsync_mqtt.state_fold import COLLECTION, LASTING, StateFold


class TestMqttFolds(FoldContract):
    max_examples = 20
    folds = (StateFold(), DetailsFold(), AlarmFold())


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

        def session(options: MqttOptions, clock: object) -> SilentSession:
            return self.sessions.setdefault(options.host or "", SilentSession())

        monkeypatch.setattr(mqtt_session, "MqttSession", session)

    @contextmanager
    def open_sink(self, folder: Path) -> Iterator[Sink]:
        yield open_sink(MqttOptions(host=folder.name), plugin_context(folder))

    def documents(self, sink: Sink, part: float = 1.0) -> dict[str, Document]:
        """Only the retained documents: a broker does not store the others."""
        return {known.id: known for known in super().documents(sink, part).values() if known.ttl_s is None}

    def stored(self, sink: Sink) -> Mapping[str, object]:
        host = sink.receiver.address.removeprefix("mqtt://").partition(":")[0]
        payloads = self.sessions[host].payloads if host in self.sessions else {}
        topics = {document_id("site", COLLECTION, topic): f"tconnectsync/{topic}" for topic in (LASTING, DETAILS)}
        return {identity: payloads[topic] for identity, topic in topics.items() if payloads.get(topic)}
