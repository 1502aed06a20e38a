"""The values of a valid configuration."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from tconnectsync import Secret
from tconnectsync.config.config_file import find_config, read_bootstrap
from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tests.config.fake_plugins import usual_plugins

Load = Callable[..., Config]

LEAST = """
timezone = "Europe/Berlin"
[sources.tandem]
email = "a@example.org"
password = "pump-password"
region = "EU"
[nightscout]
url = "https://site.example"
api_secret = "site-secret-text"
"""
ENVIRON = {
    "TIMEZONE_NAME": "Europe/Berlin",
    "TCONNECT_EMAIL": "a@example.org",
    "TCONNECT_PASSWORD": "pump-password",
    "NS_URL": "https://site.example",
    "NS_SECRET": "site-secret-text",
}


def test_defaults_are_those_of_the_contract(load: Load, tmp_path: Path) -> None:
    config = load(LEAST)
    assert config.data_dir == tmp_path / "home/.local/state/tconnectsync"
    assert (config.daemon.poll_min, config.daemon.poll_max) == (300, 1500)
    assert config.limits.rewrite_brake == 500
    assert config.log_level == "info"
    assert config.notes == ()
    assert config.origin == tmp_path / "config.toml"
    assert config.sources["tandem"].enabled
    assert {name: sink.enabled for name, sink in config.sinks.items()} == {
        "nightscout-treatments": True,
        "nightscout-profile": False,
    }


def test_loading_writes_nothing(load: Load, tmp_path: Path) -> None:
    load(LEAST)
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_the_environment_alone_is_enough(load: Load) -> None:
    config = load(None, ENVIRON)
    assert config.origin is None
    assert config.sources["tandem"].options.email == "a@example.org"
    assert config.sources["tandem"].options.password == Secret("pump-password")
    assert config.sections["nightscout"].url == "https://site.example"


def test_region_of_environment_account(load: Load) -> None:
    """It is US by default."""
    assert load(None, ENVIRON).sources["tandem"].options.region == "US"
    assert load(None, {**ENVIRON, "TCONNECT_REGION": "eu"}).sources["tandem"].options.region == "EU"


def test_region_of_file_with_environment_account(load: Load) -> None:
    """The file's region stays."""
    text = '[sources.tandem]\nregion = "EU"'
    assert load(text, ENVIRON).sources["tandem"].options.region == "EU"


def test_the_environment_wins_over_the_file(load: Load) -> None:
    config = load(LEAST, {"TCONNECT_EMAIL": "b@example.org", "TIMEZONE_NAME": "America/Denver", "API_SECRET": "other"})
    assert config.sources["tandem"].options.email == "b@example.org"
    assert config.timezone == "America/Denver"
    assert config.sections["nightscout"].api_secret == Secret("other")


def test_of_two_variables_the_first_counts(load: Load) -> None:
    config = load(LEAST, {"NS_SECRET": "first", "API_SECRET": "second"})
    assert config.sections["nightscout"].api_secret == Secret("first")


def test_an_empty_variable_is_not_set(load: Load) -> None:
    assert load(LEAST, {"TCONNECT_EMAIL": ""}).sources["tandem"].options.email == "a@example.org"


def test_a_credential_wins_over_file_and_environment(load: Load, tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/tandem-password").write_text("from-systemd\n")
    text = LEAST.replace('password = "pump-password"', 'password_file = "not-there"')
    config = load(text, {"TCONNECT_PASSWORD": "env", "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials")})
    assert config.sources["tandem"].options.password == Secret("from-systemd")


def test_secret_file_path_and_line_end(load: Load, tmp_path: Path) -> None:
    """Its path is relative to the configuration, and its line end is removed."""
    (tmp_path / "secret").write_text(" with spaces \n")
    config = load(LEAST.replace('password = "pump-password"', 'password_file = "secret"'))
    assert config.sources["tandem"].options.password == Secret(" with spaces ")


@pytest.mark.parametrize(("mode", "told"), [(0o644, True), (0o640, False), (0o600, False)])
def test_a_secret_file_that_everybody_can_read_is_told(load: Load, mode: int, told: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        secret = Path(folder, "secret")
        secret.write_text("pump-password")
        secret.chmod(mode)
        notes = load(LEAST.replace('password = "pump-password"', f'password_file = "{secret}"')).notes
    assert [f"chmod 600 {secret}" in note and "password_file" in note for note in notes] == ([True] if told else [])
    assert "pump-password" not in repr(notes)


def test_variables_are_parsed_by_their_type(load: Load) -> None:
    config = load(LEAST, {"PUMP_SERIAL_NUMBER": "1234567", "NS_SKIP_TLS_VERIFY": "true"})
    assert config.sources["tandem"].options.pumps == ("1234567",)
    assert config.sections["nightscout"].verify_tls is False
    assert load(LEAST, {"PUMP_SERIAL_NUMBER": "11111111"}).sources["tandem"].options.pumps == "all"


@pytest.mark.parametrize(
    "zone", ["UTC", "Etc/GMT+5", ":/etc/localtime", "/usr/share/zoneinfo/Europe/Paris", "CET", "EST5EDT"]
)
def test_tz_counts_only_where_it_names_a_place(load: Load, zone: str) -> None:
    assert load(LEAST, {"TZ": zone}).timezone == "Europe/Berlin"


@pytest.mark.parametrize("text", [LEAST, LEAST.replace('timezone = "Europe/Berlin"', "")])
def test_tz_loses_to_the_file_and_to_its_own_variable(load: Load, text: str) -> None:
    given = {} if "timezone" in text else {"TIMEZONE_NAME": "Europe/Berlin"}
    config = load(text, {"TZ": "America/Chicago", **given})
    assert config.timezone == "Europe/Berlin"
    assert config.zones.name_at(date(2026, 1, 20)) == "Europe/Berlin"
    assert config.notes == ()


@pytest.mark.parametrize(("named", "zone"), [("America/Chicago", "America/Chicago"), ("Japan", "Japan")])
def test_tz_counts_where_nothing_else_says_a_zone(load: Load, named: str, zone: str) -> None:
    assert load(LEAST.replace('timezone = "Europe/Berlin"', ""), {"TZ": named}).timezone == zone


def test_the_variable_of_the_zone_wins_over_the_file(load: Load) -> None:
    assert load(LEAST, {"TZ": "America/Denver", "TIMEZONE_NAME": "Europe/Paris"}).timezone == "Europe/Paris"


def test_moves_are_sorted_and_hold_from_their_day_on(load: Load) -> None:
    moves = """
[[zones]]
from = 2025-09-01
timezone = "Europe/Berlin"
[[zones]]
from = 2025-06-01
timezone = "America/Denver"
"""
    config = load(LEAST + moves)
    days = [date(2025, 5, 31), date(2025, 6, 1), date(2025, 8, 31), date(2025, 9, 1)]
    assert [config.zone_of(day) for day in days] == [
        "Europe/Berlin",
        "America/Denver",
        "America/Denver",
        "Europe/Berlin",
    ]
    assert config.zones.moves[0] == (date(2025, 6, 1), "America/Denver")


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        ('data_dir = "/srv/t"', {}, "/srv/t"),
        ('data_dir = "state"', {}, "{tmp}/state"),
        ('data_dir = "~/state"', {}, "{tmp}/home/state"),
        ('data_dir = "/srv/t"', {"TCONNECTSYNC_DATA_DIR": "/srv/env"}, "/srv/env"),
        ("", {"STATE_DIRECTORY": "/var/lib/tconnectsync:/var/lib/other"}, "/var/lib/tconnectsync"),
        ("", {"XDG_STATE_HOME": "/xdg"}, "/xdg/tconnectsync"),
        ("", {"XDG_STATE_HOME": "relative"}, "{tmp}/home/.local/state/tconnectsync"),
        ("", {"STATE_DIRECTORY": "/var/lib/t", "XDG_STATE_HOME": "/xdg"}, "/var/lib/t"),
    ],
)
def test_where_data_is_kept(load: Load, tmp_path: Path, text: str, environ: dict[str, str], expected: str) -> None:
    assert load(text + LEAST, environ).data_dir == Path(expected.format(tmp=tmp_path))


def test_enabled_turns_a_sink_on_and_off(load: Load) -> None:
    text = "[sinks.nightscout-treatments]\nenabled = false\n[sinks.nightscout-profile]\nenabled = true"
    assert {name: sink.enabled for name, sink in load(LEAST + text).sinks.items()} == {
        "nightscout-treatments": False,
        "nightscout-profile": True,
    }


def test_a_table_without_enabled_changes_nothing_else(load: Load) -> None:
    config = load(LEAST + '[sinks.nightscout-profile]\ncarbs = "note"')
    assert config.sinks["nightscout-profile"].enabled is False
    assert config.sinks["nightscout-profile"].options.carbs == "note"


def test_features_turn_their_sinks_on_and_all_others_off(load: Load) -> None:
    off = LEAST + "[sinks.nightscout-treatments]\nenabled = false"
    by_env = load(LEAST, {"TCONNECTSYNC_HEROKU_FEATURES": "PROFILES"})
    assert [name for name, sink in by_env.sinks.items() if sink.enabled] == ["nightscout-profile"]
    by_option = load(off, {"TCONNECTSYNC_HEROKU_FEATURES": "PROFILES"}, features="basal, BOLUS")
    assert [name for name, sink in by_option.sinks.items() if sink.enabled] == ["nightscout-treatments"]


def test_a_feature_that_is_not_named_is_off_within_its_sink(load: Load) -> None:
    """A user whose boluses come from another app must not get them twice."""
    asked = load(LEAST, features="BOLUS").sinks["nightscout-treatments"]
    assert (asked.enabled, asked.options.basal) == (True, False)
    assert load(LEAST, features="BASAL,BOLUS").sinks["nightscout-treatments"].options.basal is True


def test_source_on_or_off(load: Load) -> None:
    """It is off without an account, and its table can turn it off."""
    second = LEAST.replace("[sources.tandem]", "[sources.tandem]\nenabled = true")
    assert load(second).sources["tandem"].enabled


def test_secrets_are_known_to_redaction_and_shown_nowhere(load: Load) -> None:
    config = load(LEAST)
    assert set(config.secrets()) == {"pump-password", "site-secret-text"}
    assert "pump-password" not in repr(config)
    assert "site-secret-text" not in repr(config)


def test_a_whole_number_is_a_number(load: Load) -> None:
    config = load(LEAST.replace('region = "EU"', 'region = "EU"\nratio = 2'))
    assert config.sources["tandem"].options.ratio == 2.0


def test_nested_tables_are_read(load: Load) -> None:
    config = load(LEAST + '[sources.tandem.endpoints]\ndata = "http://127.0.0.1:1/"')
    assert config.sources["tandem"].options.endpoints.data == "http://127.0.0.1:1/"


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    assert load_config(path, {}, usual_plugins()).timezone == "Europe/Berlin"


# --- which file -----------------------------------------------------------------------------------------------------


def test_the_search_order(tmp_path: Path) -> None:
    system, home, xdg, named = (tmp_path / name for name in ("system.toml", "home", "xdg", "named.toml"))
    environ = {"HOME": str(home)}
    assert find_config(None, environ, system_file=system) is None
    system.touch()
    assert find_config(None, environ, system_file=system) == system
    users = home / ".config/tconnectsync/config.toml"
    users.parent.mkdir(parents=True)
    users.touch()
    assert find_config(None, environ, system_file=system) == users
    xdg_file = xdg / "tconnectsync/config.toml"
    xdg_file.parent.mkdir(parents=True)
    xdg_file.touch()
    environ["XDG_CONFIG_HOME"] = str(xdg)
    assert find_config(None, environ, system_file=system) == xdg_file
    environ["TCONNECTSYNC_CONFIG"] = str(named)
    assert find_config(None, environ, system_file=system) == named
    assert find_config(tmp_path / "asked.toml", environ, system_file=system) == tmp_path / "asked.toml"


def test_the_bootstrap_tells_what_loading_plugins_needs(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('plugins_dir = "mine"\nblocked_plugins = ["simulator", 3]')
    bootstrap = read_bootstrap(path, {})
    assert bootstrap.plugins_dir == tmp_path / "mine"
    assert bootstrap.blocked_plugins == ("simulator",)
