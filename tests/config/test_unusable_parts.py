"""A secret's file that cannot be read, or a table that only one command needs, stops that part and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tconnectsync.config.load import load_config
from tconnectsync.config.model import Config
from tconnectsync.errors import ConfigError, MachineNotReady
from tconnectsync.plugin.manager import load_plugins
from tconnectsync.runtime.open_engine import credentials_fingerprint

HEAD = 'timezone = "Europe/Berlin"\n'
TANDEM = '[sources.tandem]\nemail = "a@example.org"\npassword = "pump-password"\nregion = "EU"\n'
SITE = '[nightscout]\nurl = "https://my-site.example/"\napi_secret = "a-dummy-secret"\n'
LOST_SITE = SITE.replace('api_secret = "a-dummy-secret"', 'api_secret_file = "lost"')
MQTT = '[sinks.mqtt]\nenabled = true\nhost = "localhost"\nusername = "u"\n'
INFLUX = '[sinks.influxdb]\nenabled = true\nurl = "http://localhost:8086"\norg = "o"\nbucket = "b"\n'


def load(folder: Path, text: str, **environ: str) -> Config:
    path = folder / "config.toml"
    path.write_text(text)
    path.chmod(0o600)
    return load_config(path, {"HOME": str(folder), **environ}, load_plugins())


@pytest.mark.parametrize(
    ("part", "table", "key"),
    [
        ("mqtt", MQTT, "password"),
        ("influxdb", INFLUX, "token"),
        ("alerts", "[alerts]\n", "urls"),
        ("heartbeat", "[heartbeat]\n", "url"),
        ("web", "[web]\n", "secret"),
    ],
)
def test_only_the_part_that_needs_the_secret_stops(tmp_path: Path, part: str, table: str, key: str) -> None:
    """A missing or an empty file of a secret: this part is unusable, with the key in its words, and Nightscout is served."""
    (tmp_path / "empty").write_text("\n")
    for name in ("lost", "empty"):
        config = load(tmp_path, HEAD + TANDEM + SITE + table + f'{key}_file = "{name}"\n')
        [unusable] = config.unusable
        assert f"{part}.{key}_file" in unusable.words
        assert name in unusable.words
        assert unusable.name == part
        sinks = {name: sink for name, sink in config.sinks.items() if sink.enabled}
        assert sinks["nightscout-treatments"].options is not None
        assert [name for name, sink in sinks.items() if sink.problem] == [part] * (part in sinks)
        assert all(sink.options is None for sink in sinks.values() if sink.problem)
    (tmp_path / "lost").write_text("ntfy://topic" if part == "alerts" else "https://hc-ping.com/x")
    assert load(tmp_path, HEAD + TANDEM + SITE + table + f'{key}_file = "lost"\n').unusable == ()


WRONG_ADDRESSES = {
    "ntfy.sh/topic-4711": "line 1 of alert-urls: found a value",
    "# mine\n\nntfy.sh/topic-4711 b-4711": "line 3 of alert-urls: found a value",
    "x-4711\nmy phone: y-4711\n": "line 1 of alert-urls: found a value",
}


def origins(folder: Path, name: str, text: str) -> list[tuple[str, dict[str, str]]]:
    """The places of a secret outside of the configuration: a file, a credential, a variable. Each has this text."""
    table, key = ("alerts", "urls") if name == "alert-urls" else ("heartbeat", "url")
    (folder / name).write_text(text)
    return [
        (f'[{table}]\n{key}_file = "{name}"\n', {}),
        ("", {"CREDENTIALS_DIRECTORY": str(folder)}),
        ("", {f"TCONNECTSYNC_{name.upper().replace('-', '_')}": text}),
    ]


@pytest.mark.parametrize(("text", "words"), WRONG_ADDRESSES.items())
def test_wrong_addresses_stop_no_data(tmp_path: Path, text: str, words: str) -> None:
    """Wherever they come from, only the notifications stop; the line is named, and what is in it is not shown."""
    for table, environ in origins(tmp_path, "alert-urls", text):
        config = load(tmp_path, HEAD + TANDEM + SITE + table, **environ)
        assert config.alerts.urls == ()
        problem = config.problem_of("alerts") or ""
        assert "Nobody is notified" in problem
        assert "4711" not in problem
        assert words in problem or "TCONNECTSYNC_ALERT_URLS" in problem


def test_good_addresses_beside_a_wrong_one(tmp_path: Path) -> None:
    """The good ones are used, also two in one line."""
    text = "ntfy://a, ntfy://b\nntfy.sh/topic-4711\nmailto://c?to=d,e\n"
    for table, environ in origins(tmp_path, "alert-urls", text):
        config = load(tmp_path, HEAD + TANDEM + SITE + table, **environ)
        assert [url.reveal() for url in config.alerts.urls] == ["ntfy://a", "ntfy://b", "mailto://c?to=d,e"]
        problem = config.problem_of("alerts") or ""
        assert "The other addresses get the notifications" in problem
        assert "4711" not in problem
        assert "line 2 of alert-urls: found" in problem or "TCONNECTSYNC_ALERT_URLS" in problem


def test_a_wrong_heartbeat_stops_no_data(tmp_path: Path) -> None:
    for table, environ in origins(tmp_path, "heartbeat-url", "hc-ping.com/topic-4711"):
        config = load(tmp_path, HEAD + TANDEM + SITE + table, **environ)
        assert config.heartbeat.url is None
        assert "https://" in (config.problem_of("heartbeat") or "")
        assert "4711" not in (config.problem_of("heartbeat") or "")


def test_other_parts_do_not_change_credentials(tmp_path: Path) -> None:
    """A sink whose login was refused tries again when its own secret changes, not when that of the page does."""

    def fingerprint(sink: str, more: str = "", site: str = SITE) -> str:
        config = load(tmp_path, HEAD + TANDEM + site + MQTT + more)
        plugins = load_plugins()
        assert sink in plugins.sinks()
        return credentials_fingerprint(config, plugins, sink, "log")

    mqtt = 'password = "p"\n'
    for sink in ("nightscout-treatments", "mqtt"):
        assert fingerprint(sink, mqtt) == fingerprint(sink, mqtt + '[web]\nsecret_file = "lost"\n')
    other_site = SITE.replace("a-dummy-secret", "another-dummy-secret")
    assert other_site != SITE
    assert fingerprint("nightscout-treatments", mqtt) != fingerprint("nightscout-treatments", mqtt, other_site)
    assert fingerprint("mqtt", mqtt) == fingerprint("mqtt", mqtt, other_site)
    assert fingerprint("mqtt", mqtt) != fingerprint("mqtt", 'password = "q"\n')


def test_unusable_credential(tmp_path: Path) -> None:
    """The same for a systemd credential."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "mqtt-password").write_text("")
    config = load(tmp_path, HEAD + TANDEM + SITE + MQTT, CREDENTIALS_DIRECTORY=str(tmp_path / "credentials"))
    assert config.sinks["mqtt"].problem


@pytest.mark.parametrize(
    "line", ["port = 99999", "prot = 1", 'secret = "a"\nsecret_file = "lost"', 'base_path = "a b"']
)
def test_a_wrong_page_stops_no_data(tmp_path: Path, line: str) -> None:
    """Only commands need ``[web]``; it is absent instead of being used in part, because without its secret it would be open."""
    config = load(tmp_path, HEAD + TANDEM + SITE + f"[web]\n{line}\n")
    assert "web" not in config.sections
    assert "tconnectsync web" in (config.problem_of("web") or "")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, HEAD + TANDEM.replace("EU", "XX") + SITE + f"[web]\n{line}\n")
    assert any("web" in problem for problem in caught.value.problems), "with another problem everything is listed"
    assert any("region" in problem for problem in caught.value.problems)


def test_a_shared_section_stops_its_own_sinks(tmp_path: Path) -> None:
    """Without Nightscout's secret the other sinks work; the Nightscout sinks are unusable together."""
    config = load(tmp_path, HEAD + TANDEM + LOST_SITE + MQTT + 'password = "p"\n')
    [unusable] = config.unusable
    assert "nightscout-iob" in unusable.words
    assert "nightscout-treatments" in unusable.words
    assert config.sinks["mqtt"].options is not None
    assert "nightscout" not in config.sections


def test_a_section_that_nobody_needs(tmp_path: Path) -> None:
    """Nightscout's lost secret does not matter if no Nightscout sink is on."""
    off = "".join(f"[sinks.nightscout-{name}]\nenabled = false\n" for name in ("treatments", "iob", "pump-events"))
    config = load(tmp_path, HEAD + TANDEM + LOST_SITE + off + MQTT + 'password = "p"\n')
    assert config.unusable == ()


def test_nothing_left_to_deliver_to(tmp_path: Path) -> None:
    """If no sink can be used, it is an error as before: the service is started again by systemd."""
    with pytest.raises(MachineNotReady):
        load(tmp_path, HEAD + TANDEM + LOST_SITE.replace('"lost"', '"/nowhere/lost"'))
    with pytest.raises(MachineNotReady):
        load(tmp_path, HEAD + TANDEM + LOST_SITE + MQTT + 'password_file = "lost"\n')


def test_an_empty_secret_file_may_be_filled_later(tmp_path: Path) -> None:
    """Like a missing one: with status 2 systemd would start nothing again. A file with a wrong content needs an edit."""
    (tmp_path / "lost").touch()
    with pytest.raises(MachineNotReady):
        load(tmp_path, HEAD + TANDEM + LOST_SITE)
    (tmp_path / "lost").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, HEAD + TANDEM + LOST_SITE)
    assert not isinstance(caught.value, MachineNotReady)


@pytest.mark.parametrize(
    "line", ["password = 5", 'password_file = "x"\npassword = "y"', "password_file = 5", "prot = 1"]
)
def test_what_needs_an_edit_is_still_an_error(tmp_path: Path, line: str) -> None:
    """A wrong key of a sink is refused, because the person who edits the file is there to see it."""
    with pytest.raises(ConfigError):
        load(tmp_path, HEAD + TANDEM + SITE + MQTT + line + "\n")
    with pytest.raises(MachineNotReady):
        load(tmp_path, HEAD + TANDEM.replace('password = "pump-password"', 'password_file = "/nowhere/x"') + SITE)
