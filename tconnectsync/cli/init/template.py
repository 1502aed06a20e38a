"""Fills the commented configuration template with values; everything else stays as it is shipped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

import attrs


@attrs.frozen(kw_only=True)
class TemplateValues:
    """The values for the template. A secret is either in ``password`` or in the file ``password_file``."""

    timezone: str
    email: str
    region: str
    url: str
    password: str | None = attrs.field(default=None, repr=False)
    password_file: str | None = None
    api_secret: str | None = attrs.field(default=None, repr=False)
    api_secret_file: str | None = None
    token: str | None = attrs.field(default=None, repr=False)
    """An access token, instead of the API secret."""
    pump: str | None = None
    """The only serial number to read; None means all pumps."""
    verify_tls: bool = True
    tables: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    """Other keys by table (``""`` is the top level), with their values as TOML."""


def template() -> str:
    """Return the shipped template, which equals ``config.toml.example``."""
    return (resources.files("tconnectsync.cli.init") / "config_template.toml").read_text(encoding="utf-8")


def quoted(text: str) -> str:
    """Return ``text`` as a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda each: f"\\u{ord(each[0]):04x}", escaped) + '"'


def fill_template(answers: TemplateValues) -> str:
    lines = {
        'timezone = "Europe/Berlin"': f"timezone = {quoted(answers.timezone)}",
        'email = "me@example.org"': f"email = {quoted(answers.email)}",
        'region = "EU"': f"region = {quoted(answers.region)}",
        'url = "https://my-site.example/"': f"url = {quoted(answers.url)}",
        '# pumps = "all"': "pumps = " + (f"[{quoted(answers.pump)}]" if answers.pump else '"all"'),
    }
    if answers.password is not None:
        lines['# password = "…"'] = f"password = {quoted(answers.password)}"
        lines['password_file = "tandem-password"'] = '# password_file = "tandem-password"'  # noqa: S105 - a line of the template
    else:
        lines['password_file = "tandem-password"'] = f"password_file = {quoted(answers.password_file or '')}"
    if answers.token is not None:
        lines['# token = "…"'] = f"token = {quoted(answers.token)}"
        lines['api_secret_file = "nightscout-api-secret"'] = '# api_secret_file = "nightscout-api-secret"'  # noqa: S105 - a line of the template
    elif answers.api_secret is not None:
        lines['# api_secret = "…"'] = f"api_secret = {quoted(answers.api_secret)}"
        lines['api_secret_file = "nightscout-api-secret"'] = '# api_secret_file = "nightscout-api-secret"'  # noqa: S105 - a line of the template
    else:
        lines['api_secret_file = "nightscout-api-secret"'] = (
            f"api_secret_file = {quoted(answers.api_secret_file or '')}"
        )
    if not answers.verify_tls:
        lines["# verify_tls = true"] = "verify_tls = false"
    # each is wanted once: [sinks.mqtt] has keys of the same name further down
    written = [lines.pop(line, line) for line in template().split("\n")]
    assert not lines, "the template lacks a line"  # noqa: S101 - a test checks the template
    return "\n".join(_with_tables(written, answers.tables))


def value_of(text: str, *, is_text: bool = False) -> str:
    """Return typed text as TOML: unchanged if it is a TOML value, else as a text. ``is_text``: always as a text."""
    import tomli

    try:
        read = tomli.loads(f"value = {text}")
    except tomli.TOMLDecodeError:
        return quoted(text)
    one_value = read.keys() == {"value"} and "\n" not in text
    return text if one_value and (not is_text or isinstance(read["value"], str)) else quoted(text)


def _with_tables(lines: Sequence[str], tables: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Yield the lines with the keys of the tables in their places. Keys and tables that the template lacks are added."""
    waiting = {name: dict(keys) for name, keys in tables.items()}
    table = waiting.pop("", {})
    for line in lines:
        heading = re.fullmatch(r"\[(.+)\]", line)
        if heading is not None:
            yield from _keys(table)
            table = waiting.pop(heading[1], {})
        key = re.match(r"(?:# )?(\w+) = ", line)
        yield f"{key[1]} = {table.pop(key[1])}" if key is not None and key[1] in table else line
    yield from _keys(table)
    for name, keys in waiting.items():
        yield f"\n[{name}]"
        yield from _keys(keys)


def _keys(table: dict[str, str]) -> Iterator[str]:
    """Yield the remaining keys of a table, and remove them from it."""
    while table:
        name = next(iter(table))
        yield f"{name} = {table.pop(name)}"
