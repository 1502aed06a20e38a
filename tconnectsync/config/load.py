"""Reads the file and the environment into one configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from tconnectsync.config.config_file import SYSTEM_FILE, find_config

if TYPE_CHECKING:
    from tconnectsync.plugin.manager import Plugins
from tconnectsync.config.model import Config


def load_config(
    path: Path | None,
    environ: Mapping[str, str],
    plugins: Plugins,
    *,
    credentials_folder: Path | None = None,
    features: str | None = None,
    system_file: Path = SYSTEM_FILE,
    timezone: str | None = None,
) -> Config:
    """Return the configuration from ``path`` (None: the first file of the search order, or no file) and ``environ``.

    ``credentials_folder``: by default ``$CREDENTIALS_DIRECTORY``. ``features``: feature names of the older bridge, separated by
    commas; they win over the variable. ``timezone`` replaces the configured zone. Errors: ConfigError with every problem.
    """
    from tconnectsync.config.assemble import ConfigBuilder
    from tconnectsync.config.config_file import read_file
    from tconnectsync.config.environment import ConfigSources
    from tconnectsync.config.schema import Tables

    file = read_file(find_config(path, environ, system_file=system_file))
    if timezone is not None:
        file = attrs.evolve(file, tables={**file.tables, "timezone": timezone})
        environ = {name: value for name, value in environ.items() if name != "TIMEZONE_NAME"}
    if credentials_folder is None and environ.get("CREDENTIALS_DIRECTORY"):
        credentials_folder = Path(environ["CREDENTIALS_DIRECTORY"])
    sources = ConfigSources(
        environ=environ, file_name=file.name, folder=file.folder, credentials_folder=credentials_folder
    )
    return ConfigBuilder(tables=Tables(file=file, sources=sources, plugins=plugins), features=features).build()
