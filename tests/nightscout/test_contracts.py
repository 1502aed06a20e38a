"""The Nightscout sinks keep the contract for plugins; their folds do in ``test_fold_laws.py``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from tconnectsync import Secret, Sink
from tconnectsync.testing import ManualClock, SinkContract, plugin_context
from tconnectsync.testing.sink_contract import EVER, put, withdraw
from tconnectsync_nightscout.options import NightscoutOptions
from tconnectsync_nightscout.sinks import CGM, DEVICE_STATUS, IOB, PROFILES, PUMP_EVENTS, SECTION, TREATMENTS, specs
from tests.support.simulated_nightscout.app import SimulatedNightscout

SERVER_FIELDS = frozenset({"_id", "mills", "srvModified", "srvCreated", "utcOffset", "created_at"})
"""What the site adds; ``created_at`` is the document's time."""


class NightscoutContract(SinkContract):
    name = ""
    site: SimulatedNightscout

    @contextmanager
    def open_sink(self, folder: Path) -> Iterator[Sink]:
        clock = ManualClock()
        clock.sleep(timedelta(minutes=121).total_seconds())
        (spec,) = (spec for spec in specs() if spec.name == self.name)
        with SimulatedNightscout(version="15.0.7", api_secret="a simulated secret", now=clock.now) as site:
            self.site = site
            options = NightscoutOptions(url=site.url, api_secret=Secret("a simulated secret"))
            sink = spec.open(spec.options(), plugin_context(folder, clock=clock, sections={SECTION: options}))
            yield sink
            sink.receiver.client.close()  # type: ignore[attr-defined]

    def stored(self, sink: Sink) -> Mapping[str, object]:
        return {
            copy.document_id: (copy.at, {name: copy.content[name] for name in copy.content.keys() - SERVER_FIELDS})
            for copy in sink.receiver.read_back(*EVER)
        }


class TestTreatmentFolds(NightscoutContract):
    name = TREATMENTS


class TestIob(NightscoutContract):
    name = IOB


class TestPumpEvents(NightscoutContract):
    name = PUMP_EVENTS


class TestCgm(NightscoutContract):
    name = CGM


class TestDeviceStatus(NightscoutContract):
    name = DEVICE_STATUS


class TestProfiles(NightscoutContract):
    """The profile in force is read whenever ours is delivered, so it need not be read back."""

    name = PROFILES
    reads_back = False

    def stored(self, sink: Sink) -> Mapping[str, object]:
        (identity,) = self.documents(sink)
        profiles = self.site.documents("profile")
        return {identity: profiles[-1]["store"]} if profiles else {}

    def test_withdrawal(self, sink: Sink) -> None:
        """A site needs a profile: withdrawing ours leaves it there."""
        documents = self.documents(sink)
        keys = self.deliver(sink, put(documents.values()))
        before = self.stored(sink)
        self.deliver(sink, withdraw(documents.values(), keys))
        assert self.stored(sink) == before
        assert before
