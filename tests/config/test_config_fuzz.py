"""Strange configurations: each is accepted, or refused with a message."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import tomli as tomllib
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tconnectsync.config.config_file import read_bootstrap
from tconnectsync.config.environment import variables_of
from tconnectsync.config.fingerprint import options_fingerprint as mark_of
from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tconnectsync.errors import ConfigError
from tconnectsync.plugin.manager import Plugins, load_plugins

SECRET = "kept-between-us-0451"
VALID = f"""timezone = "Europe/Berlin"
data_dir = "data"
log_level = "info"
blocked_plugins = ["none-such"]
[[zones]]
from = 2025-06-01
timezone = "Asia/Tokyo"
[sources.tandem]
enabled = true
email = "a@example.org"
password = "{SECRET}"
region = "EU"
pumps = ["90556643"]
history_days = 30
window_days = 28
[sources.tandem.endpoints]
data = "https://example.org/"
[nightscout]
url = "https://site.example/"
api_secret = "{SECRET}"
verify_tls = true
entered_by = "me"
[sinks.nightscout-treatments]
enabled = true
basal = true
carbs = "note"
[sinks.nightscout-pump-events]
cannula = "Site Change"
announce = ["occlusion"]
[daemon]
poll_min = 300
poll_max = 1500
[limits]
rewrite_brake = 500
"""
ABSURD = [
    '""', '" "', '"\\u0000"', '"a\\u0000b"', '"x/../../../etc"', '"' + "x" * 5000 + '"', '"\\U0010FFFF\\u202e"', '"~"', '"~root/x"',
    '"\\n\\r\\t"', '"%s{0}$(x)"', '"https://"', '"https://[::"', '"http://user:pw@h:99999/"', '"file:///etc/passwd"',
    '"https://exa mple.org\\u0000/"', '"../../../etc/passwd"', '"/"', '"."', '"UTC"', '"Etc/GMT+5"', '"Europe"', "0", "-1", "1", "9" * 30, "9" * 5000,
    "-" + "9" * 30, "1e308", "1e999", "-0.0", "nan", "inf", "-inf", "0x7fffffffffffffff", "true", "false", "[]", "[[]]", "{}",
    '[1, "x", true, nan]', '["", ""]', '["\\u0000"]', "{a = {b = {c = 1}}}", "0001-01-01", "9999-12-31",
    "2025-06-01T00:00:00Z", "2025-06-01T00:00:00", "23:59:59", "[" * 60 + "]" * 60, "{" + ", ".join(f"k{n} = {n}" for n in range(50)) + "}",
]  # fmt: skip
"""TOML values that fit hardly anywhere."""

PLACES = [number for number, line in enumerate(VALID.splitlines()) if "=" in line]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    """The installed plugins."""
    return load_plugins()


def misplaced(content: bytes) -> bool:
    """Whether the secret is where the file asks for none: nobody can know what it is, and a problem may show it."""

    def found(value: object, key: str) -> bool:
        if isinstance(value, dict):
            return any(SECRET in name or found(inner, name) for name, inner in value.items())
        if isinstance(value, list):
            return any(found(inner, key) for inner in value)
        return isinstance(value, str) and SECRET in value and key not in {"password", "api_secret"}

    try:
        return found(tomllib.loads(content.decode()), "")
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        return False


def checked_config(
    content: bytes, folder: Path, plugins: Plugins, environ: dict[str, str] | None = None
) -> Config | None:
    """The configuration, or None if it was refused: each problem then has words and a place, and none the secret."""
    path = folder / "config.toml"
    path.write_bytes(content)
    path.chmod(0o600)
    surroundings = {"HOME": str(folder), **(environ or {})}
    refusal: ConfigError | None = None
    try:
        read_bootstrap(path, surroundings, system_file=folder / "none")
        config = load_config(path, surroundings, plugins, system_file=folder / "none")
    except ConfigError as error:
        refusal = error
    if refusal is not None:
        assert refusal.problems
        assert SECRET not in f"{refusal.problems} {refusal.remedy}" or misplaced(content)
        for problem in refusal.problems:
            assert len(problem.strip()) > 10
            assert problem.replace("\n", "").isprintable()
        return None
    assert SECRET not in repr(config)
    for note in config.notes:
        assert SECRET not in note
    assert "\0" not in str(config.data_dir)
    assert config.zone_of(date(2026, 1, 1))
    options = {name: source.options for name, source in config.sources.items()}
    assert mark_of("log", {**config.sections, **options})
    return config


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for one configuration."""
    return tmp_path


def test_the_one_that_is_mutated_is_fine(folder: Path, plugins: Plugins) -> None:
    assert checked_config(VALID.encode(), folder, plugins) is not None


@pytest.mark.parametrize("place", PLACES)
def test_any_value_in_any_place_is_taken_or_refused(folder: Path, plugins: Plugins, place: int) -> None:
    lines = VALID.splitlines()
    key = lines[place].partition("=")[0]
    for value in ABSURD:
        checked_config("\n".join([*lines[:place], f"{key}= {value}", *lines[place + 1 :]]).encode(), folder, plugins)
    checked_config("\n".join([*lines[:place], *lines[place + 1 :]]).encode(), folder, plugins)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rng=st.randoms(use_true_random=False), data=st.data())
def test_mutated_files_are_taken_or_refused(
    folder: Path, plugins: Plugins, rng: random.Random, data: st.DataObject
) -> None:
    """Bytes changed, lines doubled, dropped and swapped, noise put in."""
    content = bytearray(VALID.encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(content))
        match rng.randrange(5):
            case 0:
                content[at] = rng.randrange(256)
            case 1:
                content[at:at] = data.draw(st.binary(max_size=20))
            case 2:
                del content[at : at + rng.randint(1, 60)]
            case 3:
                lines = bytes(content).splitlines(keepends=True)
                rng.shuffle(lines)
                content = bytearray(b"".join(lines))
            case _:
                lines = bytes(content).splitlines(keepends=True)
                lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                content = bytearray(b"".join(lines))
    checked_config(bytes(content), folder, plugins)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8", "ignore")))
)
def test_noise_is_refused(folder: Path, plugins: Plugins, content: bytes) -> None:
    assert checked_config(content, folder, plugins) is None


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfet\0",
        b"\0" * 3000,
        b"[" * 5000,
        b"a." * 5000 + b"a = 1",
        b"x = " + b"[" * 5000,
        b"x = " + b"9" * 10_000,
    ],
    ids=["utf-16", "zeros", "brackets", "dots", "lists", "digits"],
)
def test_files_made_to_break_a_parser_are_refused(folder: Path, plugins: Plugins, content: bytes) -> None:
    assert checked_config(content, folder, plugins) is None


def every_variable(plugins: Plugins) -> Iterator[str]:
    yield from (
        "TIMEZONE_NAME",
        "TZ",
        "TCONNECTSYNC_DATA_DIR",
        "TCONNECTSYNC_LOG_LEVEL",
        "TCONNECTSYNC_HEROKU_FEATURES",
    )
    yield from ("XDG_STATE_HOME", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "XDG_CONFIG_HOME")
    for spec in (*plugins.sources().values(), *plugins.sinks().values(), *plugins.sections().values()):
        for variable, _ in variables_of(spec.options):
            yield variable


def test_any_variable_with_any_text_is_taken_or_refused(folder: Path, plugins: Plugins) -> None:
    """Half a UTF-8 character too: an environment is bytes."""
    texts = [
        "", " ", "x" * 5000, "\udcff\udcfe", "a\udc80b", "\u202e", "\n", "a\nb", '"x"', "'", "-1", "9" * 5000, "nan", "1e999", "[]", "{}",
        "Europe/Berlin", ":/etc/localtime", "../../etc/passwd", "/", "https://", "https://[::", "http://h:99999", "true", ",,,", "a,b",
        "~", "/dev/null/x", "/proc/self/mem",
    ]  # fmt: skip
    for variable in sorted(set(every_variable(plugins))):
        for text in texts:
            checked_config(VALID.encode(), folder, plugins, {variable: text})
            checked_config(b"", folder, plugins, {"TIMEZONE_NAME": "Europe/Berlin", variable: text})


def test_keys_and_tables_swapped(folder: Path, plugins: Plugins) -> None:
    """Every key may be a table and every table a value: there is always an explanation."""
    for name in re.findall(r"^\[+([\w.-]+)\]+", VALID, re.MULTILINE):
        for value in ("1", '"x"', "[]", "[1]", "true"):
            top, _, rest = name.partition(".")
            text = f"{top} = {value}\n" if not rest else f"[{top}]\n{rest} = {value}\n"
            assert tomllib.loads(text)
            checked_config(text.encode(), folder, plugins)
            checked_config(("timezone = 'Europe/Berlin'\n" + text).encode(), folder, plugins)
    keys: list[Any] = sorted(tomllib.loads(VALID))
    for key in keys:
        checked_config(f"[{key}.a.b.c]\nd = 1\n".encode(), folder, plugins)
