"""``tconnectsync init`` against a cloud and a site, and the first commands with the new file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date, datetime, timezone
from pathlib import Path

import attrs
import pytest

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.root import run
from tconnectsync.config.load import load_config
from tconnectsync.plugin.manager import load_plugins
from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tconnectsync_simulator.pump.plan import SimulationPlan
from tconnectsync_simulator.pump.pump import simulate
from tests.e2e.engine_in_process import ZONE
from tests.support.clocks import FakeClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

NOON = datetime(2026, 3, 20, 16, 3, tzinfo=timezone.utc)


@attrs.define
class EmptyPlace:
    """Nothing but a folder, a cloud and a site."""

    folder: Path
    cloud: FaultyTandemCloud
    clock: FakeClock
    site: SimulatedNightscout
    capture: pytest.CaptureFixture[str]
    answers: dict[str, str]

    @property
    def path(self) -> Path:
        return self.folder / "config.toml"

    def run(self, *words: str) -> tuple[int, str]:
        environ = {"HOME": str(self.folder), "no_proxy": "127.0.0.1"}
        none = self.folder / "none"
        status = run(words, Invocation(environ=environ, clock=self.clock, system_file=none, plugins=load_plugins()))
        out, err = self.capture.readouterr()
        return status, out + err

    def init(self, *more: str, **changes: str) -> tuple[int, str]:
        old = self.folder / "old.env"
        old.write_text("".join(f"{name}='{value}'\n" for name, value in {**self.answers, **changes}.items()))
        places = [f"--set=sources.tandem.endpoints.{name}={value}" for name, value in self.cloud.endpoints.items()]
        data = f"--set=data_dir={self.folder / 'data'}"
        return self.run("init", "--from-env", str(old), "--output", str(self.path), data, *places, *more)


@pytest.fixture(scope="module")
def cloud() -> Iterator[FaultyTandemCloud]:
    """A cloud whose pump has uploaded for days."""
    plan = SimulationPlan(seed=7, zone=ZONE, start=date(2026, 3, 17), days=5, upload_every_min=10)
    with FaultyTandemCloud([simulate(plan)], FakeClock(NOON)) as cloud:
        yield cloud


@pytest.fixture
def place(tmp_path: Path, cloud: FaultyTandemCloud, capsys: pytest.CaptureFixture[str]) -> Iterator[EmptyPlace]:
    """An empty folder beside a cloud and a site."""
    clock = FakeClock(NOON)
    with SimulatedNightscout(now=clock.now) as site:
        account = SimulatedAccount()
        answers = {
            "TCONNECT_EMAIL": account.email, "TCONNECT_PASSWORD": account.password, "TCONNECT_REGION": account.region,
            "NS_URL": site.url, "NS_SECRET": site.secret, "TIMEZONE_NAME": ZONE,
        }  # fmt: skip
        yield EmptyPlace(tmp_path, cloud, clock, site, capsys, answers)


def test_init_result_syncs(place: EmptyPlace) -> None:
    """The configuration that init writes syncs at once."""
    status, said = place.init("--set", "sources.tandem.history_days=1", "--set", "sinks.nightscout-iob.enabled=false")
    assert (status, "Written" in said) == (0, True), said
    assert "BAD" not in said
    config = load_config(place.path, {}, load_plugins())
    assert config.sources["tandem"].options.history_days == 1
    assert not config.sinks["nightscout-iob"].enabled
    status, said = place.run("--config", str(place.path), "sync")
    assert status == 0, said
    assert place.site.count("treatments") > 20
    assert place.site.count("activity") == 0


def test_init_wrong_password(place: EmptyPlace) -> None:
    """A wrong password writes nothing."""
    status, said = place.init(TCONNECT_PASSWORD="not the password")
    assert status == 9
    assert "BAD" in said
    assert "password" in said
    assert "not the password" not in said
    assert not place.path.exists()


def test_init_other_region(place: EmptyPlace) -> None:
    """An account of the other region writes nothing."""
    there = {name: value.replace("/us/", "/eu/") for name, value in place.cloud.endpoints.items()}
    more = [f"--set=sources.tandem.endpoints.{name}={value}" for name, value in there.items()]
    status, said = place.init(*more, TCONNECT_REGION="EU")
    assert status == 9
    assert "region" in said
    assert not place.path.exists()


def test_init_wrong_api_secret(place: EmptyPlace) -> None:
    """A wrong API secret writes nothing."""
    status, said = place.init(NS_SECRET="a wrong secret")
    assert status == 9
    assert "BAD" in said
    assert "secret" in said
    assert "a wrong secret" not in said
    assert not place.path.exists()


def test_init_address_without_api(place: EmptyPlace) -> None:
    """An address without an API writes nothing."""
    status, said = place.init(NS_URL=place.cloud.endpoints["data"])
    assert status == 9
    assert "BAD" in said
    assert "Nightscout" in said
    assert not place.path.exists()


def test_init_site_away(place: EmptyPlace) -> None:
    """A site that is away writes nothing unless ``--no-check`` is given."""
    status, said = place.init(NS_URL="http://127.0.0.1:1/")
    assert (status, "127.0.0.1" in said) == (9, True)
    assert place.init("--no-check", NS_URL="http://127.0.0.1:1/")[0] == 0


def test_init_wrong_zone(place: EmptyPlace) -> None:
    """A zone that the pump's clock is ahead of writes nothing, and the right one is named."""
    status, said = place.init(TIMEZONE_NAME="America/Los_Angeles")
    assert status == 9
    assert "it is not set to that zone" in said
    assert f'"{ZONE}"' in said
    assert not place.path.exists()


def test_init_late_pump(place: EmptyPlace) -> None:
    """A pump that may only be late is pointed out."""
    status, said = place.init(TIMEZONE_NAME="Europe/Berlin")
    assert status == 0
    assert "LOOK" in said
    assert f'"{ZONE}"' in said


@pytest.mark.parametrize(("typed", "written"), [("\n", ZONE), ("America/Denver\n", "America/Denver")])
def test_init_offers_zone(place: EmptyPlace, typed: str, written: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal, the zone of the pump's clock is offered."""
    terminal = io.StringIO(typed)
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", terminal)
    status, said = place.init(TIMEZONE_NAME="America/Los_Angeles")
    assert (status, f"[{ZONE}]" in said) == (0, True), said
    assert load_config(place.path, {}, load_plugins()).timezone == written


def test_check_zone_before_first_sync(place: EmptyPlace) -> None:
    """``check`` says so too until the log knows better."""
    assert place.init("--no-check", TIMEZONE_NAME="America/Los_Angeles")[0] == 0
    status, said = place.run("--config", str(place.path), "check")
    assert (status, "it is not set to that zone" in said) == (9, True)
    assert place.run("--config", str(place.path), "sync")[0] == 0
    assert "it is not set to that zone" not in place.run("--config", str(place.path), "check")[1]
