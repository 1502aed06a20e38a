"""Takes the settings of an older bridge over into a new configuration: environment variables, ``.env`` or ``secret.py``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from tconnectsync.cli.init.legacy_env import OldSettings, read_settings
from tconnectsync.cli.init.questions import QUESTIONS, TOKENS
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.output import say
from tconnectsync.text.printable import printable

_EVERY_PUMP = "11111111"
FEATURES = "TCONNECTSYNC_HEROKU_FEATURES"
NAMES = (
    *(name for question in QUESTIONS for name in question.names), *TOKENS, "PUMP_SERIAL_NUMBER", "NS_SKIP_TLS_VERIFY", FEATURES,
)  # fmt: skip
"""The variables of an older bridge that a new configuration can use."""


def older_settings(invocation: Invocation, from_env: Path | None) -> dict[str, str]:
    """Return the settings by name: the file's explicit values win over the environment, that over the file's defaults."""
    environ = {name: _plain(name, invocation.environ[name]) for name in NAMES if invocation.environ.get(name)}
    if from_env is None:
        return environ
    found = _read_file(from_env, invocation.environ)
    return found.defaults | environ | found.explicit


def mention_older_file(invocation: Invocation) -> None:
    """Print where the settings of an older bridge are, if they exist."""
    from tconnectsync.config.config_file import find_legacy_settings

    older = find_legacy_settings(invocation.environ)
    if older is not None:
        use = f"To use them: `tconnectsync init --from-env {shlex.quote(str(older))}`."
        say(f"Found the settings of an older bridge in {older}. {use}", err=True)


def _plain(name: str, value: str) -> str:
    """Return a variable's value without the quotes that env files leave around it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{name} in the environment is not UTF-8 text. Nothing was written.") from None
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _read_file(path: Path, environ: Mapping[str, str]) -> OldSettings:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        found = read_settings(text, python=path.suffix == ".py", environ=environ)
    except OSError as error:
        raise click.UsageError(f"--from-env: {path} cannot be read: {error.strerror}. Nothing was written.") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"--from-env: {path} is not a text file. Nothing was written.") from None
    except SyntaxError as error:
        raise click.UsageError(f"--from-env: {path} is {error}. Nothing was written.") from None
    for key, unread in found.unread.items():
        if key in NAMES:
            why = (
                f"the quotes of {key} do not match"
                if unread.bad_quotes
                else f"{key} is computed there, and the file is not run"
            )
            say(f"{path} line {unread.line}: {why}. This line was ignored.", err=True)
    for key, names in found.unset.items():
        if key in NAMES:
            say(
                f"{path}: {key} refers to {', '.join(names)}, which is not set; it was replaced with an empty text.",
                err=True,
            )
    known = OldSettings(
        explicit={name: value for name, value in found.explicit.items() if name in NAMES and value},
        defaults={name: value for name, value in found.defaults.items() if name in NAMES and value},
    )
    if not known.explicit and not known.defaults:
        raise click.UsageError(f"--from-env: {path} has no known setting. Nothing was written.")
    return known


def selected_pump(old: Mapping[str, str]) -> str | None:
    serial = old.get("PUMP_SERIAL_NUMBER", "").strip()
    if serial in {"", _EVERY_PUMP}:
        return None
    words = (
        f"ONLY PUMP {serial} WILL BE READ, because PUMP_SERIAL_NUMBER names it. If the wearer uses another pump now, its doses "
        'will be missing: then set pumps = "all" under [sources.tandem] in the new file.'
    )
    say("", symbol=click.style(printable(words), fg="red", bold=True), err=True)
    return serial


def feature_tables(invocation: Invocation, features: str) -> Mapping[str, Mapping[str, str]]:
    """Return the sinks' tables that older feature names stand for: sinks that are not named are off. Empty without names."""
    chosen = {name.upper() for name in re.split(r"[,\s]+", features) if name}
    specs = invocation.plugins(tolerant=True).sinks()
    known = {feature for spec in specs.values() for feature in spec.features}
    if chosen - known:
        raise click.UsageError(
            f"{FEATURES}: unknown feature {', '.join(sorted(chosen - known))}, expected some of {', '.join(sorted(known))}."
            " Nothing was written."
        )
    if not chosen:
        return {}
    tables = {
        name: {"enabled": bool(chosen & spec.features.keys())}
        | {option: feature in chosen for feature, option in spec.features.items() if option is not None}
        for name, spec in specs.items()
    }
    return {f"sinks.{name}": {key: str(on).lower() for key, on in keys.items()} for name, keys in tables.items()}
