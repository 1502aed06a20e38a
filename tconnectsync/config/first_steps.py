"""What to do first: no configuration file was found."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tconnectsync.config.config_file import find_legacy_settings
from tconnectsync.config.environment import variables_of
from tconnectsync.config.unusable_parts import only_for_commands
from tconnectsync.errors import NotConfigured

if TYPE_CHECKING:
    from tconnectsync.config.schema import Tables

_ELSEWHERE = "If you have a configuration file elsewhere, name it with --config."
_OURS = ("TCONNECT_", "NS_")
"""The first letters of the older bridges' variables, also of misspelt ones."""


def check_begun(tables: Tables) -> None:
    """Raise NotConfigured if there is neither a file nor an account, a site or a time zone in the environment."""
    if tables.file.path is not None or _has_settings(tables):
        return
    older = find_legacy_settings(tables.sources.environ)
    if older is None:
        does, instead = "it asks for the accounts, tests them and starts the service", "tconnectsync setup --user"
    else:
        does, instead = f"it uses the settings of an older bridge in {older}", _from_env(older)
    raise NotConfigured(
        (f"There is no configuration yet, so nothing was done. Run `sudo tconnectsync setup`: {does}.",),
        remedy=f"Without root and without the service: `{instead}`. {_ELSEWHERE}",
    )


def _has_settings(tables: Tables) -> bool:
    plugins, environ = tables.plugins, tables.sources.environ
    parts = [
        *(source.options for source in plugins.sources().values()),
        *(sink.options for sink in plugins.sinks().values()),
        *(section.options for name, section in plugins.sections().items() if not only_for_commands(name, plugins)),
    ]
    known = {"TIMEZONE_NAME", *(variable for options in parts for variable, _ in variables_of(options))}
    return any(text.strip() and (name in known or name.startswith(_OURS)) for name, text in environ.items())


def no_file_hint(environ: Mapping[str, str]) -> str:
    """Return the hint for a configuration in the environment that is not complete."""
    older = find_legacy_settings(environ)
    if older is None:
        return f"No configuration file was found. `sudo tconnectsync setup` asks for what is missing and writes one. {_ELSEWHERE}"
    return (
        f"No configuration file was found, but the settings of an older bridge: {older}. To use them, run"
        f" `sudo tconnectsync setup`, or without root `{_from_env(older)}`."
    )


def _from_env(older: Path) -> str:
    return f"tconnectsync init --from-env {shlex.quote(str(older))}"
