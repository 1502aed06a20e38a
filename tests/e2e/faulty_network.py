"""Simulates faulty networks: a proxy before the cloud and one before the site, and the documents of the same day without faults."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs

from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import SimulatedPump, simulate
from tests.e2e.engine_in_process import BEGIN, ZONE, InProcessEngine
from tests.e2e.installation import by_identity
from tests.e2e.marked_secrets import ACCOUNT, PASSWORD, PERSON, PERSONAL, all_leaks, files, learned, secrets_in_texts
from tests.support.clocks import FakeClock
from tests.support.fault_proxy import FaultProxy
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.proxy_faults import ProxyFaults
from tests.support.proxy_responses import ProxiedRequest, Reply
from tests.support.simulated_nightscout.app import SimulatedNightscout

FIRST = BEGIN + timedelta(days=1)
"""When the first sync begins."""
SYNCED = FIRST + timedelta(minutes=10)
"""When it has ended."""
TROUBLE = FIRST + timedelta(minutes=40)
PASSED = TROUBLE + timedelta(minutes=80)
END = PASSED + timedelta(hours=2, minutes=30)
"""Later than ``PASSED`` by more than the longest back-off after such a short fault."""
LAST_UPLOAD = PASSED + timedelta(minutes=50)
"""Nothing is new after this time, so that it does not matter when the last poll was."""
TREATMENTS, IOB, EVENTS = "nightscout-treatments", "nightscout-iob", "nightscout-pump-events"

Documents = Mapping[str, Mapping[str, dict[str, Any]]]


@lru_cache(maxsize=1)
def a_day() -> SimulatedPump:
    """A pump whose phone uploads every twenty minutes, some of it late."""
    plan = SimulationPlan(
        seed=71, zone=ZONE, start=BEGIN.date(), days=3, upload_every_min=20, late_share=0.1, late_max_h=3, scan_codes=False,
        outages=((LAST_UPLOAD, END + timedelta(days=2)),),
    )  # fmt: skip
    return simulate(plan)


@attrs.define
class FaultyNetwork:
    """An installation that reaches its cloud and its site only through proxies."""

    cloud: FaultyTandemCloud
    site: Any
    clock: FakeClock
    to_cloud: FaultProxy
    to_site: FaultProxy
    running: InProcessEngine

    def proxy(self, side: str) -> FaultProxy:
        return self.to_cloud if side == "cloud" else self.to_site

    def documents(self) -> Documents:
        return documents_of(self.site)

    def find_leaks(self, log: str) -> list[str]:
        """The places that have a secret and must not: this log, a file, the status, or a request."""
        on_the_way = learned(self.to_cloud)
        assert all(on_the_way.values())
        own = {"password": {PASSWORD}, "site secret": {self.site.secret}}
        secrets = {**own, **on_the_way, **{name: {text} for name, text in PERSONAL.items()}}
        kept = [(name, text) for name, text in files(self.running.folder) if not name.endswith("token.json")]
        said = [("the log", log.encode()), ("the status", json.dumps(self.running.status()).encode())]
        return secrets_in_texts(said + kept, secrets) + all_leaks(self.to_cloud, self.to_site, self.site.secret)


def documents_of(site: Any) -> Documents:
    """The documents that no fault may change, each identity once.

    Device statuses expire, so their number may differ.
    """
    activity = by_identity(site.documents("activity"))
    assert len(activity) == 1
    by_identity(site.documents("devicestatus"))
    return {"treatments": by_identity(site.documents("treatments")), "activity": activity}


@contextlib.contextmanager
def faulty_network(
    folder: Path, site: Any, clock: FakeClock, *, poll_s: tuple[int, int] = (1500, 2400)
) -> Iterator[FaultyNetwork]:
    """``site`` runs already: a simulated or a real one."""
    with (
        FaultyTandemCloud([a_day()], clock, accounts=(ACCOUNT,), token_life_s=8 * 3600) as cloud,
        FaultProxy(cloud.url, late_s=60.0, keep_answers=True) as to_cloud,
        FaultProxy(site.url, late_s=60.0) as to_site,
    ):
        cloud.fail(PERSON)
        running = InProcessEngine(
            folder / "home", cloud, site, clock, history_days=1, poll_s=poll_s, account=ACCOUNT,
            endpoints=to_cloud.endpoints(cloud.endpoints), site_url=to_site.url,
        )  # fmt: skip
        try:
            yield FaultyNetwork(cloud, site, clock, to_cloud, to_site, running)
        finally:
            running.engine.close()


@attrs.define
class FirstSyncDone:
    """A first sync without faults, done once; many tests continue from it as a daemon does that is started again.

    What it left is put back before each of them: the data folder, the site's documents, the cloud's tokens, and what went over both proxies.
    """

    world: FaultyNetwork
    time: datetime = attrs.field(init=False)
    documents: Any = attrs.field(init=False)
    tokens: tuple[dict[str, Any], dict[str, Any]] = attrs.field(init=False)
    passed: list[tuple[FaultProxy, list[ProxiedRequest], list[Reply]]] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        world = self.world
        world.running.until(SYNCED)
        world.running.engine.close()
        self.time, self.documents = world.clock.time, world.site.snapshot()
        self.tokens = world.cloud.tokens()
        self.passed = [(proxy, [*proxy.recorded], [*proxy.answers]) for proxy in (world.to_cloud, world.to_site)]

    @contextlib.contextmanager
    def again(self, folder: Path) -> Iterator[FaultyNetwork]:
        """The same installation as it was then, in another folder, at work until the test is over."""
        world = self.world
        shutil.copytree(world.running.folder, folder / "home")
        world.clock.time = self.time
        world.site.restore(self.documents)
        world.cloud.restore_tokens(self.tokens)
        for proxy, recorded, answers in self.passed:
            proxy.stop()
            proxy.faults = ProxyFaults()
            proxy.recorded.clear()
            proxy.answers.clear()
            proxy.recorded.extend(recorded)
            proxy.answers.extend(answers)
            proxy.start()
        running = attrs.evolve(world.running, folder=folder / "home")
        try:
            yield attrs.evolve(world, running=running)
        finally:
            running.engine.close()


@lru_cache(maxsize=4)
def documents_without_faults(folder: Path, version: str) -> Documents:
    """The documents of the day on a site of this version if nothing goes wrong."""
    clock = FakeClock(FIRST)
    with (
        SimulatedNightscout(version=version, now=clock.now) as site,
        faulty_network(folder / version, site, clock) as world,
    ):
        world.running.until(END)
        assert world.running.ask("sync").status == 0
        return world.documents()
