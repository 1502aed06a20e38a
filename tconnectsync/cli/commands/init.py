"""``tconnectsync init``."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit, urlunsplit

import attrs
import click

from tconnectsync.cli.init.draft_check import load_draft, try_out
from tconnectsync.cli.init.legacy_env import OldSettings, read_settings
from tconnectsync.cli.init.questions import (
    EMAIL,
    PASSWORD,
    QUESTIONS,
    REGION,
    SECRET,
    TOKENS,
    URL,
    ZONE,
    Asking,
    ask,
    host_zone,
)
from tconnectsync.cli.init.template import TemplateValues, filled, value_of
from tconnectsync.cli.invocation import CliContext
from tconnectsync.cli.output import say
from tconnectsync.cli.parameters import common_options, pass_invocation
from tconnectsync.exit_status import ExitStatus
from tconnectsync.text.printable import printable

_EVERY_PUMP = "11111111"
_FEATURES = "TCONNECTSYNC_HEROKU_FEATURES"
_NAMES = (
    *(name for question in QUESTIONS for name in question.names), *TOKENS, "PUMP_SERIAL_NUMBER", "NS_SKIP_TLS_VERIFY", _FEATURES,
)  # fmt: skip


@click.command("init")
@click.option("--timezone", metavar="ZONE", help='Where the wearer lives, such as "Europe/Berlin".')
@click.option("--email", help="Of the Tandem Source account.")
@click.option("--region", help="Of the account: US or EU.")
@click.option("--url", help="Of the Nightscout site.")
@click.option("--password-file", type=click.Path(path_type=Path), help="A file that holds the password alone.")
@click.option("--api-secret-file", type=click.Path(path_type=Path), help="A file that holds the site's secret alone.")
@click.option(
    "--from-env", type=click.Path(path_type=Path), metavar="FILE", help="An older bridge's .env or secret.py."
)
@click.option("--output", type=click.Path(path_type=Path), metavar="PATH", help="Where to write it.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Another key, such as sinks.nightscout-cgm.enabled=true. Repeat it for more.",
)
@click.option("--force", is_flag=True, help="Overwrite a file that is there.")
@click.option("--no-check", is_flag=True, help="Do not try the login and Nightscout first.")
@common_options
@pass_invocation
def command(
    invocation: CliContext, timezone: str | None, email: str | None, region: str | None, url: str | None,
    password_file: Path | None, api_secret_file: Path | None, from_env: Path | None, output: Path | None,
    settings: tuple[str, ...], force: bool, no_check: bool,
) -> int:  # fmt: skip
    """Write a complete, commented configuration, after trying what is in it.

    A flag wins, then a value that the file of --from-env gives, then the environment, then a default in that file
    (os.environ.get). What none of them says is asked for. The file can be read by its owner alone.
    """
    from tconnectsync.config.file import home_folder

    path = output or invocation.config_path or home_folder(invocation.environ) / ".config/tconnectsync/config.toml"
    path = Path.cwd() / path
    if path.is_dir():
        raise click.UsageError(f"--output: {path} is a folder, expected the path of a file. Nothing was written.")
    if os.path.lexists(path) and not force:
        raise click.UsageError(
            f"{path} is there already: --force overwrites it, --output names another. Nothing was written."
        )
    old = {name: _plain(name, invocation.environ[name]) for name in _NAMES if invocation.environ.get(name)}
    if from_env is not None:
        said = _old_settings(from_env, invocation.environ)
        old = said.defaults | old | said.explicit
    else:
        _name_older_settings(invocation)
    asking = Asking(old, sys.stdin.isatty(), path)
    answers = _answers(
        asking, host_zone(invocation.environ), timezone, email, password_file, region, url, api_secret_file
    )
    answers = attrs.evolve(
        answers,
        pump=_pump(old),
        tables=_tables(invocation, settings, _sinks(invocation, old.get(_FEATURES, ""))),
        verify_tls=old.get("NS_SKIP_TLS_VERIFY", "").strip().lower() not in {"1", "true", "yes", "on"},
    )
    made = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        _write(draft, filled(answers))
        config = load_draft(invocation, draft, path, frozenset({*_NAMES, "TZ"}))
        good, doubt = (True, None) if no_check else try_out(invocation, config)
        if doubt is not None and asking.terminal:
            likely = doubt.places[0] if doubt.sure and doubt.places else answers.timezone
            answers = attrs.evolve(answers, timezone=ask(ZONE, likely))
            draft.unlink()
            _write(draft, filled(answers))
        elif doubt is not None:
            good = good and not doubt.sure
        if not good and not (asking.terminal and click.confirm("Write it nevertheless?", err=True)):
            say("Nothing was written. Put it right, or give --no-check.", err=True)
            return int(ExitStatus.DIFFERENT)
        service = _for_the_service(invocation, draft, path)
        _put(draft, path, force=force)
    finally:
        draft.unlink(missing_ok=True)
        for folder in made:
            with contextlib.suppress(OSError):  # what holds the file stays
                folder.rmdir()
    say(f"Written: {path}. Next: tconnectsync --config {path} sync --dry-run")
    say(service)
    return int(ExitStatus.DONE)


def _answers(
    asking: Asking, here: str | None, timezone: str | None, email: str | None, password_file: Path | None, region: str | None,
    url: str | None, api_secret_file: Path | None,
) -> TemplateValues:  # fmt: skip
    """What flags, older settings and a person say, in the order in which a person is asked. ``here`` is the machine's zone."""
    zone = asking.answer(ZONE, timezone, here)
    account = asking.answer(EMAIL, email)
    password = None if password_file else asking.answer(PASSWORD)
    made_in = asking.answer(REGION, region)
    address, token = _without_token(asking.answer(URL, url))
    token = next(filter(None, map(asking.old.get, TOKENS)), None) or token
    if api_secret_file is not None or any(asking.old.get(name) for name in SECRET.names):
        token = None
    return TemplateValues(
        timezone=zone,
        email=account,
        password=password,
        password_file=str(Path.cwd() / password_file) if password_file else None,
        region=made_in,
        url=address,
        token=token,
        api_secret=None if token or api_secret_file else asking.answer(SECRET),
        api_secret_file=str(Path.cwd() / api_secret_file) if api_secret_file else None,
    )


def _without_token(url: str) -> tuple[str, str | None]:
    """The address, and the access token that stands in it (``?token=…``)."""
    parts = urlsplit(url)
    given = parse_qs(parts.query)
    return (urlunsplit((*parts[:3], "", "")), given["token"][0]) if given.keys() == {"token"} else (url, None)


def _name_older_settings(invocation: CliContext) -> None:
    """Say where the settings of an older bridge are, if there are any."""
    from tconnectsync.config.file import find_older_settings

    older = find_older_settings(invocation.environ)
    if older is not None:
        words = f"`tconnectsync init --from-env {shlex.quote(str(older))}` takes them."
        say(f"The settings of an older bridge are in {older}: {words}", err=True)


def _for_the_service(invocation: CliContext, draft: Path, path: Path) -> str:
    """How the service, which is a user of its own, gets at the file: not at all where a secret is in it."""
    from tconnectsync.config import file as configfile
    from tconnectsync.config.tables import holds_secret

    if holds_secret(configfile.read_file(draft), invocation.plugins(tolerant=True)):
        return (
            "Only its owner can read it, for secrets are in it. For the service, a user of its own, keep them in files: "
            "--password-file, --api-secret-file (see README.md)."
        )
    there, name = configfile.SYSTEM_FILE, shlex.quote(str(path))
    command = f"chmod 644 {name}" if path.parent == there.parent else f"install -D -m 644 {name} {there}"
    return f"Only its owner can read it. No secret is in it, so the service, a user of its own, may: sudo {command}"


def _put(draft: Path, path: Path, *, force: bool) -> None:
    """Give the draft its name, and never the name of a file that is there, unless it is to be overwritten."""
    try:
        if not force:
            os.link(draft, path)
            return
    except FileExistsError:
        raise click.UsageError(f"{path} is there already: --force overwrites it. Nothing was written.") from None
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise click.UsageError(f"{path} is there already: --force overwrites it. Nothing was written.") from None
    draft.replace(path)


def _plain(name: str, value: str) -> str:
    """A variable's value, without the quotes that env files leave around it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{name} in the environment is no text (UTF-8). Nothing was written.") from None
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _tables(
    invocation: CliContext, settings: Sequence[str], tables: Mapping[str, Mapping[str, str]]
) -> Mapping[str, Mapping[str, str]]:
    """The tables with what ``--set`` says, which wins."""
    found = {name: dict(keys) for name, keys in tables.items()}
    for setting in settings:
        key, equals, value = setting.partition("=")
        key = key.strip()
        if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", key):
            shown = f" {key}" if equals else ""  # the rest may be a secret
            raise click.UsageError(f"--set{shown}: expected KEY=VALUE. Nothing was written.")
        table, _, name = key.rpartition(".")
        found.setdefault(table, {})[name] = value_of(value.strip(), is_text=_is_text(invocation, key))
    return found


def _is_text(invocation: CliContext, key: str) -> bool:
    """Whether an option is declared as a text."""
    from tconnectsync.config.option_types import is_text, type_at
    from tconnectsync.config.reader import CoreOptions
    from tconnectsync.config.tables import parts_of

    for name, options in (("", CoreOptions), *parts_of(invocation.plugins(tolerant=True))):
        prefix = f"{name}." if name else ""
        kind = type_at(options, key[len(prefix) :].split(".")) if key.startswith(prefix) else None
        if kind is not None:
            return is_text(kind)
    return False


def _sinks(invocation: CliContext, features: str) -> Mapping[str, Mapping[str, str]]:
    """What older feature names choose, as keys of the sinks' tables: all that is not named is off. No names: nothing."""
    chosen = {name.upper() for name in re.split(r"[,\s]+", features) if name}
    specs = invocation.plugins(tolerant=True).sinks()
    known = {feature for spec in specs.values() for feature in spec.features}
    if chosen - known:
        raise click.UsageError(
            f"{_FEATURES}: there is no feature {', '.join(sorted(chosen - known))}; there are {', '.join(sorted(known))}."
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


def _old_settings(path: Path, environ: Mapping[str, str]) -> OldSettings:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        said = read_settings(text, python=path.suffix == ".py", environ=environ)
    except OSError as error:
        raise click.UsageError(f"--from-env: {path} cannot be read: {error.strerror}. Nothing was written.") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"--from-env: {path} is no text. Nothing was written.") from None
    except SyntaxError as error:
        raise click.UsageError(f"--from-env: {path} is {error}. Nothing was written.") from None
    for key, unread in said.unread.items():
        if key in _NAMES:
            why = (
                f"the quotes of {key} do not match" if unread.bad_quotes else f"{key} cannot be read without running it"
            )
            say(f"{path} line {unread.line}: {why}: not taken.", err=True)
    for key, names in said.unset.items():
        if key in _NAMES:
            say(
                f"{path}: {key} refers to {', '.join(names)}, which nothing sets: nothing is put in its place.",
                err=True,
            )
    known = OldSettings(
        explicit={name: value for name, value in said.explicit.items() if name in _NAMES and value},
        defaults={name: value for name, value in said.defaults.items() if name in _NAMES and value},
    )
    if not known.explicit and not known.defaults:
        raise click.UsageError(f"--from-env: {path} holds no setting that is known here. Nothing was written.")
    return known


def _pump(old: Mapping[str, str]) -> str | None:
    serial = old.get("PUMP_SERIAL_NUMBER", "").strip()
    if serial in {"", _EVERY_PUMP}:
        return None
    words = (
        f"ONLY PUMP {serial} WILL BE READ, because PUMP_SERIAL_NUMBER names it. If it is not the one that is worn now, doses "
        'are missed: set pumps = "all" under [sources.tandem] in the written file.'
    )
    say("", mark=click.style(printable(words), fg="red", bold=True), err=True)
    return serial


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
