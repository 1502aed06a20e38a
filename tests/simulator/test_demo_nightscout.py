"""The demo's site: the Nightscout sinks keep the contract for plugins on it, and their check finds nothing wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tconnectsync import Secret, Sink
from tconnectsync.clock import SystemClock
from tconnectsync.testing import SinkContract, plugin_context
from tconnectsync.testing.sink_contract import EVER
from tconnectsync_nightscout.options import NightscoutOptions
from tconnectsync_nightscout.sinks import CGM, DEVICE_STATUS, IOB, PROFILES, SECTION, TREATMENTS, specs
from tconnectsync_simulator.demo.nightscout_site import DemoSite


@contextmanager
def opened(name: str, folder: Path) -> Iterator[tuple[Sink, DemoSite]]:
    (spec,) = (spec for spec in specs() if spec.name == name)
    with DemoSite() as site:
        options = NightscoutOptions(url=site.url, api_secret=Secret(site.secret))
        context = plugin_context(folder, clock=SystemClock(), sections={SECTION: options})
        sink = spec.open(spec.options(), context)
        yield sink, site
        sink.receiver.client.close()  # type: ignore[attr-defined]


class DemoSiteContract(SinkContract):
    name = ""

    @contextmanager
    def open_sink(self, folder: Path) -> Iterator[Sink]:
        with opened(self.name, folder) as (sink, _):
            yield sink

    def stored(self, sink: Sink) -> Mapping[str, object]:
        return {
            copy.document_id: (
                copy.at,
                {name: copy.content[name] for name in copy.content.keys() - {"_id", "created_at"}},
            )
            for copy in sink.receiver.read_back(*EVER)
        }


class TestTreatments(DemoSiteContract):
    name = TREATMENTS


class TestReadings(DemoSiteContract):
    name = CGM


@pytest.mark.parametrize("name", [TREATMENTS, CGM, IOB, DEVICE_STATUS, PROFILES])
def test_check_finds_nothing_wrong(name: str, tmp_path: Path) -> None:
    with opened(name, tmp_path) as (sink, _):
        findings = list(sink.receiver.check())
        assert findings
        assert not [finding.what for finding in findings if not finding.good and "not encrypted" not in finding.what]


def test_a_write_needs_the_secret() -> None:
    """Everybody may read; a wrong secret is refused for both."""
    with DemoSite() as site:
        address, wrong = site.url + "api/v1/treatments", {"api-secret": "wrong"}
        assert requests.post(address, json=[{"notes": "x"}], timeout=9).status_code == 401
        assert requests.get(address, headers=wrong, timeout=9).status_code == 401
        assert requests.get(address, timeout=9).json() == []
