"""Faulty networks: whatever they do to answers, in the end the site has the documents of a run without faults.

While a fault lasts, the status names it with the right state and the next command, and retries are limited.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest

import tconnectsync_nightscout.api.client
import tconnectsync_tandem.api.transport
from tconnectsync import HttpLimits
from tconnectsync_nightscout.api.document_format import moment_of
from tests.e2e.faulty_network import (
    END,
    EVENTS,
    FIRST,
    IOB,
    PASSED,
    TREATMENTS,
    TROUBLE,
    FaultyNetwork,
    FirstSyncDone,
    documents_without_faults,
    faulty_network,
)
from tests.e2e.installation import by_identity
from tests.support.clocks import FakeClock
from tests.support.cloud_faults import login_refused
from tests.support.proxy_faults import KINDS, ProxyFault
from tests.support.real_servers import Site
from tests.support.simulated_nightscout.app import SimulatedNightscout

SINKS = (TREATMENTS, IOB, EVENTS)
ALWAYS = 1_000_000


@attrs.frozen(kw_only=True)
class ToldFault:
    """What the status says while the fault lasts. ``by_hand``: it does not resume by itself, on purpose."""

    state: str
    status: int
    words: str
    by_hand: bool = False


def quiet(state: str = "ok", status: int = 0) -> ToldFault:
    return ToldFault(state=state, status=status, words="")


CLOUD = {
    "refused": ToldFault(state="backing_off", status=3, words="no connection"),
    "reset_before": ToldFault(state="backing_off", status=3, words="broke the connection"),
    "reset_after": ToldFault(state="backing_off", status=3, words="broke the connection"),
    "half": ToldFault(state="backing_off", status=3, words="incomplete"),
    "truncated": ToldFault(state="backing_off", status=3, words="truncated response"),
    "late": ToldFault(state="backing_off", status=3, words="in time"),
    "gateway": ToldFault(state="backing_off", status=3, words="status 504"),
    "html": ToldFault(state="changed", status=3, words="a web page"),
    "null": ToldFault(state="changed", status=3, words="JSON NoneType"),
    "400": ToldFault(state="changed", status=3, words="status 400"),
    "401": ToldFault(state="backing_off", status=3, words="status 401"),
    "403": ToldFault(state="backing_off", status=3, words="firewall"),
    "404": ToldFault(state="changed", status=3, words="status 404"),
    "408": ToldFault(state="backing_off", status=3, words="status 408"),
    "413": ToldFault(state="changed", status=3, words="status 413"),  # of a window the half is asked for first
    "429": ToldFault(state="backing_off", status=3, words="asks to wait"),
    **{code: ToldFault(state="backing_off", status=3, words=f"status {code}") for code in ("500", "502", "503", "504")},
    "reordered": quiet(),
    "echoed": quiet(),
    "twice": quiet(),
}
SITE = {
    "refused": ToldFault(state="backing_off", status=5, words="cannot be reached"),
    "reset_before": ToldFault(state="backing_off", status=5, words="broke the connection"),
    "reset_after": ToldFault(state="backing_off", status=5, words="broke the connection"),
    "half": ToldFault(state="backing_off", status=5, words="broke the connection"),
    "truncated": ToldFault(state="backing_off", status=5, words="incomplete"),
    "late": ToldFault(state="backing_off", status=5, words="did not answer in time"),
    "gateway": ToldFault(state="backing_off", status=5, words="HTTP 504"),
    "html": ToldFault(state="backing_off", status=5, words="text/html instead of JSON"),
    "null": ToldFault(state="backing_off", status=5, words="answered"),
    "401": ToldFault(state="refused", status=4, words="refused the secret", by_hand=True),
    **{
        code: ToldFault(state="backing_off", status=5, words=f"HTTP {code}")
        for code in ("400", "403", "404", "408", "413")
    },
    **{
        code: ToldFault(state="backing_off", status=5, words=f"HTTP {code}")
        for code in ("429", "500", "502", "503", "504")
    },
    "reordered": quiet(),
    "echoed": quiet(),
}
POSTS = {
    "400": ToldFault(state="ok", status=6, words="(HTTP 400)", by_hand=True),  # twenty documents in a row halt the sink
    "413": ToldFault(state="ok", status=6, words="(HTTP 413)", by_hand=True),  # twenty documents in a row halt the sink
    "500": SITE["500"],
    "404": SITE["404"],
    "html": SITE["html"],
    "null": ToldFault(state="backing_off", status=5, words="it is unknown what it stored"),
    **{kind: SITE[kind] for kind in ("reset_after", "half", "truncated", "late", "gateway")},
}
"""Faults of writes while reads work, if that makes a difference."""

LIES = os.environ.get("TCONNECTSYNC_LIES")
"""``TCONNECTSYNC_LIES=200 pytest tests/e2e/test_lying_network.py`` tries everything, with this number of seeds."""

LIKE_503 = set() if LIES else {"500", "502", "504"}
TABLE = [
    *(("cloud", "", kind, told) for kind, told in CLOUD.items() if kind not in LIKE_503),
    *(("site", "", kind, told) for kind, told in SITE.items() if kind not in LIKE_503),
    *(("site", "POST", kind, told) for kind, told in POSTS.items()),
]


@pytest.fixture(scope="module")
def without_faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run without faults."""
    return tmp_path_factory.mktemp("without-faults")


@pytest.fixture(scope="module")
def first_sync(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FirstSyncDone]:
    """A first sync without faults, from which tests continue whose trouble begins later."""
    clock, folder = FakeClock(FIRST), tmp_path_factory.mktemp("first_sync")
    with SimulatedNightscout(version="15.0.6", now=clock.now) as site, faulty_network(folder, site, clock) as world:
        yield FirstSyncDone(world)


@contextlib.contextmanager
def fault_injected(world: FaultyNetwork, side: str, method: str, kind: str) -> Iterator[None]:
    """While the block runs, every request for data of that side meets the fault, which must happen at least once."""
    proxy = world.proxy(side)
    if kind == "refused":
        with proxy.down():
            yield
        return
    path = "/bff/" if side == "cloud" else "/api/v1/"
    proxy.faults.add(ProxyFault(kind, path=path, method=method, times=ALWAYS, retry_after="600"))
    with pytest.MonkeyPatch.context() as patch:
        if kind == "late":  # a time-out of a moment, so that it costs no minutes
            patch.setattr(tconnectsync_nightscout.api.client, "LIMITS", HttpLimits(silence_s=0.2))
            patch.setattr(tconnectsync_tandem.api.transport, "LIMITS", HttpLimits(silence_s=0.2))
        yield
    proxy.faults.clear()
    assert proxy.injected[kind]


@pytest.mark.parametrize(
    ("side", "method", "kind", "told"), TABLE, ids=["-".join(filter(None, row[:3])) for row in TABLE]
)
def test_fault_named_and_recovered(
    tmp_path: Path,
    without_faults: Path,
    first_sync: FirstSyncDone,
    caplog: pytest.LogCaptureFixture,
    side: str,
    method: str,
    kind: str,
    told: ToldFault,
) -> None:
    """A fault is named while it lasts, leaves nothing behind and reveals no secret."""
    with first_sync.again(tmp_path) as world:
        caplog.set_level("DEBUG", "tconnectsync")
        running, proxy = world.running, world.proxy(side)
        running.until(TROUBLE)
        before = len(proxy.recorded)
        with fault_injected(world, side, method, kind):
            running.until(PASSED)
            while_it_lasts = running.ask("sync")
            status = running.status()
        asked = len(proxy.recorded) - before

        assert while_it_lasts.status == told.status, while_it_lasts.lines
        told_of = {"tandem": status["sources"]["tandem"]} if side == "cloud" else status["sinks"]
        assert told.state in {each["state"] for each in told_of.values()}, told_of
        for name, each in told_of.items():
            if each["state"] == told.state != "ok" or each.get("dead"):
                assert told.words in each["message"], (name, each)
                assert told.words in " ".join(while_it_lasts.lines)
                assert each["since"] is not None
                assert each["remedy"] or side == "cloud" or each.get("dead"), (name, each)
        if told.status == 6:
            delivered = datetime.fromisoformat(status["sinks"][TREATMENTS]["last_delivered"].replace("Z", "+00:00"))
            assert delivered < TROUBLE + timedelta(minutes=5)
        if told.state != "ok":
            assert asked < 250, "a storm of retries"
        if told.state == "refused":
            assert asked <= 4 * len(SINKS)

        for name in SINKS if told.by_hand else ():
            running.ask("resume", sink=name)
        running.until(END)
        last = running.ask("sync")
        assert last.status == 0, last.lines
        assert world.documents() == documents_without_faults(without_faults, "15.0.6")
        assert world.find_leaks(caplog.text) == []


LOGIN_STEPS = ("sso/", "api/login", "connect/authorize", "connect/token", "jwks")
LOGIN_FAULTS = [
    *((step, "500") for step in LOGIN_STEPS),
    *((step, "truncated") for step in ("api/login", "connect/token", "jwks")),
    *(("api/login", kind) for kind in ("html", "null", "403")),
    *(("connect/token", kind) for kind in ("400", "401", "reset_after")),
]


@pytest.mark.parametrize(("step", "kind"), LOGIN_FAULTS)
def test_login_fails_on_its_way(
    tmp_path: Path,
    without_faults: Path,
    first_sync: FirstSyncDone,
    caplog: pytest.LogCaptureFixture,
    step: str,
    kind: str,
) -> None:
    """A login that fails on its way is reported and not repeated quickly."""
    with first_sync.again(tmp_path) as world:
        caplog.set_level("DEBUG", "tconnectsync")
        running, faults = world.running, world.to_cloud.faults
        running.until(TROUBLE)
        world.cloud.revoke_tokens()
        before = world.cloud.count("login")
        faults.add(ProxyFault(kind, path=step, times=ALWAYS, retry_after="600"))
        running.until(PASSED)
        while_it_lasts, status = running.ask("sync"), running.status()["sources"]["tandem"]
        assert while_it_lasts.status == 3, while_it_lasts.lines
        assert status["state"] in {"backing_off", "changed"}
        assert status["message"]
        assert world.cloud.count("login") - before <= 10
        faults.clear()
        running.until(END)
        assert running.ask("sync").status == 0
        assert world.documents() == documents_without_faults(without_faults, "15.0.6")
        assert world.find_leaks(caplog.text) == []


def test_refused_credentials_tried_once(tmp_path: Path, without_faults: Path, first_sync: FirstSyncDone) -> None:
    """Refused credentials are tried once, and again only after a command."""
    with first_sync.again(tmp_path) as world:
        running = world.running
        running.until(TROUBLE)
        world.cloud.revoke_tokens()
        world.cloud.faults.add(login_refused(times=ALWAYS))
        before = world.cloud.count("login")
        running.until(PASSED)
        running.reopen()
        running.until(PASSED + timedelta(minutes=20))
        while_it_lasts, status = running.ask("sync"), running.status()["sources"]["tandem"]
        assert (while_it_lasts.status, status["state"]) == (4, "refused")
        assert "refuses the user name or the password" in status["message"]
        assert "TCONNECT_PASSWORD" in status["remedy"]
        assert world.cloud.count("login") - before == 1
        assert running.ask("resume", sink="tandem").status == 4
        assert world.cloud.count("login") - before == 2
        world.cloud.faults.clear()
        assert running.ask("resume", sink="tandem").status == 0
        running.until(END)
        assert world.documents() == documents_without_faults(without_faults, "15.0.6")


@pytest.mark.parametrize("number", range(8))
def test_site_request_without_answer(tmp_path: Path, without_faults: Path, number: int) -> None:
    """Any request to the site may be carried out without an answer."""
    clock = FakeClock(FIRST)
    with SimulatedNightscout(version="15.0.6", now=clock.now) as site, faulty_network(tmp_path, site, clock) as world:
        proxy, kind = world.to_site, "reset_after"
        proxy.faults.add(ProxyFault(kind, skip=number))
        world.running.until(END)
        assert world.running.ask("sync").status == 0
        assert proxy.injected == {kind: 1}
        assert world.documents() == documents_without_faults(without_faults, "15.0.6")


def test_site_upgraded_between_cycles(tmp_path: Path, without_faults: Path) -> None:
    """A site that is upgraded between two cycles keeps one of each document.

    First up to 15.0.7, where the identifier becomes the key, in the middle of unanswered writes; then back.
    """
    clock = FakeClock(FIRST)
    with SimulatedNightscout(version="14.2.6", now=clock.now) as site, faulty_network(tmp_path, site, clock) as world:
        running = world.running
        running.until(TROUBLE)
        for version, kind in (("15.0.7", "reset_after"), ("15.0.6", "gateway"), ("15.0.7", "half")):
            world.to_site.faults.add(ProxyFault(kind, method="POST", times=3))
            running.until(clock.now() + timedelta(minutes=30))
            site.change_version(version)
            running.reopen()
            running.until(clock.now() + timedelta(minutes=10))
        running.until(END)
        assert running.ask("sync").status == 0
        assert set(world.to_site.injected) == {"reset_after", "gateway", "half"}
        assert world.documents() == documents_without_faults(without_faults, "15.0.6")
        assert running.ask("replay", sink=TREATMENTS).status == 0
        assert world.documents() == documents_without_faults(without_faults, "15.0.6")


def test_site_loses_document(tmp_path: Path, without_faults: Path) -> None:
    """A document that the site loses silently is found and sent again."""
    clock = FakeClock(FIRST)
    with SimulatedNightscout(version="15.0.6", now=clock.now) as site, faulty_network(tmp_path, site, clock) as world:
        world.to_site.faults.add(ProxyFault("loses_one", path="treatments"))
        world.running.until(END)
        assert world.running.ask("sync").status == 0
        expected = documents_without_faults(without_faults, "15.0.6")
        [lost] = expected["treatments"].keys() - world.documents()["treatments"].keys()
        found = world.running.ask("verify", sink=TREATMENTS)
        assert found.status == 0, found.lines
        assert lost in world.documents()["treatments"]
        assert world.documents() == expected


def test_site_writes_twice(tmp_path: Path, without_faults: Path) -> None:
    """Writes that are carried out twice leave one of each document.

    A device status has no key at the site: one of the last hour is found by looking, an older one is history.
    """
    clock = FakeClock(FIRST)
    with SimulatedNightscout(version="15.0.6", now=clock.now) as site, faulty_network(tmp_path, site, clock) as world:
        world.to_site.faults.add(ProxyFault("twice", times=ALWAYS))
        world.running.until(PASSED - timedelta(minutes=10))  # the newest status counts for half an hour
        assert world.running.ask("sync").status == 0
        world.to_site.faults.clear()
        assert world.running.ask("verify", sink=IOB).status == 0
        lately = clock.now() - timedelta(minutes=50)
        current = [doc for doc in site.documents("devicestatus") if moment_of(doc["created_at"]) > lately]
        assert by_identity(current)
        world.running.until(END)
        expected = documents_without_faults(without_faults, "15.0.6")
        assert by_identity(site.documents("treatments")) == expected["treatments"]
        assert by_identity(site.documents("activity")) == expected["activity"]


REAL = [
    ("GET", "half"),
    ("POST", "reset_before"),
    ("POST", "reset_after"),
    ("POST", "gateway"),
    ("POST", "truncated"),
    ("POST", "html"),
    ("", "503"),
]


@pytest.mark.parametrize(("method", "kind"), REAL)
def test_faults_with_real_nightscout(tmp_path: Path, without_faults: Path, site: Site, method: str, kind: str) -> None:
    """The same with a real Nightscout."""
    clock = FakeClock(FIRST)
    with faulty_network(tmp_path, site, clock) as world:
        running, proxy = world.running, world.to_site
        proxy.faults.add(ProxyFault(kind, method=method, path="/api/v1/", times=3))
        running.until(TROUBLE)
        proxy.faults.add(ProxyFault(kind, method=method, path="/api/v1/", times=ALWAYS))
        running.until(PASSED)
        assert running.ask("sync").status == 5
        assert "backing_off" in {sink["state"] for sink in running.status()["sinks"].values()}
        proxy.faults.clear()
        running.until(END)
        assert running.ask("sync").status == 0
        assert proxy.injected[kind] > 5
        assert world.documents() == documents_without_faults(without_faults, "15.0.6")


@pytest.mark.parametrize("seed", range(int(LIES or "2")))
@pytest.mark.parametrize("version", ["15.0.6", "15.0.7"])
def test_faults_by_chance(tmp_path: Path, without_faults: Path, version: str, seed: int) -> None:
    """Faults by chance on both sides at once leave nothing behind.

    A third of all requests meets some fault, and the engine is opened again now and then.
    """
    clock = FakeClock(FIRST)
    with (
        SimulatedNightscout(version=version, now=clock.now) as site,
        faulty_network(tmp_path, site, clock, poll_s=(300, 600)) as world,
    ):
        running = world.running
        kinds = [kind for kind in KINDS if kind not in {"late", "refused", "loses_one", "401"}]
        # one that is carried out twice is another test's; after these of the cloud's nothing would happen for hours
        world.to_site.faults.at_random(0.33, seed=seed, kinds=[kind for kind in kinds if kind != "twice"])
        running.until(TROUBLE)
        waited_long = {"400", "403", "404", "html", "null"}
        world.to_cloud.faults.at_random(0.33, seed=seed, kinds=[kind for kind in kinds if kind not in waited_long])
        for _ in range(6):
            running.until(clock.now() + (PASSED - TROUBLE) / 6)
            running.reopen()
        for proxy in (world.to_cloud, world.to_site):
            assert proxy.injected
            proxy.faults.clear()
        # What `status` names as the next commands. Five refusals by chance look like a document's own fault.
        for name in SINKS:
            running.ask("resume", sink=name)
            running.ask("dead_letters_retry", sink=name)
        running.until(END + timedelta(hours=4))
        last = running.ask("sync")
        assert last.status == 0, last.lines
        assert world.documents() == documents_without_faults(without_faults, version)
