"""Without a configuration file: a new user reads what to do first, a user of the environment reads what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.root import run
from tconnectsync.config.load import load_config
from tconnectsync.errors import ConfigError, NotConfigured
from tconnectsync.plugin.manager import load_plugins


def load(home: Path, **environ: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"HOME": str(home), **environ}, load_plugins(), system_file=home / "none")
    return caught.value


@pytest.mark.parametrize("command", ["sync", "run", "status", "check", "report", "web"])
def test_the_first_line_names_the_next_command(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the same for every command, and names nothing that a new user does not know."""
    assert run([command], Invocation(environ={"HOME": str(tmp_path)}, system_file=tmp_path / "none")) == 2
    said = capsys.readouterr()
    first, *others = said.err.splitlines()
    assert "no configuration yet" in first
    assert "`sudo tconnectsync setup`" in first
    assert "tconnectsync setup --user" in "".join(others)
    assert "problem" not in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    "environ",
    [{}, {"TZ": "Europe/Berlin"}, {"PORT": "80", "TCONNECTSYNC_DATA_DIR": "/data"}, {"TCONNECT_EMAIL": " "}],
)
def test_what_a_container_sets_is_no_configuration(tmp_path: Path, environ: dict[str, str]) -> None:
    assert isinstance(load(tmp_path, **environ), NotConfigured)


@pytest.mark.parametrize(
    ("environ", "missing"),
    [
        ({"TCONNECT_EMAIL": "a@example.org"}, ["timezone", "sources.tandem.password", "nightscout.url"]),
        ({"NS_URL": "https://site.example/"}, ["timezone", "sources", "nightscout.api_secret"]),
        ({"TIMEZONE_NAME": "Europe/Berlin"}, ["sources", "nightscout.url"]),
        ({"TCONNECT_EMIAL": "a@example.org"}, ["sources", "TCONNECT_EMAIL"]),
    ],
)
def test_half_an_environment_is_listed_precisely(tmp_path: Path, environ: dict[str, str], missing: list[str]) -> None:
    """As users of older bridges and containers know it: what is set is not asked for again."""
    error = load(tmp_path, **environ)
    assert not isinstance(error, NotConfigured)
    said = f"{error.message}\n{error.remedy}"
    assert all(name in said for name in missing)
    assert "tconnectsync setup" in said
    if "TCONNECT_EMAIL" in environ:
        assert "sources.tandem.email" not in said


def test_the_settings_of_an_older_bridge_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("TCONNECT_EMAIL=a@example.org\n")
    error = load(tmp_path)
    assert isinstance(error, NotConfigured)
    assert str(tmp_path / ".env") in error.message


def test_a_file_that_is_empty_is_listed(tmp_path: Path) -> None:
    """There is a file: its problems count."""
    (tmp_path / "c.toml").touch()
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "c.toml", {"HOME": str(tmp_path)}, load_plugins())
    assert not isinstance(caught.value, NotConfigured)
    assert any("timezone" in problem for problem in caught.value.problems)
