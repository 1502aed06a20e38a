"""A configuration from the commented template: values put in, everything else as it ships."""

from __future__ import annotations

import re
from importlib import resources

import attrs


@attrs.frozen(kw_only=True)
class Answers:
    """What ``init`` knows. A secret stands in ``password`` or in the file that ``password_file`` names."""

    timezone: str
    email: str
    region: str
    url: str
    password: str | None = attrs.field(default=None, repr=False)
    password_file: str | None = None
    api_secret: str | None = attrs.field(default=None, repr=False)
    api_secret_file: str | None = None
    pump: str | None = None
    """The one serial number; None is every pump."""
    verify_tls: bool = True


def template() -> str:
    """The shipped text, equal to ``config.toml.example``."""
    return (resources.files("tconnectsync.cli") / "config_template.toml").read_text(encoding="utf-8")


def quoted(text: str) -> str:
    """``text`` as a TOML string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"[\x00-\x1f\x7f]", lambda each: f"\\u{ord(each[0]):04x}", escaped) + '"'


def filled(answers: Answers) -> str:
    """The template with the answers in it."""
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
    if answers.api_secret is not None:
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
    assert not lines, "the template lacks a line"  # noqa: S101 - a test holds the template to it
    return "\n".join(written)
