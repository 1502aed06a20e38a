"""``tconnectsync setup`` at a terminal and in scripts, against a simulated cloud and site."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import attrs
import pytest

from tconnectsync.config.load import load_config
from tconnectsync.plugin.manager import load_plugins
from tconnectsync_simulator.cloud.accounts import SimulatedAccount
from tests.e2e.installation import ZONE, recent_pump
from tests.support.clocks import ShiftedClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout
from tests.support.terminal import TerminalProgram, at_terminal

OLDER = ".env"
ACCOUNT = SimulatedAccount()


@attrs.define
class Newcomer:
    """A user with an account and a site, and an empty home."""

    home: Path
    cloud: FaultyTandemCloud
    site: SimulatedNightscout

    @property
    def config(self) -> Path:
        return self.home / ".config/tconnectsync/config.toml"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "PYTHONPATH")}
        return {"HOME": str(self.home), "no_proxy": "127.0.0.1", "TERM": "dumb", **kept}

    def command(self, *more: str) -> list[str]:
        places = [f"--set=sources.tandem.endpoints.{name}={value}" for name, value in self.cloud.endpoints.items()]
        return [sys.executable, "-m", "tconnectsync", "setup", "--user", "--set=sources.tandem.history_days=2", *places, *more]  # fmt: skip

    def run(self, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return self._run(self.command(*more), environment)

    def again(self) -> subprocess.CompletedProcess[str]:
        """Run ``setup`` once more, without a flag about the configuration."""
        return self._run([sys.executable, "-m", "tconnectsync", "setup", "--user", "--non-interactive"], {})

    def _run(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env={**self.environment, **environment}, cwd=self.home, capture_output=True, text=True,
            stdin=subprocess.DEVNULL, timeout=120, check=False,
        )  # fmt: skip

    def in_environment(self) -> dict[str, str]:
        account = ACCOUNT
        return {
            "TCONNECT_EMAIL": account.email, "TCONNECT_PASSWORD": account.password, "TCONNECT_REGION": account.region,
            "NS_URL": self.site.url, "NS_SECRET": self.site.secret, "TIMEZONE_NAME": ZONE,
        }  # fmt: skip

    def written(self) -> list[str]:
        return sorted(str(path.relative_to(self.home)) for path in self.home.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def cloud() -> Iterator[FaultyTandemCloud]:
    with FaultyTandemCloud([recent_pump(4)], ShiftedClock()) as cloud:
        yield cloud


@pytest.fixture
def newcomer(tmp_path: Path, cloud: FaultyTandemCloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Newcomer]:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    with SimulatedNightscout() as site:
        yield Newcomer(home, cloud, site)


def answer_account(typist: TerminalProgram, newcomer: Newcomer, password: str) -> None:
    typist.answer("email", ACCOUNT.email)
    typist.answer("password: ", password)
    typist.answer("US or EU", ACCOUNT.region)


@pytest.fixture
def listener() -> Iterator[str]:
    """The address of a service that takes every notification."""

    class Service(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Service) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_wrong_answers_are_asked_again(newcomer: Newcomer, listener: str) -> None:
    """Until the first sync is done."""
    with at_terminal(newcomer.command(), environment=newcomer.environment) as typist:
        typist.expect("Ctrl+C stops")
        typist.answer("email", "no address")
        typist.expect("not valid")
        answer_account(typist, newcomer, "wrong-pass-word")
        typist.expect("BAD")
        typist.answer("answers again", "y")
        answer_account(typist, newcomer, ACCOUNT.password)
        typist.expect("logged in")
        typist.expect("pump ")
        typist.answer("time zone where", "Berlin")
        typist.expect("not valid")
        typist.answer("time zone where", ZONE)
        typist.expect(f"fits {ZONE}")
        typist.answer("Nightscout's address", "my-site.example")
        typist.expect("not valid")
        typist.answer("Nightscout's address", newcomer.site.url)
        typist.answer("API secret", "wrong-site-secret")
        typist.expect("BAD")
        typist.answer("answers again", "y")
        typist.answer("Nightscout's address", "")
        typist.answer("API secret", newcomer.site.secret)
        typist.expect("Nightscout 1")
        typist.expect("may create, read and delete")
        typist.answer("Address for notifications", "pump-topic")
        typist.expect("not valid")
        typist.answer("Address for notifications", "json://127.0.0.1:1/")
        typist.expect("BAD")
        typist.answer("Address for notifications", listener.replace("http://", "json://"))
        typist.answer("Did it arrive", "y")
        typist.expect("Written: ")
        assert typist.wait(within_s=120) == 0, typist.shown
    for secret in ("wrong-pass-word", "wrong-site-secret", ACCOUNT.password, newcomer.site.secret):
        assert secret not in typist.shown
    assert "run" in typist.shown
    assert "\x1b" not in typist.shown, "the terminal says that it is a dumb one"
    assert f"Open your site: {newcomer.site.url}" in typist.shown
    assert newcomer.site.count("treatments") > 10
    folder = newcomer.config.parent
    for name in ("config.toml", "tandem-password", "nightscout-api-secret", "alert-urls"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert newcomer.site.secret not in newcomer.config.read_text()
    config = load_config(newcomer.config, {}, load_plugins())
    assert config.timezone == ZONE
    assert len(config.alerts.urls) == 1


def test_ctrl_c_leaves_nothing(newcomer: Newcomer) -> None:
    with at_terminal(newcomer.command(), environment=newcomer.environment) as typist:
        answer_account(typist, newcomer, ACCOUNT.password)
        typist.expect("logged in")
        typist.expect("time zone where")
        typist.interrupt()
        assert typist.wait() == 130, typist.shown
    assert "Nothing was written" in typist.shown
    assert newcomer.written() == []


def test_a_closed_terminal_leaves_nothing(newcomer: Newcomer) -> None:
    environment = {**newcomer.environment, "TMPDIR": str(newcomer.home)}
    with at_terminal(newcomer.command(), environment=environment) as typist:
        answer_account(typist, newcomer, ACCOUNT.password)
        typist.expect("Testing")
        typist.process.terminate()
        assert typist.wait() == 130, typist.shown
    assert newcomer.written() == []


def test_a_script_gives_everything_and_is_asked_nothing(newcomer: Newcomer) -> None:
    done = newcomer.run("--non-interactive", **newcomer.in_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert newcomer.site.count("treatments") > 10
    kept = newcomer.again()
    assert kept.returncode == 0, kept.stdout + kept.stderr
    assert "Fetching and sending" in kept.stdout
    assert "first" not in kept.stdout, "it is not the first sync"
    again = newcomer.run("--non-interactive", "--force", "--no-start", **newcomer.in_environment())
    assert again.returncode == 0, again.stdout + again.stderr
    assert (newcomer.config.parent / "config.toml.old").exists()


@pytest.mark.parametrize(
    ("name", "value", "status", "told"),
    [
        ("TCONNECT_PASSWORD", "", 2, "--password-file"),
        ("TCONNECT_PASSWORD", "wrong", 9, "BAD"),
        ("NS_SECRET", "wrong", 9, "BAD"),
        ("TIMEZONE_NAME", "Nowhere/Town", 2, "--timezone"),
    ],
)
def test_a_script_with_a_wrong_answer_writes_nothing(
    newcomer: Newcomer, name: str, value: str, status: int, told: str
) -> None:
    done = newcomer.run("--non-interactive", **{**newcomer.in_environment(), name: value})
    assert done.returncode == status, done.stdout + done.stderr
    assert told in done.stdout + done.stderr
    assert newcomer.written() == []


def test_an_older_bridges_settings_are_offered(newcomer: Newcomer) -> None:
    lines = "".join(f"{name}='{value}'\n" for name, value in newcomer.in_environment().items())
    (newcomer.home / OLDER).write_text(lines)
    with at_terminal(newcomer.command("--no-start"), environment=newcomer.environment) as typist:
        typist.answer("Use these settings", "")
        typist.expect("logged in")
        typist.answer("Address for notifications", "")
        typist.expect("Written: ")
        assert typist.wait() == 0, typist.shown
    assert newcomer.config.exists()


def test_a_configuration_that_is_there_stays(newcomer: Newcomer) -> None:
    newcomer.config.parent.mkdir(parents=True)
    newcomer.config.write_text("mine")
    done = newcomer.run("--non-interactive", "--region", "EU", **newcomer.in_environment())
    assert done.returncode == 2
    assert "--force" in done.stderr
    assert newcomer.config.read_text() == "mine"
