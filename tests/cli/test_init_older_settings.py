"""What ``tconnectsync init`` takes from an older bridge's settings, and what it says of the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli

from tconnectsync.cli.init.legacy_env import read_settings
from tconnectsync.config.load import load_config
from tests.cli.harness import CliHarness
from tests.cli.init_harness import OLD, init


@pytest.mark.parametrize(
    "line",
    ["K=v", 'K = "v"', "export K='v'", "K=v # a comment", "K = 'v'  # c", "#\nK=v"],
)
def test_old_settings_are_read_as_text(line: str) -> None:
    assert read_settings(line).explicit == {"K": "v"}


def test_old_settings_keep_signs_and_run_nothing(tmp_path: Path) -> None:
    assert read_settings("A='x#y$z'\nB=x#y\nC='a\\b'").explicit == {"A": "x#y$z", "B": "x#y", "C": "a\\b"}
    read_settings(f"A = open({str(tmp_path / 'made')!r}, 'w')")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00\x01", b"nothing here"])
def test_an_unreadable_older_file_is_named(real: CliHarness, content: bytes | None) -> None:
    path = real.folder / "noise"
    if content is not None:
        path.write_bytes(content)
    for given_path in (path, real.folder):
        said = real.run("init", "--from-env", str(given_path), "--output", str(real.folder / "new.toml"))
        assert said.status == 2
        assert "--from-env" in said.err
    assert not (real.folder / "new.toml").exists()


@pytest.mark.parametrize("region", ["US", "us"])
def test_the_regions_flag_wins_over_the_older_settings(real: CliHarness, region: str) -> None:
    assert init(real, "--no-check", "--region", region, TCONNECT_REGION="EU").status == 0
    config = load_config(real.folder / "new.toml", {}, real.plugins)
    assert config.sources["tandem"].options.region == "US"


@pytest.mark.parametrize(
    "written", ["int(os.environ.get('PUMP_SERIAL_NUMBER', '7654321'))", "os.getenv('PUMP_SERIAL_NUMBER', '7654321')"]
)
def test_pump_pinned_by_python_default(real: CliHarness, written: str) -> None:
    """There is a warning."""
    old = real.folder / "secret.py"
    lines = "".join(f"{name} = {value!r}\n" for name, value in OLD.items())
    old.write_text(f"import os\n{lines}PUMP_SERIAL_NUMBER = {written}\n")
    said = real.run("init", "--from-env", str(old), "--output", str(real.folder / "new.toml"))
    assert said.status == 0, said.err
    assert "ONLY PUMP 7654321" in said.err
    assert 'pumps = ["7654321"]' in (real.folder / "new.toml").read_text()


def test_environment_and_python_default(real: CliHarness) -> None:
    """The environment wins over a default and loses to an explicit value."""
    old = real.folder / "secret.py"
    lines = "".join(f"{name} = {value!r}\n" for name, value in OLD.items() if name != "NS_URL")
    old.write_text(f"import os\n{lines}NS_URL = os.environ.get('NS_URL', 'https://default.example/')\n")
    real.environ |= {"NS_URL": "https://real.example/", "TCONNECT_EMAIL": "other@example.org"}
    said = real.run("init", "--from-env", str(old), "--output", str(real.folder / "new.toml"))
    assert said.status == 0, said.err
    written = tomli.loads((real.folder / "new.toml").read_text())
    assert written["nightscout"]["url"] == "https://real.example/"
    assert written["sources"]["tandem"]["email"] == "a@example.org"


def test_computed_value(real: CliHarness) -> None:
    """It is named, but not shown, because it could only be read by running the file."""
    old = real.folder / "secret.py"
    lines = "".join(f"{name} = {value!r}\n" for name, value in OLD.items() if name != "NS_SECRET")
    old.write_text(f"{lines}NS_SECRET = 'hid' + 'den'\n")
    said = real.run("init", "--from-env", str(old), "--output", str(real.folder / "new.toml"))
    assert said.status == 2
    assert "line 6: NS_SECRET" in said.err
    assert "hid" not in said.err
    assert not (real.folder / "new.toml").exists()


@pytest.mark.parametrize("written", ["'hidden", '"hidden', "'hid'den'", "\"hidden'"])
def test_quotes_that_do_not_match_are_named_with_their_line(real: CliHarness, written: str) -> None:
    old = real.folder / "old.env"
    lines = "".join(f"{name}={value}\n" for name, value in OLD.items() if name != "NS_SECRET")
    old.write_text(f"{lines}NS_SECRET={written}\n")
    said = real.run("init", "--from-env", str(old), "--output", str(real.folder / "new.toml"))
    assert said.status == 2
    assert f"{old} line 6: the quotes of NS_SECRET do not match" in said.err
    assert "running" not in said.err
    assert "hid" not in said.err
    assert not (real.folder / "new.toml").exists()


def test_quote_in_comment_or_unused_setting() -> None:
    """It does no harm."""
    said = read_settings("A='x' # it's\nB='x' y\nC=it's\n")
    assert said.explicit == {"A": "x", "C": "it's"}
    assert said.unread.keys() == {"B"}


def test_the_line_that_is_no_python_is_named(real: CliHarness) -> None:
    old = real.folder / "secret.py"
    old.write_text("NS_URL = 'https://site.example/'\nNS_SECRET = 'hidden\n")
    said = real.run("init", "--from-env", str(old), "--output", str(real.folder / "new.toml"))
    assert said.status == 2
    assert f"{old} is not valid Python (line 2)" in said.err
    assert "hidden" not in said.err


@pytest.mark.parametrize(
    "names", ["BASAL,BOLUS", "bolus", "IOB PUMP_EVENTS CGM", "BASAL BOLUS BOLUS_BG DEVICE_STATUS PROFILES CGM_ALERTS"]
)
def test_older_feature_names(real: CliHarness, names: str) -> None:
    """They choose the same sinks as the variable does."""
    assert init(real, "--no-check", TCONNECTSYNC_HEROKU_FEATURES=names).status == 0
    written = load_config(real.folder / "new.toml", {}, real.plugins)
    real.folder.joinpath("new.toml").unlink()
    assert init(real, "--no-check").status == 0
    variable = {"TCONNECTSYNC_HEROKU_FEATURES": names}
    assert written.sinks == load_config(real.folder / "new.toml", variable, real.plugins).sinks


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("log_level", "KEY=VALUE"),
        ("=x", "KEY=VALUE"),
        ("a b=x", "KEY=VALUE"),
        ("log_levl=info", "log_level"),
        ("daemon.poll_min=soon", "poll_min"),
    ],
)
def test_setting_is_none(real: CliHarness, setting: str, told: str) -> None:
    """It is named, and nothing is written."""
    said = init(real, "--no-check", "--set", setting)
    assert said.status == 2
    assert told in said.err
    assert not list(real.folder.glob("*new.toml*"))


@pytest.mark.parametrize("setting", ["nightscout api_secret=marked-9f3c", "nightscout.api_secret:marked-9f3c"])
def test_a_setting_that_is_none_does_not_show_its_value(real: CliHarness, setting: str) -> None:
    said = init(real, "--no-check", "--set", setting)
    assert said.status == 2
    assert "KEY=VALUE" in said.err
    assert "marked" not in said.out + said.err


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ("A=one\nB=${A}", {}, "one"),
        ("A=one\nB=x${A}y", {}, "xoney"),
        ("A=one\nB='${A}'", {}, "one"),
        ('A=one\nB="${A}"', {}, "one"),
        ("B=${A}", {"A": "around"}, "around"),
        ("A=file\nB=${A}", {"A": "around"}, "file"),
        ("B=${A:-default}", {}, "default"),
        ("B=x${A}", {}, "x"),
        ("B=$A", {"A": "around"}, "$A"),
        ("A=${B}\nB=later", {"B": "around"}, "later"),
    ],
)
def test_references_are_put_in_as_the_older_bridge_did(text: str, environ: dict[str, str], expected: str) -> None:
    assert read_settings(text, environ=environ).explicit["B"] == expected


def test_a_reference_that_nothing_sets_is_told(real: CliHarness) -> None:
    real.environ["OTHER"] = "hidden-secret-12"
    assert init(real, "--no-check", NS_SECRET="${OTHER}").status == 0
    config = load_config(real.folder / "new.toml", {}, real.plugins)
    assert config.sections["nightscout"].api_secret.reveal() == "hidden-secret-12"
    del real.environ["OTHER"]
    said = init(real, "--no-check", "--force", NS_SECRET="${OTHER}")
    assert (said.status, "NS_SECRET refers to OTHER" in said.err) == (2, True)


@pytest.mark.parametrize("words", [("--auto-update",), ("sync",), ("init",)])
def test_the_settings_of_an_older_bridge_are_noticed(
    real: CliHarness, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    real.environ["HOME"] = str(real.folder / "home")
    monkeypatch.chdir(real.folder)
    assert "--from-env" not in real.run(*words).err
    path = real.folder / "home" / ".config" / "tconnectsync" / ".env"
    path.parent.mkdir(parents=True)
    path.write_text("TCONNECT_EMAIL=a@example.org\n")
    said = real.run(*words)
    assert said.status == 2
    assert f"tconnectsync init --from-env {path}" in said.err
