"""``tconnectsync init``: what it writes, what it asks, and when it writes nothing."""

from __future__ import annotations

import errno
import io
import stat
from pathlib import Path

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from tconnectsync.cli.init.questions import host_zone
from tconnectsync.cli.init.template import TemplateValues, fill_template, template
from tconnectsync.config.load import load_config
from tconnectsync.plugin.receiver import CheckResult
from tests.cli.harness import CliHarness, CommandResult
from tests.cli.init_harness import OLD, init

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1)


def test_the_template_is_the_example_that_ships() -> None:
    assert template() == (Path(__file__).parents[2] / "config.toml.example").read_text(encoding="utf-8")


@given(password=TEXT, secret=TEXT)
def test_odd_secrets_survive(password: str, secret: str) -> None:
    answers = TemplateValues(
        timezone="Europe/Berlin", email="a", region="US", url="u", password=password, api_secret=secret
    )
    read = tomli.loads(fill_template(answers))
    assert read["sources"]["tandem"]["password"] == password
    assert read["nightscout"]["api_secret"] == secret


def test_written_file_loads(real: CliHarness) -> None:
    """Only its owner can read it."""
    said = init(real)
    path = real.folder / "new.toml"
    assert said.status == 0, said.err
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = load_config(path, {"HOME": str(real.folder)}, real.plugins)
    assert config.timezone == "Europe/Berlin"
    assert config.secrets()
    assert "hidden" not in said.out + said.err
    assert not list(real.folder.glob(".new.toml*"))


def test_with_the_secrets_inside_it_is_not_for_the_service(real: CliHarness) -> None:
    last = init(real).out.splitlines()[-1]
    assert "service" in last
    assert "--password-file" in last
    assert "chmod 644" not in last


@pytest.mark.parametrize("more", ["web.secret=hidden", "sources.tconnect.password=hidden"])
def test_secrets_in_files(real: CliHarness, more: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The output says how the service can read them."""
    path = real.folder / "new.toml"
    (real.folder / "hidden").write_text("hidden")
    flags = [f"--{name}={real.folder / 'hidden'}" for name in ("password-file", "api-secret-file")]
    last = init(real, *flags).out.splitlines()[-1]
    assert f"sudo install -D -m 644 {path} /etc/tconnectsync/config.toml" in last
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setattr("tconnectsync.config.config_file.SYSTEM_FILE", real.folder / "config.toml")
    assert f"sudo chmod 644 {path}" in init(real, *flags, "--force").out.splitlines()[-1]
    assert "644" not in init(real, *flags, "--force", "--set", more).out.splitlines()[-1]


def test_a_bad_check_writes_nothing_unless_it_is_left_out(real: CliHarness) -> None:
    real.application.findings = (CheckResult(good=False, what="the login was refused", remedy="Correct it."),)
    said = init(real)
    assert said.status == 9
    assert "login was refused" in said.err
    assert not list(real.folder.glob("*new.toml*"))
    assert init(real, "--no-check").status == 0


def test_a_file_that_is_there_stays_without_force(real: CliHarness) -> None:
    path = real.folder / "new.toml"
    path.write_text("mine")
    assert init(real).status == 2
    assert path.read_text() == "mine"
    assert init(real, "--force").status == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_pinned_pump_is_said_loudly(real: CliHarness) -> None:
    said = init(real, PUMP_SERIAL_NUMBER="7654321")
    assert "ONLY PUMP 7654321" in said.err
    assert 'pumps = ["7654321"]' in (real.folder / "new.toml").read_text()
    assert "ONLY" not in init(real, "--force", PUMP_SERIAL_NUMBER="11111111").err


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"TIMEZONE_NAME": "europe/berlin"}, 'did you mean "Europe/Berlin"?'),
        ({"TIMEZONE_NAME": "Europe/Muenchen"}, "no zone with this name"),
        ({"TIMEZONE_NAME": "UTC"}, "not a place"),
        ({"TIMEZONE_NAME": ""}, "--timezone"),
        ({"TCONNECT_PASSWORD": ""}, "--password-file"),
        ({"NS_URL": "site.example"}, "https://"),
        ({"TCONNECT_REGION": "DE"}, "--region"),
        ({"TCONNECTSYNC_HEROKU_FEATURES": "BASALT"}, "unknown feature BASALT"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(real: CliHarness, changes: dict[str, str], told: str) -> None:
    said = init(real, **changes)
    assert said.status == 2
    assert told in said.err
    assert not list(real.folder.glob("*new.toml*"))


def test_the_region_is_asked_for_where_nothing_says_it(real: CliHarness) -> None:
    said = init(real, "--no-check", TCONNECT_REGION="")
    assert (said.status, "--region" in said.err) == (2, True)


def test_any_key_can_be_set_in_its_place(real: CliHarness) -> None:
    path = real.folder / "new.toml"
    more = (
        "log_level=debug",
        "daemon.poll_min=600",
        "sinks.file.enabled=true",
        f"sinks.file.folder={real.folder}",
        "web.secret=a\\b",
    )
    said = init(real, "--no-check", *(f"--set={each}" for each in more), "--set", "sources.tandem.email=b@example.org")
    assert said.status == 0, said.err
    config = load_config(path, {}, real.plugins)
    assert (config.log_level, config.daemon.poll_min) == ("debug", 600)
    assert config.sinks["file"].options.folder == real.folder
    assert config.sections["web"].secret.reveal() == "a\\b"
    assert config.sources["tandem"].options.email == "b@example.org"
    assert path.read_text().count("# log_level =") == 0, "in its place, not beside it"


@pytest.mark.parametrize("text", ["12345678", "true", "1979-05-27", "[1]", "0x10", '"12345678"'])
@pytest.mark.parametrize("key", ["sources.tandem.password", "web.secret"])
def test_a_text_that_looks_like_a_number_stays_a_text(real: CliHarness, key: str, text: str) -> None:
    said = init(real, "--no-check", "--set", f"{key}={text}", "--set", "sources.tandem.endpoints.client_id=7")
    assert said.status == 0, said.err
    config = load_config(real.folder / "new.toml", {}, real.plugins)
    tandem = config.sources["tandem"].options
    secret = tandem.password if key == "sources.tandem.password" else config.sections["web"].secret
    assert secret.reveal() == text.strip('"')
    assert tandem.endpoints.client_id == "7"


@pytest.mark.parametrize(("target", "offered"), [("Europe/Vienna", "Europe/Vienna"), ("Etc/UTC", None), ("", None)])
def test_the_machines_zone_is_offered_if_it_names_a_place(
    target: str, offered: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.realpath", lambda _: f"/usr/share/zoneinfo/{target}")
    assert host_zone({"TZ": "UTC"}) == offered
    assert host_zone({"TZ": "America/Chicago"}) == "America/Chicago"


def test_quotes_around_a_variable_are_not_part_of_it(real: CliHarness) -> None:
    real.environ.update({name: f'"{value}"' for name, value in OLD.items()})
    assert real.run("init", "--no-check", "--output", str(real.folder / "new.toml")).status == 0
    config = load_config(real.folder / "new.toml", {}, real.plugins)
    assert config.sources["tandem"].options.password.reveal() == OLD["TCONNECT_PASSWORD"]


def test_a_variable_that_is_no_text_is_named(real: CliHarness) -> None:
    real.environ["TCONNECT_PASSWORD"] = "\udcff"
    said = real.run("init", "--no-check", "--output", str(real.folder / "new.toml"))
    assert (said.status, "TCONNECT_PASSWORD in the environment" in said.err) == (2, True)


@pytest.mark.parametrize("url", ["https://", "https://me:word@site.example/"])
def test_wrong_value_is_named(real: CliHarness, url: str) -> None:
    """By the name that the question used."""
    said = init(real, "--no-check", NS_URL=url)
    assert said.status == 2
    assert ".new.toml." not in said.err
    assert "new.toml" in said.err
    assert not list(real.folder.glob("*new.toml*"))


def test_a_folder_that_was_made_goes_with_the_failure(real: CliHarness) -> None:
    real.application.findings = [CheckResult(good=False, what="no", remedy="Look.")]
    old = real.folder / "old.env"
    old.write_text("".join(f"{name}='{value}'\n" for name, value in OLD.items()))
    path = real.folder / "deep" / "er" / "new.toml"
    assert real.run("init", "--from-env", str(old), "--output", str(path)).status == 9
    assert not (real.folder / "deep").exists()
    assert real.run("init", "--from-env", str(old), "--output", str(path), "--no-check").status == 0
    assert path.is_file()


def test_full_disk_names_the_command(real: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """No message says that work resumes by itself: it does not."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", full)
        said = init(real, "--no-check")
    assert said.status == 1
    assert "Nothing was changed" in said.err
    assert "tconnectsync init" in said.err
    assert "resumes" not in said.err
    assert not list(real.folder.glob("*new.toml*"))


def test_without_hard_links(real: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is written, and no other one is overwritten."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    assert init(real, "--no-check").status == 0
    assert init(real, "--no-check").status == 2


def typed(
    real: CliHarness, monkeypatch: pytest.MonkeyPatch, *lines: str, more: tuple[str, ...] = ("--no-check",)
) -> CommandResult:
    terminal = io.StringIO("".join(f"{line}\n" for line in lines))
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", terminal)
    monkeypatch.setattr("getpass.getpass", lambda prompt="", stream=None: terminal.readline().rstrip("\n"))
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: terminal.readline().rstrip("\n"))
    return real.run("init", "--output", str(real.folder / "new.toml"), *more)


def test_a_wrong_answer_is_asked_again_with_an_example(real: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    said = typed(
        real, monkeypatch, "GMT-5", "Europe/Muenchen", "UTC", "Europe/Berlin", "me", "me@example.org", "hidden-word",
        "Germany", "eu", "site.example", "https://https://site.example", "https://a b.example", "HTTPS://site.example",
        "  hidden-secret-12 ",
    )  # fmt: skip
    assert said.status == 0, said.err
    for example in ("Europe/Berlin", "me@example.org", '"US" or "EU"', "https://my-site.example/"):
        assert example in said.err
    assert "hidden" not in said.out + said.err
    config = load_config(real.folder / "new.toml", {}, real.plugins)
    assert config.timezone == "Europe/Berlin"
    assert config.sources["tandem"].options.email == "me@example.org"
    assert config.sources["tandem"].options.region == "EU"
    assert config.sections["nightscout"].api_secret.reveal() == "hidden-secret-12"


def test_a_wrong_older_value_is_asked_for_at_a_terminal(real: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    real.environ |= {**OLD, "TIMEZONE_NAME": "UTC", "NS_URL": "site.example"}
    said = typed(real, monkeypatch, "Europe/Vienna", "https://other.example")
    assert said.status == 0, said.err
    assert "TIMEZONE_NAME" in said.err
    config = load_config(real.folder / "new.toml", {}, real.plugins)
    assert (config.timezone, config.sections["nightscout"].url) == ("Europe/Vienna", "https://other.example")


def test_who_ends_the_questions_leaves_nothing_behind(real: CliHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed(real, monkeypatch, "nonsense").status == 130
    assert not list(real.folder.glob("*new.toml*"))


@pytest.mark.parametrize(
    "changes",
    [
        {"NS_SECRET": "", "NS_TOKEN": "reader-0123456789abcdef"},
        {"NS_SECRET": "", "NS_URL": "https://site.example/?token=reader-0123456789abcdef"},
        {"NS_SECRET": "reader\u20130123456789abcdef"},
    ],
)
def test_a_token_is_taken_wherever_it_is_given(real: CliHarness, changes: dict[str, str]) -> None:
    said = init(real, "--no-check", **changes)
    assert said.status == 0, said.err
    assert "contains secrets" in said.out, "it must not be made readable for everybody"
    site = load_config(real.folder / "new.toml", {}, real.plugins).sections["nightscout"]
    assert (site.url, site.api_secret, site.token.reveal()) == (
        "https://site.example/",
        None,
        "reader-0123456789abcdef",
    )


@pytest.mark.parametrize("url", ["HTTPS://site.example", " https://site.example/\u200b"])
def test_an_address_is_taken_as_the_configuration_takes_it(real: CliHarness, url: str) -> None:
    assert init(real, "--no-check", NS_URL=url).status == 0
