"""``open_log``: the event log for a Python program, without the command line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tconnectsync.clock import Clock, SystemClock
from tconnectsync.errors import RequestRefused
from tconnectsync.python_api.pump_log import PumpLog
from tconnectsync.timeline.zones import Zones

if TYPE_CHECKING:
    from tconnectsync.config.model import Config
    from tconnectsync.plugin.manager import Plugins


def open_log(where: str | Path | None = None, *, timezone: str | None = None, clock: Clock | None = None) -> PumpLog:
    """Open an event log for reading, also while the daemon runs.

    - ``where``: a configuration file or a data folder; None: the configuration that the commands use.
    - ``timezone``: where the wearer lives (IANA name). Needed with a data folder, because it has no configuration.

    Errors: ConfigError, RequestRefused (no such file, or no zone), LogCorrupt, OSError.
    """
    clock = clock or SystemClock()
    path = None if where is None else Path(where).expanduser()
    if path is not None and path.is_dir():
        if timezone is None:
            raise RequestRefused(
                f"{path} is a data folder, which does not say where the wearer lives.",
                remedy='Give the zone, such as open_log(folder, timezone="Europe/Berlin"), or open the configuration file.',
            )
        return PumpLog.open(path, _zones(timezone), clock=clock)
    if path is not None and not path.exists():
        raise RequestRefused(f"There is no {path}.", remedy="Give the configuration file or the data folder.")
    from tconnectsync.config.config_file import read_bootstrap
    from tconnectsync.config.load import load_config
    from tconnectsync.plugin.manager import load_plugins

    bootstrap = read_bootstrap(path, os.environ)
    plugins = load_plugins(folder=bootstrap.plugins_dir, blocked=bootstrap.blocked_plugins)
    config = load_config(path, os.environ, plugins, timezone=timezone)
    return open_pump_log(config, plugins, clock=clock, stores_days=False)


def open_pump_log(config: Config, plugins: Plugins, *, clock: Clock, stores_days: bool = True) -> PumpLog:
    """Open the log of a configuration, with its sources as decoders. Errors: LogCorrupt, OSError.

    ``stores_days``: see :meth:`PumpLog.open`.
    """
    from tconnectsync.runtime.open_engine import open_sources

    decoders = open_sources(config, plugins, clock=clock, data_dir=config.data_dir)
    return PumpLog.open(config.data_dir, config.zones, clock=clock, decoders=decoders, stores_days=stores_days)


def _zones(timezone: str) -> Zones:
    from tconnectsync.config.zone_names import zone_problem

    problem = zone_problem(timezone)
    if problem is not None:
        raise RequestRefused(
            f'"{timezone}" is not the zone of a place: expected {problem}.', remedy='Give one such as "Europe/Berlin".'
        )
    return Zones(timezone=timezone)
