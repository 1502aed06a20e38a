"""The file of one part's secret is missing: the daemon works on, the part stops with a clear problem, and continues later."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.e2e.installation import TREATMENTS, ZONE, Installation, daemon, eventually, recent_pump
from tests.support.clocks import ShiftedClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

HASTY = """
from tconnectsync.cli import main
from tconnectsync.daemon import loop
from tconnectsync.runtime import engine
loop.LOOK_AGAIN_S = engine.LONGEST_SLEEP_S = 0.2
raise SystemExit(main())
"""
"""The real program, which looks for the secret more often."""
TABLES = """
[sinks.mqtt]
enabled = true
host = "127.0.0.1"
port = 1
username = "u"
password_file = "mqtt-password"
[web]
secret_file = "web-secret"
[alerts]
urls_file = "alert-urls"
"""


@attrs.frozen
class Home:
    installation: Installation
    site: SimulatedNightscout

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.installation.run("status", "--json").stdout)
        return found

    def give(self, name: str) -> None:
        (self.installation.folder / name).write_text("ntfy://127.0.0.1:1/topic\n")

    def take(self, name: str) -> None:
        (self.installation.folder / name).unlink()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """An installation whose secrets for MQTT, the page and the notifications are all missing, after one ``sync``."""
    folder = tmp_path_factory.mktemp("home")
    with FaultyTandemCloud([recent_pump(1)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        installation = Installation(folder, cloud, site.url, site.secret, ZONE, history_days=1, more=TABLES)
        found = Home(installation, site)
        done = installation.run("sync", expect=(5,))
        assert "mqtt-password" in done.stdout + done.stderr
        yield found


def test_the_others_are_served_and_it_is_said(home: Home) -> None:
    assert home.site.count("treatments") > 20
    status = home.status()
    assert status["sinks"][TREATMENTS]["state"] == "ok"
    assert status["sinks"]["mqtt"]["state"] == "waiting"
    assert "mqtt-password" in status["sinks"]["mqtt"]["message"]
    assert "tconnectsync check" in status["sinks"]["mqtt"]["remedy"]
    assert status["alerts"]["state"] == "halted"
    assert "alert-urls" in status["alerts"]["message"]
    done = home.installation.run("status")
    for name in ("mqtt-password", "web-secret", "alert-urls"):
        assert name in done.stdout + done.stderr
    said = home.installation.run("check", expect=(9,)).stdout
    for name in ("mqtt-password", "web-secret", "alert-urls"):
        assert any("BAD" in line and name in line for line in said.splitlines())


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("web", "--port", "0"), "web-secret"),
        (("alerts", "test"), "alert-urls"),
        (("replay", "mqtt"), "mqtt-password"),
        (("verify", "mqtt"), "mqtt-password"),
    ],
)
def test_what_needs_the_secret_refuses(home: Home, words: tuple[str, ...], name: str) -> None:
    """Above all the page: without its secret it would be open."""
    done = home.installation.run(*words, expect=(2,))
    assert name in done.stdout + done.stderr


def test_a_wrong_address_stops_no_sync(home: Home) -> None:
    """The status is that of the lost secret of MQTT, not 2 for a wrong configuration."""
    (home.installation.folder / "alert-urls").write_text("ntfy.sh/topic\n")
    home.installation.run("sync", expect=(5,))
    assert "line 1 of alert-urls" in home.status()["alerts"]["message"]
    home.take("alert-urls")


def test_the_daemon_notices_when_the_file_comes_and_goes(home: Home) -> None:
    hasty = attrs.evolve(home.installation, program=(sys.executable, "-c", HASTY))
    with daemon(hasty) as living:
        eventually(lambda: "mqtt-password" in home.status()["sinks"]["mqtt"]["message"], "the sink waits")
        home.give("mqtt-password")
        living.wait_for("reloaded")
        eventually(lambda: home.status()["sinks"]["mqtt"]["state"] == "backing_off", "the broker was tried")
        assert "mqtt-password" not in home.status()["sinks"]["mqtt"]["message"]
        living.stop()
        assert living.log.count("reloaded") == 1
        assert "web-secret" in living.log
    home.take("mqtt-password")
