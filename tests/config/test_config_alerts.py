"""``[alerts]`` and ``[heartbeat]``: where addresses come from, and that no message shows one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tconnectsync import Secret
from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tconnectsync.errors import ConfigError
from tconnectsync.plugin.manager import load_plugins

BASE = """
timezone = "Europe/Berlin"
[sources.tandem]
email = "a@example.org"
password = "pump-password"
region = "EU"
[nightscout]
url = "https://my-site.example/"
api_secret = "a-dummy-secret"
"""
TOPIC = "ntfy://secret-topic-4711"
MAIL = "mailto://me:pass@example.org?to=a@example.org,b@example.org"


def load(folder: Path, text: str, **environ: str) -> Config:
    path = folder / "config.toml"
    path.write_text(BASE + text)
    path.chmod(0o600)
    return load_config(path, {"HOME": str(folder), **environ}, load_plugins())


def test_nothing_is_configured_by_default(tmp_path: Path) -> None:
    config = load(tmp_path, "")
    assert config.alerts.urls == ()
    assert config.alerts.no_data_span == timedelta(hours=3)
    assert config.alerts.repeat_span == timedelta(hours=12)
    assert config.heartbeat.url is None


def test_a_list_in_the_file(tmp_path: Path) -> None:
    config = load(tmp_path, f'[alerts]\nurls = ["{TOPIC}", "{MAIL}"]\nno_data_after = "90m"\n')
    assert config.alerts.urls == (Secret(TOPIC), Secret(MAIL))
    assert config.alerts.no_data_span == timedelta(minutes=90)
    assert {TOPIC, MAIL} <= set(config.secrets())
    assert "4711" not in repr(config)


def test_a_file_with_one_in_each_line(tmp_path: Path) -> None:
    (tmp_path / "addresses").write_text(f"# the phone\n{TOPIC}\n\n{MAIL}\n")
    (tmp_path / "addresses").chmod(0o600)
    assert load(tmp_path, '[alerts]\nurls_file = "addresses"\n').alerts.urls == (Secret(TOPIC), Secret(MAIL))


@pytest.mark.parametrize("separator", [",", " ", ", ", "\n"])
def test_the_environment_wins(tmp_path: Path, separator: str) -> None:
    config = load(tmp_path, '[alerts]\nurls = ["json://other"]\n', TCONNECTSYNC_ALERT_URLS=f"{TOPIC}{separator}{MAIL}")
    assert config.alerts.urls == (Secret(TOPIC), Secret(MAIL)), "a comma inside an address is none between two"


def test_a_credential_wins(tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "alert-urls").write_text(f"{TOPIC}\n{MAIL}\n")
    (folder / "heartbeat-url").write_text("https://hc-ping.com/uuid\n")
    config = load(tmp_path, '[alerts]\nurls = ["json://other"]\n', CREDENTIALS_DIRECTORY=str(folder))
    assert config.alerts.urls == (Secret(TOPIC), Secret(MAIL))
    assert config.heartbeat.url == Secret("https://hc-ping.com/uuid")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('urls = ["secret-topic-4711"]', "addresses such as"),
        ('urls = "ntfy://secret-topic-4711"', "a list of texts"),
        ('urls = [4711, "ntfy://secret-topic-4711"]', "text"),
        ('no_data_after = "3"', "30m"),
        ('no_data_after = "5m"', "30m"),
        ('repeat_after = "soon"', "30m"),
        ('url = "ntfy://secret-topic-4711"', "url"),
    ],
)
def test_what_cannot_be_used_is_refused_without_showing_it(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"[alerts]\n{text}\n")
    [problem] = caught.value.problems
    assert words in problem
    assert "topic-4711" not in problem


def test_a_heartbeat_needs_a_web_address(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, '[heartbeat]\nurl = "ntfy://secret-topic-4711"\n')
    assert "https://" in caught.value.problems[0]
    assert "4711" not in caught.value.problems[0]


def test_a_readable_file_with_an_address_is_noted(tmp_path: Path) -> None:
    tmp_path = tmp_path / "Müller Haus"
    tmp_path.mkdir()
    load(tmp_path, "")
    path = tmp_path / "config.toml"
    text = path.read_text().replace('password = "pump-password"', 'password_file = "p"')
    path.write_text(
        text.replace('api_secret = "a-dummy-secret"', 'api_secret_file = "p"') + f'[alerts]\nurls = ["{TOPIC}"]\n'
    )
    (tmp_path / "p").write_text("a-dummy-secret")
    (tmp_path / "p").chmod(0o600)
    path.chmod(0o644)
    config = load_config(path, {"HOME": str(tmp_path)}, load_plugins())
    assert any("secret" in note and f"`chmod 600 '{path}'`" in note for note in config.notes)


def test_alarms_and_limits(tmp_path: Path) -> None:
    config = load(tmp_path, '[alerts]\npump_alarms = ["occlusion", "Motor stall", "41"]\nlow_reservoir_u = 20\n')
    assert config.alerts.pump_alarms == ("occlusion", "Motor stall", "41")
    assert config.alerts.low_reservoir_u == 20.0
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, '[alerts]\npump_alarms = ["oclusion"]\n')
    assert 'did you mean "occlusion"' in caught.value.problems[0]
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "[alerts]\nlow_battery_percent = 150\nsite_older_than_days = 0\n")
    assert len(caught.value.problems) == 2
