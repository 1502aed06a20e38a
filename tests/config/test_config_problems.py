"""Messages about a wrong configuration: file, key path, what was found, what was expected; all at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tconnectsync.errors import ConfigError, MachineNotReady
from tconnectsync.plugin.manager import load_plugins
from tests.config.fake_plugins import FakeEntryPoint, make_plugin, site_plugin, usual_plugins, vendor_plugin

Load = Callable[..., Config]
Problems = Callable[..., tuple[str, ...]]

HEAD = 'timezone = "Europe/Berlin"\n'
TANDEM = '[sources.tandem]\nemail = "a@example.org"\npassword = "pump-password"\nregion = "EU"\n'
SITE = '[nightscout]\nurl = "https://site.example"\napi_secret = "site-secret-text"\n'
LEAST = HEAD + TANDEM + SITE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            LEAST.replace("region", "regoin"),
            'config.toml: sources.tandem.regoin: found an unknown key; did you mean "region"?',
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EUR"'),
            'config.toml: sources.tandem.region: found "EUR" (text), expected "US" or "EU"; did you mean "EU"?',
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EU"\nhistory_days = "30"'),
            'config.toml: sources.tandem.history_days: found "30" (text), expected a whole number',
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EU"\nhistory_days = true'),
            "config.toml: sources.tandem.history_days: found true (true or false), expected a whole number",
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EU"\nhistory_days = 0'),
            "config.toml: sources.tandem.history_days: found 0 (a whole number), expected a whole number from 1 on",
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EU"\nratio = nan'),
            "config.toml: sources.tandem.ratio: found nan (a number), expected a number",
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EU"\npumps = [123]'),
            "config.toml: sources.tandem.pumps[0]: found 123 (a whole number), expected text",
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EU"\npumps = "some"'),
            'config.toml: sources.tandem.pumps: found "some" (text), expected "all" or a list of texts',
        ),
        (
            LEAST.replace('"a@example.org"', "12"),
            "config.toml: sources.tandem.email: found 12 (a whole number), expected text",
        ),
        (
            LEAST.replace('password = "pump-password"', "password = 12345"),
            "config.toml: sources.tandem.password: found a whole number, expected text",
        ),
        (
            LEAST + "[sources.tandem.endpoints]\ndate = 1",
            'config.toml: sources.tandem.endpoints.date: found an unknown key; did you mean "data"?',
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EU"\nendpoints = 3'),
            "config.toml: sources.tandem.endpoints: found 3 (a whole number), expected a table",
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EU"\nenabled = "yes"'),
            'config.toml: sources.tandem.enabled: found "yes" (text), expected true or false',
        ),
        (
            LEAST + "[sinks.nightscout-treatmnts]\nbasal = true",
            'config.toml: sinks.nightscout-treatmnts: found an unknown sink; did you mean "nightscout-treatments"?',
        ),
        (
            LEAST + "[sources.tandam]",
            'config.toml: sources.tandam: found an unknown source; did you mean "tandem"?',
        ),
        (
            LEAST + "[sinks]\nnightscout-treatments = 1",
            "config.toml: sinks.nightscout-treatments: found 1 (a whole number), expected a table",
        ),
        (
            "sinks = 1\n" + LEAST,
            "config.toml: sinks: found 1 (a whole number), expected a table",
        ),
        (
            LEAST + '[sinks.nightscout-treatments]\nannounce = "occlusion"',
            'config.toml: sinks.nightscout-treatments.announce: found "occlusion" (text), expected a list of texts',
        ),
        ("log_level = \"loud\"\n" + LEAST, 'expected "debug" or "info" or "warning" or "error"'),
        ("data_dir = 3\n" + LEAST, "config.toml: data_dir: found 3 (a whole number), expected a path"),
        ('data_dir = ""\n' + LEAST, 'config.toml: data_dir: found "" (text), expected a path'),
        ('blocked_plugins = "a"\n' + LEAST, 'config.toml: blocked_plugins: found "a" (text), expected a list of texts'),
        (
            'url = "x"\n' + LEAST,
            "config.toml: url: found an unknown key",
        ),
        ('url = "x"\n' + LEAST, 'did you mean "nightscout.url"?'),
        ('TCONNECT_EMAIL = "x"\n' + LEAST, 'did you mean "sources.tandem.email"?'),
        (LEAST + "[daemon]\npoll_min = 2000", "config.toml: daemon.poll_max: found 1500, expected at least poll_min"),
        (LEAST + "[daemon]\npoll_min = 0", "config.toml: daemon.poll_min: found 0 (a whole number)"),
        (LEAST + "[daemon]\npoll = 3", 'config.toml: daemon.poll: found an unknown key; did you mean "poll_m'),
        (
            LEAST + '[[zones]]\nfrom = "2025-06-01"\ntimezone = "America/Denver"',
            'config.toml: zones[0].from: found "2025-06-01" (text), expected a date without quotes',
        ),
        (
            LEAST + '[[zones]]\nfrom = 2025-06-01T10:00:00\ntimezone = "America/Denver"',
            "config.toml: zones[0].from: found 2025-06-01 10:00:00 (a date or time), expected a date",
        ),
        (LEAST + "[zones]\nfrom = 2025-06-01", "config.toml: zones: found a table, expected a list of tables: their"),
        (LEAST + "[[zones]]\nfrom = 2025-06-01", "config.toml: zones[0].timezone: found nothing, expected text"),
        (
            LEAST + '[[zones]]\nfrom = 2025-06-01\ntimezone = "Europe/Rome"\n' * 1
            + '[[zones]]\nfrom = 2025-06-01\ntimezone = "Europe/Oslo"',
            "config.toml: zones: found two moves on 2025-06-01",
        ),
        (LEAST.replace("Europe/Berlin", "europe/berlin"), 'did you mean "Europe/Berlin"?'),
        (LEAST.replace("Europe/Berlin", "Denver"), 'did you mean "America/Denver"?'),
        (LEAST.replace("Europe/Berlin", "../etc/passwd"), "expected an IANA zone name"),
        (LEAST.replace("Europe/Berlin", "Europe"), "expected an IANA zone name"),
        (LEAST.replace("Europe/Berlin", ""), 'config.toml: timezone: found "" (text), expected an IANA zone name'),
        (
            LEAST.replace('password = "pump-password"', 'password_file = "nowhere"'),
            "which cannot be read (No such file or directory), expected a file that contains only the secret",
        ),
        (
            LEAST.replace('region = "EU"', 'region = "EU"\npassword_file = "nowhere"'),
            'config.toml: sources.tandem.password_file: found this and "password", expected one of them',
        ),
        (
            LEAST.replace('password = "pump-password"', "password_file = 1"),
            "config.toml: sources.tandem.password_file: found 1 (a whole number), expected the path of a file",
        ),
    ],
)  # fmt: skip
def test_one_thing_wrong_is_one_problem(problems: Problems, text: str, expected: str) -> None:
    [problem] = problems(text)
    assert expected in problem


def test_all_problems_come_at_once(problems: Problems) -> None:
    text = (
        LEAST.replace("Europe/Berlin", "Nowhere/AtAll").replace('region = "EU"', "history_days = 1.5\nfoo = 1")
        + "[daemon]\npoll_min = false\n"
    )
    found = problems(text)
    assert [problem.split(": ")[1] for problem in found] == [
        "timezone",
        "daemon.poll_min",
        "sources.tandem.history_days",
        "sources.tandem.foo",
        "sources.tandem.region",
    ]


def test_without_a_zone_there_is_no_default(problems: Problems) -> None:
    [problem] = problems(LEAST.replace(HEAD, ""), {"TZ": "UTC"})
    assert "found nothing, expected an IANA zone name" in problem
    assert 'TZ is "UTC", which is not a place' in problem


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("UTC", "fixed offset"),
        ("utc", "fixed offset"),
        ("GMT", "fixed offset"),
        ("GMT-5", "fixed offset"),
        ("GMT+1", "fixed offset"),
        ("UTC-5", "fixed offset"),
        ("GMT\N{MINUS SIGN}5", "fixed offset"),
        ("-05:00", "fixed offset"),
        ("Etc/GMT+5", "fixed offset"),
        ("Etc/UTC", "fixed offset"),
        ("Zulu", "fixed offset"),
        ("EST", "abbreviation"),
        ("CET", "abbreviation"),
        ("CEST", "abbreviation"),
        ("EST5EDT", "abbreviation"),
        ("Factory", "not a place"),
        ("localtime", "not a place"),
        ("Europe/Muenchen", "no zone with this name"),
        ("Europe/Berlim", "no zone with this name"),
        ("America/London", "no zone with this name"),
        ("Europe", "no zone with this name"),
    ],
)
def test_refused_zone_names(problems: Problems, name: str, why: str) -> None:
    """It is explained, and no zone is guessed."""
    for key, found in (
        ("timezone", problems(LEAST.replace("Europe/Berlin", name))),
        ("TIMEZONE_NAME", problems(LEAST, {"TIMEZONE_NAME": name})),
        ("zones[0].timezone", problems(f'{LEAST}[[zones]]\nfrom = 2025-06-01\ntimezone = "{name}"\n')),
    ):
        [problem] = found
        assert key in problem
        assert why in problem
        assert "did you mean" not in problem
        assert "Copenhagen" not in problem


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("America/NewYork", ["America/New_York"]),
        ("america/new york", ["America/New_York"]),
        ("New York", ["America/New_York"]),
        ("America/S\N{LATIN SMALL LETTER A WITH TILDE}o Paulo", ["America/Sao_Paulo"]),
        ("berlin", ["Europe/Berlin"]),
        ("/usr/share/zoneinfo/Europe/Paris", ["Europe/Paris"]),
        ("America/Buenos-Aires", ["America/Argentina/Buenos_Aires", "America/Buenos_Aires"]),
    ],
)
def test_a_zone_is_suggested_by_its_region_and_city_alone(problems: Problems, name: str, meant: list[str]) -> None:
    [problem] = problems(LEAST.replace("Europe/Berlin", name))
    assert f"did you mean {' or '.join(map(repr, meant))}?".replace("'", '"') in problem


@pytest.mark.parametrize("name", ["US/Eastern", "Japan", "GB", "Atlantic/Reykjavik", "America/Kentucky/Louisville"])
def test_every_name_of_a_place_is_a_zone(load: Load, name: str) -> None:
    assert load(LEAST.replace("Europe/Berlin", name)).timezone == name


def test_an_empty_file_says_what_to_set(problems: Problems) -> None:
    found = problems("")
    assert any("timezone: found nothing" in problem for problem in found)
    assert any("TCONNECT_EMAIL" in problem for problem in found)


def test_a_source_without_region_is_refused(problems: Problems) -> None:
    assert problems(LEAST.replace('region = "EU"', "")) == (
        'config.toml: sources.tandem.region: found nothing, expected "US" or "EU"',
    )


def test_a_part_that_is_off_is_not_judged(load: Load) -> None:
    off = HEAD + TANDEM + "[sinks.nightscout-treatments]\nenabled = false"
    assert not load(off).sinks["nightscout-treatments"].enabled


def test_no_source_that_is_on(problems: Problems) -> None:
    [problem] = problems(LEAST.replace("[sources.tandem]", "[sources.tandem]\nenabled = false"))
    assert "found no source that is on, expected [sources.tandem] (or TCONNECT_EMAIL in the environment)" in problem


# --- environment, credentials, secret files -------------------------------------------------------------------------


def test_a_wrong_variable_is_named_instead_of_the_file(problems: Problems) -> None:
    assert problems(LEAST, {"TCONNECT_REGION": "UK"}) == (
        'environment: TCONNECT_REGION: found "UK" (text), expected "US" or "EU"',
    )


@pytest.mark.parametrize("quote", ['"', "'"])
def test_quotes_from_docker(problems: Problems, quote: str) -> None:
    """The message does not contain the value."""
    [problem] = problems(LEAST, {"TCONNECT_PASSWORD": f"{quote}pump-password{quote}"})
    assert problem.startswith("environment: TCONNECT_PASSWORD: found quotes around the value")
    assert "pump-password" not in problem


def test_a_misspelt_variable_is_told(load: Load) -> None:
    config = load(LEAST, {"TCONNECT_EMIAL": "x", "TCONNECTSYNC_DATADIR": "/x"})
    assert config.notes == (
        'environment: TCONNECTSYNC_DATADIR is not a known variable; did you mean "TCONNECTSYNC_DATA_DIR"?',
        'environment: TCONNECT_EMIAL is not a known variable; did you mean "TCONNECT_EMAIL"?',
    )


def test_a_variable_of_a_plugins_command_is_known(load: Load) -> None:
    """Also of a command in a group. A misspelt one is named in a note."""
    server = click.Option(["--server"], envvar=["TCONNECTSYNC_CREW_SERVER", "TCONNECTSYNC_CREW_HOST"])
    crew = click.Group("crew", [click.Command("run", params=[server, click.Option(["--plain"])])])
    plugins = usual_plugins(make_plugin("crew", tconnectsync_commands=lambda: [crew]))
    known = {"TCONNECTSYNC_CREW_SERVER": "x", "TCONNECTSYNC_CREW_HOST": "x"}
    assert load(LEAST, known, plugins=plugins).notes == ()
    [note] = load(LEAST, {**known, "TCONNECTSYNC_CREW_SERVR": "x"}, plugins=plugins).notes
    assert note == (
        'environment: TCONNECTSYNC_CREW_SERVR is not a known variable; did you mean "TCONNECTSYNC_CREW_SERVER"?'
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "which is empty"),
        (b" \n", "which is empty"),
        (b"\xff\xfe", "not UTF-8"),
        (b"one\ntwo\n", "several lines"),
    ],
)
def test_a_secret_file_that_is_no_good(problems: Problems, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "secret").write_bytes(content)
    [problem] = problems(LEAST.replace('password = "pump-password"', 'password_file = "secret"'))
    assert problem.startswith("config.toml: sources.tandem.password_file: found")
    assert words in problem


def test_unreadable_secret_file(problems: Problems, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what the service uses instead."""
    opened = Path.open

    def forbidden(self: Path, *given: Any, **more: Any) -> Any:
        if self.name == "secret":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, *given, **more)

    monkeypatch.setattr(Path, "open", forbidden)
    [problem] = problems(LEAST.replace('password = "pump-password"', 'password_file = "secret"'))
    assert "Permission denied" in problem
    assert "/etc/credstore" in problem


def test_an_empty_credential_is_a_problem(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "tandem-password").touch()
    [problem] = problems(LEAST, credentials_folder=tmp_path)
    assert problem.startswith("credential tandem-password: found")


def test_no_secret_is_ever_in_a_problem(problems: Problems) -> None:
    text = LEAST.replace('region = "EU"', 'regionn = "EU"\nhistory_days = "x"').replace(
        "https://site.example", "https://user-secret@site.example/?token=tok-123"
    )
    text = text.replace('url = "https', 'verify_tls = "https')
    said = "\n".join(problems(text))
    for secret in ("pump-password", "site-secret-text", "user-secret", "tok-123"):
        assert secret not in said


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ("BASL", 'found "BASL", which is not a feature of any sink; did you mean "BASAL"?'),
        (" , ", "found nothing, expected some of BASAL, BOLUS, PROFILES"),
    ],
)
def test_unknown_feature_names(problems: Problems, features: str, words: str) -> None:
    [problem] = problems(LEAST, features=features)
    assert problem == f"--features: {words}"


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_not_toml_names_line_and_column(problems: Problems) -> None:
    [problem] = problems("timezone = Europe/Berlin")
    assert "not TOML" in problem
    assert "line 1" in problem


def test_a_file_where_the_data_folder_should_be(problems: Problems, tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    [problem] = problems('data_dir = "data"\n' + LEAST)
    found = f"{tmp_path / 'data'} is not a folder, expected a folder for the event log"
    assert problem == f"config.toml: data_dir: {found}"
    [problem] = problems(LEAST, {"TCONNECTSYNC_DATA_DIR": str(tmp_path / "data")})
    assert problem == f"config.toml: data_dir (TCONNECTSYNC_DATA_DIR): {found}"
    [problem] = problems('data_dir = "data/inside"\n' + LEAST)
    assert problem == f"config.toml: data_dir: {found}"


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "none.toml", {}, usual_plugins())
    with pytest.raises(ConfigError, match="no such file"):
        load_config(None, {"TCONNECTSYNC_CONFIG": str(tmp_path / "none.toml")}, usual_plugins())


def test_temporary_and_lasting_problems(tmp_path: Path, load: Load) -> None:
    """What cannot be read now is distinguished from what must be edited."""
    late = LEAST.replace('password = "pump-password"', 'password_file = "/nowhere/at-all"')
    with pytest.raises(MachineNotReady):
        load(late)
    with pytest.raises(MachineNotReady):
        load_config(tmp_path / "not" / "mounted" / "none.toml", {}, usual_plugins())
    for wrong in (
        late.replace("Europe/Berlin", "UTC"),
        LEAST.replace('password = "pump-password"', 'password_file = "config.toml/x"'),
        LEAST.replace('password = "pump-password"', f'password_file = "{"x" * 300}"'),
    ):
        with pytest.raises(ConfigError) as caught:
            load(wrong)
        assert not isinstance(caught.value, MachineNotReady)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.toml", {}, usual_plugins())
    assert not isinstance(caught.value, MachineNotReady)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load_config(tmp_path, {}, usual_plugins())


def test_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_bytes(b'timezone = "\xe9"')
    with pytest.raises(ConfigError, match="byte 13 is not UTF-8"):
        load_config(tmp_path / "c.toml", {}, usual_plugins())


def test_public_file_with_secret(tmp_path: Path) -> None:
    """There is a note."""
    path = tmp_path / "c.toml"
    path.write_text(LEAST)
    path.chmod(0o644)
    [note] = load_config(path, {}, usual_plugins()).notes
    assert f"chmod 600 {path}" in note
    assert "password_file" in note, "what the service reads cannot be hidden from everybody"


def test_unreadable_file_has_remedies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for people and one for the service."""

    def forbidden(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", forbidden)
    with pytest.raises(ConfigError, match="cannot be read: Permission denied") as caught:
        load_config(tmp_path / "c.toml", {}, usual_plugins())
    remedy = caught.value.remedy or ""
    assert "sudo tconnectsync" in remedy
    assert f"sudo chmod 644 {tmp_path / 'c.toml'}" in remedy
    assert "/etc/credstore" in remedy


# --- plugins that do not run ----------------------------------------------------------------------------------------


def test_a_plugin_that_is_blocked_and_not_there_is_a_note(load: Load) -> None:
    plugins = load_plugins([vendor_plugin(), site_plugin()], blocked=["tandme", "gone", "nightscout"])
    notes = [note for note in load(LEAST, plugins=plugins).notes if "blocked_plugins" in note]
    assert [note.partition(": blocked_plugins: ")[2] for note in notes] == [
        'there is no plugin "tandme"; did you mean "tandem"?',
        'there is no plugin "gone"; `tconnectsync plugins` lists the plugins',
    ]


def test_tables_of_a_blocked_plugin_are_a_note(load: Load) -> None:
    plugins = load_plugins([vendor_plugin(), site_plugin()], blocked=["nightscout"])
    config = load(LEAST + "[sinks.nightscout-treatments]\nbasal = false", plugins=plugins)
    assert config.sinks == {}
    assert [note.partition("config.toml: ")[2] for note in config.notes] == [
        '[nightscout] is ignored: plugin "nightscout" is blocked',
        '[sinks.nightscout-treatments] is ignored: plugin "nightscout" is blocked',
    ]


def test_tables_that_a_broken_plugin_may_own_are_a_note(load: Load) -> None:
    plugins = usual_plugins(FakeEntryPoint("acme", ImportError("gone")))
    config = load(LEAST + "[sinks.mqtt]\nhost = 1", plugins=plugins)
    assert "[sinks.mqtt] is ignored" in config.notes[0]
    assert "tconnectsync plugins" in config.notes[0]


def test_misspelt_table_beside_broken_plugin(problems: Problems) -> None:
    """It stays a problem."""
    plugins = usual_plugins(FakeEntryPoint("acme", ImportError("gone")))
    [problem] = problems(LEAST + "[sinks.nightscout-treatmnts]", plugins=plugins)
    assert 'did you mean "nightscout-treatments"?' in problem


def test_a_broken_source_is_named_where_no_source_is_left(problems: Problems) -> None:
    plugins = load_plugins([FakeEntryPoint("tandem", ImportError("no requests")), site_plugin()])
    [problem] = problems(LEAST, plugins=plugins)
    assert "found no source that is on" in problem
    assert "no requests" in problem


def test_plugin_fails_to_check_options(problems: Problems) -> None:
    """It is a problem."""

    def fails(options: object) -> bool:
        raise ZeroDivisionError("oops")

    found = problems(LEAST, plugins=load_plugins([vendor_plugin(enabled=fails), site_plugin()]))
    assert "config.toml: sources.tandem: the plugin failed to check it (ZeroDivisionError: oops)" in found
