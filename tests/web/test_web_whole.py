"""``tconnectsync web`` as a process, from the simulated cloud to the simulated site."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.e2e.installation import ZONE, Installation, by_identity, daemon, eventually, recent_pump
from tests.support.clocks import ShiftedClock
from tests.support.faulty_cloud import FaultyTandemCloud
from tests.support.simulated_nightscout.app import SimulatedNightscout

SECRET = "marked-web-secret-5f1e"


@contextlib.contextmanager
def web(home: Installation, said: list[str]) -> Iterator[str]:
    environment = {**home.environment, "TCONNECTSYNC_HEROKU_SECRET": SECRET}
    with listening(home.command("-v", "web", "--port", "0"), environment, said) as url:
        yield url


@contextlib.contextmanager
def listening(command: list[str], environment: dict[str, str], said: list[str]) -> Iterator[str]:
    process = subprocess.Popen(
        command, env=environment,
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        line = ""
        while "Listening on " not in line:
            line = process.stderr.readline()
            assert line, "it ended before it listened"
        yield line.partition("Listening on ")[2].strip().rstrip("/")
    finally:
        process.terminate()
        said.append(process.communicate(timeout=60)[1])
    assert process.returncode == 0


def test_disk_wiped_at_every_restart(tmp_path: Path) -> None:
    """Nothing is doubled."""
    said: list[str] = []
    with FaultyTandemCloud([recent_pump(3)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2)
        with web(home, said) as url:
            assert requests.get(f"{url}/update", timeout=30).status_code == 401
            first = requests.get(f"{url}/update", params={"secret": SECRET}, timeout=200)
            assert (first.status_code, first.json()["status"]) == (200, 0), first.text
            status = requests.get(url, params={"secret": SECRET}, timeout=30)
            assert status.json()["sinks"]["nightscout-treatments"]["state"] == "ok"
            found = requests.get(f"{url}/check_login", params={"secret": SECRET}, timeout=60).json()["findings"]
            assert any("disk" in finding["what"] for finding in found)
        before = by_identity(site.documents("treatments"))
        assert len(before) > 100
        shutil.rmtree(home.folder / "data")
        with web(home, said) as url:
            again = requests.get(f"{url}/update", headers={"Authorization": SECRET}, timeout=200)
            assert again.json()["status"] == 0
        after = by_identity(site.documents("treatments"))
        assert before.keys() <= after.keys()
        assert len(after) < len(before) + 10  # the pump goes on meanwhile
        settled = sorted(before, key=lambda name: str(before[name].get("created_at")))[:-10]
        assert all(after[name] == before[name] for name in settled)
    for text in (*said, status.text, str(found)):
        assert SECRET not in text
        assert site.secret not in text


@pytest.mark.parametrize("words", [("--host", "::"), ("--behind-router",)])
def test_without_a_secret_it_does_not_start_for_others(tmp_path: Path, words: tuple[str, ...]) -> None:
    """The page is open only on this computer's own address."""
    with FaultyTandemCloud([], ShiftedClock()) as cloud:
        home = Installation(tmp_path / "home", cloud, "http://127.0.0.1:1/", "unused", ZONE)
        done = home.run("web", "--port", "0", *words, expect=(2,))
    assert "TCONNECTSYNC_HEROKU_SECRET" in done.stderr
    assert not (home.folder / "data").exists()


def test_the_environment_alone_is_enough(tmp_path: Path) -> None:
    """The host's line, its port and router, and its empty variables for the fields of its form that nobody filled in."""
    with FaultyTandemCloud([], ShiftedClock()) as cloud:
        home = Installation(tmp_path / "home", cloud, "http://127.0.0.1:1/", "unused", ZONE)
    environment = {
        **{name: value for name, value in home.environment.items() if name != "HOME"},
        "HOME": str(tmp_path / "empty"), "TCONNECT_EMAIL": "a@example.org", "TCONNECT_PASSWORD": "x-password", "TCONNECT_REGION": "US",
        "TIMEZONE_NAME": ZONE, "NS_URL": "http://127.0.0.1:1/", "NS_SECRET": "x-site-secret", "PORT": "0",
        "TCONNECTSYNC_HEROKU_SECRET": SECRET, "TCONNECTSYNC_HEROKU_FEATURES": "", "TCONNECTSYNC_HEROKU_INTERVAL_MINS": "",
    }  # fmt: skip
    words = (Path(__file__).parents[2] / "Procfile").read_text().removeprefix("web: tconnectsync").split()
    with listening([*home.program, *words, "--host", "127.0.0.1"], environment, []) as url:
        for number in range(5):
            stranger = {"Authorization": "wrong", "X-Forwarded-For": f"198.51.100.{number}, 203.0.113.7"}
            refused = requests.get(url, headers=stranger, timeout=30)
        assert refused.status_code == 429
        mine = {"Authorization": f"Bearer {SECRET}", "X-Forwarded-For": "198.51.100.1"}
        answer = requests.get(url, headers=mine, timeout=30).json()
    assert answer["sinks"]["nightscout-treatments"]["state"] == "waiting"
    assert answer["last_cycle_status"] is None


def test_cycle_beside_the_daemon(tmp_path: Path) -> None:
    """The daemon that owns the folder does it."""
    with FaultyTandemCloud([recent_pump(3)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2)
        with daemon(home) as living, web(home, []) as url:
            answer = requests.get(f"{url}/update", params={"secret": SECRET}, timeout=200)
            assert answer.json()["status"] == 0, answer.text
            assert site.count("treatments") > 100
            living.stop()


def test_with_an_interval_it_syncs_unasked(tmp_path: Path) -> None:
    with FaultyTandemCloud([recent_pump(3)], ShiftedClock()) as cloud, SimulatedNightscout() as site:
        more = "[web]\ninterval_mins = 60\n"
        home = Installation(tmp_path / "home", cloud, site.url, site.secret, ZONE, history_days=2, more=more)
        with web(home, []) as url:
            headers = {"Authorization": SECRET}
            eventually(
                lambda: requests.get(url, headers=headers, timeout=30).json()["last_cycle_status"] == 0,
                "a cycle that nobody asked for ends",
            )
        assert site.count("treatments") > 100


def test_cycle_fails_unexpectedly(tmp_path: Path) -> None:
    """It is an answer and does not end the process."""
    with FaultyTandemCloud([], ShiftedClock()) as cloud:
        home = Installation(tmp_path / "home", cloud, "http://127.0.0.1:1/", "unused", ZONE)
        with web(home, []) as url:
            shutil.rmtree(home.folder / "data")
            (home.folder / "data").write_text("a file where a folder is to be")
            for _ in range(2):
                answer = requests.get(f"{url}/update", headers={"Authorization": SECRET}, timeout=60)
                assert (answer.status_code, answer.json()["status"]) == (503, 1)
                assert "unexpectedly" in answer.json()["lines"][0]
            assert requests.get(f"{url}/healthz", timeout=30).status_code == 200


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    with FaultyTandemCloud([], ShiftedClock()) as cloud:
        home = Installation(tmp_path / "home", cloud, "http://127.0.0.1:1/", "unused", ZONE)
    program = "import sys; sys.modules['flask'] = None; from tconnectsync.cli import main; sys.exit(main())"
    words = [sys.executable, "-c", program, *home.command("web")[3:]]
    environment = {**home.environment, "TCONNECTSYNC_HEROKU_SECRET": SECRET}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"{sys.executable} -m pip install '.[web]'" in done.stderr
