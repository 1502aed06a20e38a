"""Mistakes of users: each gets a message with the next thing to do, and nothing is written."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.command_in_process import run_command

RIGHT = """timezone = "Europe/Berlin"
data_dir = "{folder}/data"
[sources.tandem]
email = "a@example.org"
password = "a password"
region = "EU"
endpoints.login_page = "http://127.0.0.1:9/"
endpoints.login_api = "http://127.0.0.1:9/"
[nightscout]
url = "http://127.0.0.1:9/"
api_secret = "a long secret"
"""
"""Nothing answers at these addresses: `check` asks the source even if the time zone is missing."""


def run(folder: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command line; it has no terminal, no traceback, and one problem or more in its words."""
    environ = {"HOME": str(folder), "PATH": os.environ["PATH"], "no_proxy": "*", **environment}
    done = run_command(words, environ, folder)
    assert "Traceback" not in done.stdout + done.stderr
    assert "failed unexpectedly" not in done.stderr
    return done


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A right configuration."""
    path = tmp_path / "config.toml"
    path.write_text(RIGHT.format(folder=tmp_path))
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('timezone = "Europe/Berlin"', "", ["timezone", "Europe/Berlin"]),
        ("Europe/Berlin", "Europe/Belrin", ["timezone", "Europe/Belrin", "Europe/Berlin"]),
        ("timezone =", "timezome =", ["timezome", "timezone"]),
        ('region = "EU"', 'region = "DE"', ["sources.tandem.region", '"DE"', '"US"', '"EU"']),
        ('region = "EU"', "", ["sources.tandem.region"]),
        ("[nightscout]", "[nigthscout]", ["nigthscout", "nightscout"]),
        ("http://127.0.0.1:9/", "my-site.example", ["nightscout.url", "https://"]),
        ('api_secret = "a long secret"', "", ["nightscout", "api_secret", "NS_SECRET"]),
        ('password = "a password"', "", ["sources.tandem.password"]),
        ("[sources.tandem]", "[sources.tandem", ["line 3"]),
        ("[nightscout]", "[sinks.nightscout-treatmets]\n[nightscout]", ["nightscout-treatmets", "nightscout-treatments"]),
        ("[nightscout]", "[daemon]\npoll_min = 0\n[nightscout]", ["daemon.poll_min", "0"]),
    ],
)  # fmt: skip
def test_wrong_configuration(tmp_path: Path, config: Path, old: str, new: str, words: list[str]) -> None:
    """A wrong configuration is reported, and nothing is written."""
    text = config.read_text()
    assert old in text
    config.write_text(text.replace(old, new))
    for command in ("sync", "run", "check"):
        done = run(tmp_path, "--config", str(config), command)
        assert done.returncode == 2, done.stderr
        assert str(config) in done.stderr
        for word in words:
            assert word in done.stderr
        assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({'password = "a password"': 'password_file = "/nowhere/at-all"'}, 1),
        ({'api_secret = "a long secret"': 'api_secret_file = "/nowhere/at-all"'}, 1),
        ({'api_secret = "a long secret"': 'token_file = "/nowhere/at-all"'}, 1),
        ({'password = "a password"': 'password_file = "/nowhere/at-all"', "data_dir": "dota_dir"}, 2),
        ({'password = "a password"': 'password_file = "."'}, 2),
    ],
)
def test_secret_not_mounted_yet(tmp_path: Path, config: Path, changes: dict[str, str], status: int) -> None:
    """A secret on a disk that is not mounted yet does not count as wrong usage.

    systemd starts the service again after exit status 1 and never after 2.
    """
    text = config.read_text()
    for old, new in changes.items():
        text = text.replace(old, new)
    config.write_text(text)
    for command in ("sync", "run", "check"):
        done = run(tmp_path, "--config", str(config), command)
        assert done.returncode == status, done.stderr
        assert "_file: found" in done.stderr
        assert "missing;" not in done.stderr


def test_configuration_not_mounted_yet(tmp_path: Path) -> None:
    """A configuration on a disk that is not mounted yet does not count as wrong usage."""
    done = run(tmp_path, "--config", "/nowhere/at-all/config.toml", "run")
    assert done.returncode == 1
    assert "/nowhere/at-all" in done.stderr
    assert "mounted" in done.stderr


def test_data_folder_cannot_be_made(tmp_path: Path, config: Path) -> None:
    """A data folder inside a file is a mistake in the configuration, for every command."""
    config.write_text(config.read_text().replace("/data", "/config.toml/data"))
    for command in ("sync", "run", "check", "status"):
        done = run(tmp_path, "--config", str(config), command)
        assert done.returncode == 2
        said = done.stdout + done.stderr
        assert f"{config}: data_dir: {config} is not a folder" in said


def test_data_folder_not_mounted_yet(tmp_path: Path, config: Path) -> None:
    """If a data folder cannot be created yet, systemd tries again."""
    folder = "/proc/nowhere/data"  # where nobody may make one, root neither
    config.write_text(config.read_text().replace(f"{tmp_path}/data", folder))
    for command, status in (("sync", 1), ("run", 1), ("check", 9)):
        done = run(tmp_path, "--config", str(config), command)
        assert done.returncode == status
        assert f"data_dir: {folder} cannot be created" in done.stdout + done.stderr


def test_all_problems_at_once(tmp_path: Path, config: Path) -> None:
    """All problems are reported at once."""
    config.write_text('timezone = "Nowhere"\nfoo = 1\n[sources.tandem]\nemail = 5\n')
    done = run(tmp_path, "--config", str(config), "sync")
    assert done.returncode == 2
    for word in ("timezone", "foo", "sources.tandem.email"):
        assert f"{config}: {word}" in done.stderr


def test_no_configuration(tmp_path: Path) -> None:
    """Without a configuration, the message says where one may be."""
    if Path("/etc/tconnectsync/config.toml").exists():
        pytest.skip("this machine has a configuration")
    done = run(tmp_path, "sync")
    assert done.returncode == 2
    assert "no configuration" in done.stderr.splitlines()[0]
    for word in ("tconnectsync setup", "--config"):
        assert word in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_missing_configuration_file(tmp_path: Path) -> None:
    """A configuration file that does not exist is named."""
    done = run(tmp_path, "--config", "nowhere.toml", "status")
    assert done.returncode == 2
    assert "nowhere.toml" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["snyc"], ["snyc", 'did you mean "sync"?']),
        (["sync", "--dryrun"], ["--dryrun", "--dry-run"]),
        (["replay"], ["SINK"]),
        (["replay", "nightscout-treatment"], ['did you mean "nightscout-treatments"?']),
        (["replay", "treatments"], ["nightscout-treatments"]),
        (["replay", "nightscuot"], ['did you mean "nightscout"?']),
        (["verify", "nightscout"], ["there is no sink 'nightscout'"]),
        (["backfill"], ["--from"]),
        (["backfill", "--from", "2025-13-01"], ["2025-13-01", "2025-06-01"]),
        (["backfill", "--from", "2025-06-02", "--to", "2025-06-01"], ["2025-06-01 is before the first day, 2025-06-02"]),
        (["events", "--kind", "bolous"], ["bolous", "bolus"]),
        (["dead-letters"], ["list", "retry", "drop"]),
        (["log"], ["check", "repair"]),
        (["adopt", "nightscout-treatments", "--skip", "--dry-run"], ["--skip"]),
    ],
)  # fmt: skip
def test_wrong_usage(tmp_path: Path, config: Path, words: list[str], told: list[str]) -> None:
    """Wrong usage is reported."""
    done = run(tmp_path, "--config", str(config), *words)
    assert done.returncode == 2
    for word in told:
        assert word in done.stderr
    assert not (tmp_path / "data").exists()


def test_sink_that_is_off(tmp_path: Path, config: Path) -> None:
    """A sink that is off is reported with the way to turn it on."""
    config.write_text(config.read_text() + "[sinks.nightscout-iob]\nenabled = false\n")
    done = run(tmp_path, "--config", str(config), "replay", "nightscout-iob")
    assert done.returncode == 2
    assert "nightscout-iob" in done.stderr
    assert "nightscout-treatments" in done.stderr


def test_queries_before_first_sync(tmp_path: Path, config: Path) -> None:
    """Commands that only look have something to say before the first sync."""
    for words, told in (
        (("status",), "tconnectsync sync"),
        (("events",), ""),
        (("log", "check"), "There is no event log"),
        (("log", "repair"), "There is no event log"),
        (("dead-letters", "list"), "There are no dead letters"),
        (("plugins",), "source tandem"),
    ):
        done = run(tmp_path, "--config", str(config), *words)
        assert done.returncode == 0, done.stderr
        assert told in done.stdout
    assert not (tmp_path / "data").exists()


def test_help_without_configuration(tmp_path: Path) -> None:
    """Help works without a configuration."""
    overview = run(tmp_path, "--help")
    assert overview.returncode == 0
    for word in ("sync", "run", "backfill", "replay", "demo", "Exit status", "TCONNECT_EMAIL"):
        assert word in overview.stdout
    for command in ("replay", "backfill", "dead-letters", "adopt", "log"):
        assert run(tmp_path, command, "--help").returncode == 0
