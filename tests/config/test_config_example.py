"""``config.toml.example`` loads as it is, with the plugins that ship here, and shows every key with its default."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest

from tconnectsync import Secret
from tconnectsync.config.assemble import CoreOptions
from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tconnectsync.config.option_types import key_of, keys_of, nested_class
from tconnectsync.errors import ConfigError
from tconnectsync.plugin.manager import Plugins, load_plugins
from tconnectsync.plugin.options import Secret as SecretType

EXAMPLE = Path(__file__).parents[2] / "config.toml.example"


@pytest.fixture
def plugins() -> Plugins:
    """The installed plugins, which have no problems."""
    found = load_plugins()
    found.call_all_hooks()
    assert found.problems == []
    return found


def load(folder: Path, text: str, plugins: Plugins) -> Config:
    for name in ("tandem-password", "nightscout-api-secret"):
        (folder / name).write_text("a-dummy-secret\n")
    (folder / "config.toml").write_text(text)
    return load_config(folder / "config.toml", {"HOME": str(folder)}, plugins)


def test_the_example_loads_as_it_is(tmp_path: Path, plugins: Plugins) -> None:
    config = load(tmp_path, EXAMPLE.read_text(), plugins)
    assert config.notes == ()
    assert config.sources["tandem"].enabled
    assert config.sources["tandem"].options.password == Secret("a-dummy-secret")
    assert {name for name, sink in config.sinks.items() if sink.enabled} == {
        "nightscout-treatments",
        "nightscout-iob",
        "nightscout-pump-events",
    }


def uncommented(text: str) -> str:
    """The example with its settings in force; those that only show a shape stay comments."""
    setting = re.compile(r'^# (?=\w+ = (?!"…"|"https://…))', re.MULTILINE)
    hidden = re.compile(r"^# (token_file|from|timezone|plugins_dir|data_dir|glucose_units) .*$", re.MULTILINE)
    return setting.sub("", hidden.sub("", text))


def test_the_defaults_it_shows_are_the_defaults(tmp_path: Path, plugins: Plugins) -> None:
    as_it_is = load(tmp_path, EXAMPLE.read_text(), plugins)
    said_aloud = load(tmp_path, uncommented(EXAMPLE.read_text()), plugins)
    assert said_aloud == as_it_is


def test_it_shows_every_key(plugins: Plugins) -> None:
    text = EXAMPLE.read_text()
    owners = [CoreOptions, *(one.options for one in plugins.sections().values())]
    owners += [one.options for one in (*plugins.sources().values(), *plugins.sinks().values())]
    tables = [table for owner in owners for table in _tables(owner)]
    missing = [key for table in tables for key in keys_of(table) if not re.search(rf"\b{key}\b", text)]
    assert missing == []


def _tables(options: type[attrs.AttrsInstance]) -> list[type[attrs.AttrsInstance]]:
    attrs.resolve_types(options)
    inner = [nested_class(field.type) for field in attrs.fields(options) if key_of(field)]
    return [options, *(table for one in inner if one is not None for table in _tables(one))]


def test_secrets_of_the_plugins_that_ship_are_secrets(plugins: Plugins) -> None:
    """A field that is named like a secret has the type that never shows itself."""
    specs = (*plugins.sections().values(), *plugins.sources().values(), *plugins.sinks().values())
    for spec in specs:
        for field in attrs.fields(attrs.resolve_types(spec.options)):
            if re.search(r"password|secret|^token$", field.name):
                assert field.type == SecretType | None


def test_it_lists_every_alarm_that_can_be_announced() -> None:
    from tconnectsync_nightscout.folds.alarms import announceable

    listed = EXAMPLE.read_text().partition("The names:\n")[2].partition("\n# announce")[0]
    names = tuple(re.findall(r"\w+", listed))
    assert names == tuple(name for name in announceable() if not name.startswith("malfunction_"))


@pytest.mark.parametrize(
    ("names", "notes"),
    [
        ('["occlusion", "battery", "Motor stall", "41", "malfunction", "malfunction_battery"]', []),
        (
            '["oclusion", "empty", "bell"]',
            [
                "there is no alarm named 'oclusion'; did you mean 'occlusion' or 'occlusion_2'?",
                "there is no alarm named 'bell'; config.toml.example lists them",
            ],
        ),
    ],
)
def test_a_name_to_announce_that_no_alarm_has_is_a_note(
    tmp_path: Path, plugins: Plugins, names: str, notes: list[str]
) -> None:
    text = EXAMPLE.read_text().replace("# announce = []", f"announce = {names}")
    key = f"{tmp_path}/config.toml: sinks.nightscout-pump-events.announce"
    assert load(tmp_path, text, plugins).notes == tuple(f"{key}: {note}" for note in notes)


def test_what_is_wrong_is_told_in_one_round(tmp_path: Path, plugins: Plugins) -> None:
    """Types, unknown keys, values that only a plugin can judge, and what is missing beside them."""
    text = """
    timezone = "Nowhere"
    [sources.tandem]
    email = 5
    histroy_days = 3
    [nightscout]
    url = "n"
    verify_tls = "perhaps"
    [sinks.nightscout-iob]
    device_status = "yes"
    """
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, plugins)
    told = [problem.partition("config.toml: ")[2].partition(":")[0] for problem in caught.value.problems]
    assert sorted(told) == sorted(
        [
            "timezone",
            "sources.tandem.email",
            "sources.tandem.histroy_days",
            "sources.tandem.password",
            "sources.tandem.region",
            "nightscout.url (NS_URL)",
            "nightscout.verify_tls",
            "nightscout.api_secret",
            "sinks.nightscout-iob.device_status",
        ]
    )
