"""Writes the configuration and the files with the secrets."""

from __future__ import annotations

import attrs
import click

from tconnectsync.cli.init.template import TemplateValues, fill_template, quoted
from tconnectsync.cli.invocation import Invocation
from tconnectsync.cli.setup.answer_check import Answers
from tconnectsync.cli.setup.atomic_write import NewFile, write_files
from tconnectsync.cli.setup.paths import ALERT_URLS, API_SECRET, PASSWORD, TOKEN, SetupPaths


def write_configuration(invocation: Invocation, paths: SetupPaths, answers: Answers) -> None:
    """Write the secrets, then the configuration; an older configuration is kept beside it as ``.old``.

    Errors: click.UsageError if --set puts a secret into a file that everybody can read; OSError.
    """
    text = fill_template(_values(paths, answers))
    private = _holds_secret(invocation, text)
    if private and paths.service:
        raise click.UsageError(
            "--set: this key is a secret, and everybody can read the service's configuration. Use the key that ends in"
            " _file, with the path of a file that contains only the secret. Nothing was written."
        )
    files = [
        NewFile(path=paths.secret(name), text=secret, folder_mode=0o700)
        for name, secret in (
            (PASSWORD, answers.password),
            (API_SECRET, answers.secret),
            (ALERT_URLS, answers.alert_urls),
        )
        if secret
    ]
    if paths.config.exists():
        files.append(
            NewFile(path=paths.config.with_name(paths.config.name + ".old"), text=paths.config.read_text("utf-8"))
        )
    files.append(NewFile(path=paths.config, text=text, mode=0o644 if paths.service else 0o600))
    write_files(files, obsolete=[paths.secret(TOKEN)] if paths.service else [])


def _values(paths: SetupPaths, answers: Answers) -> TemplateValues:
    tables = {name: dict(keys) for name, keys in answers.tables.items()}
    if paths.data_dir is not None:
        tables.setdefault("", {}).setdefault("data_dir", quoted(str(paths.data_dir)))
    alert_urls = paths.secret(ALERT_URLS)
    if answers.alert_urls or alert_urls.exists():  # a file from before is kept
        tables.setdefault("alerts", {}).setdefault("urls_file", quoted(str(alert_urls)))
    return attrs.evolve(
        answers.values(),
        password=None,
        password_file=str(paths.secret(PASSWORD)),
        api_secret=None,
        api_secret_file=str(paths.secret(API_SECRET)),
        tables=tables,
    )


def _holds_secret(invocation: Invocation, text: str) -> bool:
    import tomli

    from tconnectsync.config.config_file import ConfigFile
    from tconnectsync.config.schema import has_secret

    return has_secret(ConfigFile(path=None, tables=tomli.loads(text)), invocation.plugins(tolerant=True))
