"""A network that lies: whatever it does to the cloud's or the site's answers, the site ends as if it had not.

While a fault lasts, the status names it with the right state and the next thing to do, and nobody is stormed with retries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest
from lying_world import END, EVENTS, FIRST, IOB, PASSED, TREATMENTS, TROUBLE, LyingWorld, lying_world, without_lies
from running_engine import HandClock

import tconnectsync_nightscout.client
import tconnectsync_tandem.transport
from tconnectsync_simulator.nightscout import SimulatedNightscout
from tconnectsync_simulator.proxy_faults import ProxyFault

SINKS = (TREATMENTS, IOB, EVENTS)
ALWAYS = 1_000_000


@attrs.frozen(kw_only=True)
class Told:
    """What is said while it lasts. ``by_hand``: it does not go on by itself, by design."""

    state: str
    status: int
    words: str
    by_hand: bool = False


def quiet(state: str = "ok", status: int = 0) -> Told:
    return Told(state=state, status=status, words="")


CLOUD = {
    "refused": Told(state="backing_off", status=3, words="no connection to 127.0.0.1"),
    "reset_before": Told(state="backing_off", status=3, words="cut off"),
    "reset_after": Told(state="backing_off", status=3, words="cut off"),
    "half": Told(state="backing_off", status=3, words="half an answer"),
    "truncated": Told(state="backing_off", status=3, words="half an answer"),
    "late": Told(state="backing_off", status=3, words="no answer"),
    "gateway": Told(state="backing_off", status=3, words="status 504"),
    "html": Told(state="changed", status=3, words="a web page"),
    "null": Told(state="changed", status=3, words="JSON NoneType"),
    "400": Told(state="changed", status=3, words="status 400"),
    "401": Told(state="backing_off", status=3, words="status 401"),
    "403": Told(state="backing_off", status=3, words="firewall"),
    "404": Told(state="changed", status=3, words="status 404"),
    "408": Told(state="backing_off", status=3, words="status 408"),
    "413": Told(state="backing_off", status=3, words="status 413"),
    "429": Told(state="backing_off", status=3, words="asks to wait"),
    **{code: Told(state="backing_off", status=3, words=f"status {code}") for code in ("500", "502", "503", "504")},
    "reordered": quiet(),
    "echoed": quiet(),
    "twice": quiet(),
}
SITE = {
    "refused": Told(state="backing_off", status=5, words="cannot be reached"),
    "reset_before": Told(state="backing_off", status=5, words="broke the connection"),
    "reset_after": Told(state="backing_off", status=5, words="broke the connection"),
    "half": Told(state="backing_off", status=5, words="broke the connection"),
    "truncated": Told(state="backing_off", status=5, words="half an answer"),
    "late": Told(state="backing_off", status=5, words="did not answer in time"),
    "gateway": Told(state="backing_off", status=5, words="HTTP 504"),
    "html": Told(state="backing_off", status=5, words="text/html instead of JSON"),
    "null": Told(state="backing_off", status=5, words="answered"),
    "401": Told(state="refused", status=4, words="refused the secret", by_hand=True),
    **{code: Told(state="backing_off", status=5, words=f"HTTP {code}") for code in ("400", "403", "404", "408", "413")},
    **{code: Told(state="backing_off", status=5, words=f"HTTP {code}") for code in ("429", "500", "502", "503", "504")},
    "reordered": quiet(),
    "echoed": quiet(),
}
POSTS = {
    "400": Told(state="ok", status=6, words="(HTTP 400)"),
    "413": Told(state="ok", status=6, words="(HTTP 413)"),
    "500": Told(state="ok", status=6, words="(HTTP 500)"),
    "404": SITE["404"],
    "html": SITE["html"],
    "null": Told(state="backing_off", status=5, words="nobody knows what it stored"),
    **{kind: SITE[kind] for kind in ("reset_after", "half", "truncated", "late", "gateway")},
}
"""Reading works, and only what writes meets the fault; those where that makes a difference."""

TABLE = [
    *(("cloud", "", kind, told) for kind, told in CLOUD.items()),
    *(("site", "", kind, told) for kind, told in SITE.items()),
    *(("site", "POST", kind, told) for kind, told in POSTS.items()),
]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("calm")


@contextlib.contextmanager
def inflicted(world: LyingWorld, side: str, method: str, kind: str) -> Iterator[None]:
    """Inside, every request to the data of that side meets the fault; it is due to happen at least once."""
    proxy = world.proxy(side)
    if kind == "refused":
        with proxy.down():
            yield
        return
    path = "/bff/" if side == "cloud" else "/api/v1/"
    proxy.faults.add(ProxyFault(kind, path=path, method=method, times=ALWAYS, retry_after="600"))
    with pytest.MonkeyPatch.context() as patch:
        if kind == "late":  # a time-out of a moment, so that it costs no minutes
            patch.setattr(tconnectsync_nightscout.client, "READ_S", 0.5)
            patch.setattr(tconnectsync_tandem.transport, "TIMEOUTS_S", (10.0, 0.5))
        yield
    proxy.faults.clear()
    assert proxy.injected[kind]


@pytest.mark.parametrize(
    ("side", "method", "kind", "told"), TABLE, ids=["-".join(filter(None, row[:3])) for row in TABLE]
)
def test_a_fault_is_named_while_it_lasts_and_leaves_nothing_behind(
    tmp_path: Path, calm: Path, side: str, method: str, kind: str, told: Told
) -> None:
    clock = HandClock(FIRST)
    with (
        SimulatedNightscout(version="15.0.6", now=clock.now) as site,
        lying_world(tmp_path / "home", site, clock) as world,
    ):
        running, proxy = world.running, world.proxy(side)
        running.until(TROUBLE)
        before = len(proxy.recorded)
        with inflicted(world, side, method, kind):
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
        assert world.documents() == without_lies(calm, "15.0.6")
