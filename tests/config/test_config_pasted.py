"""Tokens, secrets and addresses as people paste them, read by the plugins that ship."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli

from tconnectsync import Secret
from tconnectsync.config.model import Config
from tconnectsync.errors import ConfigError
from tconnectsync.plugin.manager import load_plugins

Load = Callable[..., Config]
TOKEN = "uploader-0123456789abcdef"
REST = """
timezone = "Europe/Berlin"
[sources.tandem]
email = "a@example.org"
password = "pump-password"
region = "EU"
[nightscout]
"""
ENVIRON = {
    "TIMEZONE_NAME": "Europe/Berlin",
    "TCONNECT_EMAIL": "a@example.org",
    "TCONNECT_PASSWORD": "pump-password",
    "NS_URL": "https://site.example/",
}


@pytest.fixture
def site(load: Load) -> Callable[..., Any]:
    """``[nightscout]`` of a file, or of an environment."""

    def read(text: str | None = None, environ: dict[str, str] | None = None) -> Any:
        whole = None if text is None else f'{REST}url = "https://site.example/"\n{text}'
        given = environ if whole is not None else {**ENVIRON, **(environ or {})}
        return load(whole, given, plugins=load_plugins()).sections["nightscout"]

    return read


@pytest.mark.parametrize(
    "pasted",
    [
        "uploader\\u20130123456789abcdef",
        "uploader\\u20110123456789abcdef",
        "uploader\\u22120123456789abcdef",
        TOKEN + "\\u200b",
        "\\ufeff" + TOKEN,
        "uploader-\\u200d0123456789abcdef",
        f" {TOKEN}",
        f"{TOKEN}\\n",
        f"\\r\\n\\t{TOKEN}  ",
        f"{TOKEN}\\u00a0",
    ],
)
def test_a_token_is_the_one_that_was_meant(site: Callable[..., Any], tmp_path: Path, pasted: str) -> None:
    raw = tomli.loads(f'pasted = "{pasted}"')["pasted"]
    (tmp_path / "token").write_text(raw)
    for options in (
        site(f'token = "{pasted}"'),
        site('token_file = "token"'),
        site(f'api_secret = "{pasted}"'),
        site(None, {"NS_TOKEN": raw}),
        site(None, {"NS_SECRET": raw}),
        site(None, {"API_SECRET": raw}),
    ):
        assert (options.token, options.api_secret) == (Secret(TOKEN), None)


@pytest.mark.parametrize("odd", ["upl\u00f6der-0123456789abcdef", "uploader 0123456789abcdef", "uploader-\u5b57"])
def test_a_token_that_cannot_be_sent_is_refused_at_load(site: Callable[..., Any], odd: str) -> None:
    for text, environ in ((f'token = "{odd}"', None), (None, {"NS_TOKEN": odd})):
        with pytest.raises(ConfigError) as caught:
            site(text, environ)
        [problem] = caught.value.problems
        assert "its character" in problem
        assert odd not in problem


@pytest.mark.parametrize("variable", ["NS_SECRET", "API_SECRET", "NS_API_SECRET"])
@pytest.mark.parametrize(
    "pasted", ["site-secret-1234", " site-secret-1234\n", "site-secret-1234\u200b", "\ufeffsite-secret-1234\r\n"]
)
def test_a_secret_loses_what_copying_added(site: Callable[..., Any], variable: str, pasted: str) -> None:
    options = site(None, {variable: pasted})
    assert (options.api_secret, options.token) == (Secret("site-secret-1234"), None)


def test_a_blank_may_be_part_of_a_password(load: Load) -> None:
    given = {**ENVIRON, "NS_SECRET": "site-secret-1234", "TCONNECT_PASSWORD": " pass word \u200b\n"}
    assert load(None, given, plugins=load_plugins()).sources["tandem"].options.password == Secret(" pass word ")


@pytest.mark.parametrize("blank", ["", " ", "\\u200b"])
@pytest.mark.parametrize("source", ["tandem", "tconnect"])
def test_a_blank_account_is_no_account(load: Load, source: str, blank: str) -> None:
    """An empty e-mail address turns no source on, and is named as missing in a source that is on."""
    account = f'timezone = "Europe/Berlin"\n[sources.{source}]\npassword = "x"\nemail = "{blank}"\n'
    for more, named in (("", "no source that is on"), ("enabled = true", f"sources.{source}.email: found nothing")):
        with pytest.raises(ConfigError) as caught:
            load(account + more, {}, plugins=load_plugins())
        assert any(named in problem for problem in caught.value.problems)


def test_a_token_in_the_address_is_the_token(site: Callable[..., Any]) -> None:
    options = site(None, {"NS_URL": f"https://site.example/?token={TOKEN}"})
    assert (options.url, options.token) == ("https://site.example/", Secret(TOKEN))


def test_token_in_address_beside_secret(load: Load) -> None:
    """It does no harm."""
    given = {**ENVIRON, "NS_URL": f"https://site.example/?token={TOKEN}", "NS_SECRET": "site-secret-1234"}
    config = load(None, given, plugins=load_plugins())
    assert config.sections["nightscout"].token is None
    assert TOKEN not in repr(config)


def test_two_different_ones_are_refused(site: Callable[..., Any]) -> None:
    for environ in (
        {"NS_TOKEN": TOKEN, "NS_SECRET": "site-secret-1234"},
        {"NS_TOKEN": TOKEN, "NS_SECRET": TOKEN.replace("0", "1")},
    ):
        with pytest.raises(ConfigError) as caught:
            site(None, environ)
        assert "keep one of them" in str(caught.value)
    assert site(None, {"NS_TOKEN": TOKEN, "NS_SECRET": TOKEN}).token == Secret(TOKEN)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://https://my-site.example.org", "only one"),
        ("https:// my-site.example.org", "without blanks"),
        ("https://my-site..example.org/", "two dots"),
        (f"https://{'a' * 64}.example.org/", "63"),
        ("https://[", "host"),
        ("https://my-site.example.org:99999", "port"),
        ("my-site.example.org", "https://"),
    ],
)
def test_an_address_that_cannot_be_is_found_at_load(site: Callable[..., Any], url: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        site(None, {"NS_URL": url, "NS_SECRET": "site-secret-1234"})
    assert caught.value.problems
    assert all("nightscout.url (NS_URL)" in problem and told in problem for problem in caught.value.problems)


@pytest.mark.parametrize(
    "url", ["HTTPS://My-Site.example.org", " https://my-site.example.org\n", "https://my-site.example.org\u200b"]
)
def test_an_address_that_is_meant_well_is_taken(site: Callable[..., Any], url: str) -> None:
    from tconnectsync_nightscout.api.address import site_url

    options = site(None, {"NS_URL": url, "NS_SECRET": "site-secret-1234"})
    assert site_url(options.url) == "https://my-site.example.org/"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"ALL_PROXY": "socks5://127.0.0.1:9"}, "ALL_PROXY"),
        ({"https_proxy": "SOCKS5H://127.0.0.1:9"}, "https_proxy"),
        ({"HTTPS_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "socks5://127.0.0.1:9"}, None),
        ({"ALL_PROXY": "http://127.0.0.1:9"}, None),
        ({"ALL_PROXY": ""}, None),
    ],
)
def test_a_socks_proxy_without_its_package_is_told(
    load: Load, environ: dict[str, str], told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {**ENVIRON, "NS_SECRET": "site-secret-1234", **environ}
    monkeypatch.setattr("tconnectsync.config.environment.find_spec", lambda name: None)
    notes = load(None, given, plugins=load_plugins()).notes
    assert [told in note and "pip install PySocks" in note for note in notes] == ([] if told is None else [True])
    monkeypatch.setattr("tconnectsync.config.environment.find_spec", lambda name: object())
    assert load(None, given, plugins=load_plugins()).notes == ()


@pytest.mark.parametrize(
    ("text", "warned"),
    [
        ('host = "broker.example.org"', True),
        ('host = "203.0.113.9"', True),
        ('host = "broker.example.org"\ntls = true', False),
        ('host = "homeassistant.local"', False),
        ('host = "broker"', False),
        ('host = "192.168.1.4"', False),
        ('host = "fe80::1"', False),
    ],
)
def test_unencrypted_broker_password(load: Load, text: str, warned: bool) -> None:
    """Outside the local network there is a warning."""
    whole = (
        f'{REST}url = "https://site.example/"\napi_secret = "site-secret-1234"\n[sinks.mqtt]\nenabled = true\n{text}\n'
    )
    login = 'username = "u"\npassword = "hush"\n'
    notes = load(whole + login, plugins=load_plugins()).notes
    assert ["unencrypted" in note and "tls = true" in note for note in notes] == ([True] if warned else [])
    assert load(whole, plugins=load_plugins()).notes == ()
    assert "hush" not in str(notes)
