"""Puts the parts together for a command: opens the engine under a configuration, or hands the request to the daemon."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from tconnectsync.clock import Clock
from tconnectsync.config.fingerprint import config_fingerprint
from tconnectsync.config.model import Config
from tconnectsync.daemon.control import SOCKET_NAME, ask
from tconnectsync.daemon.loop import Daemon, LoadedConfig
from tconnectsync.errors import DataDirLocked, IndexCorrupt
from tconnectsync.eventlog import FolderLock
from tconnectsync.jobs.dispatch import perform
from tconnectsync.jobs.messages import Request, Result, Step
from tconnectsync.plugin.manager import Plugins
from tconnectsync.runtime.assembly import open_engine
from tconnectsync.runtime.data_dir import keep_files_private, make_data_dir

log = logging.getLogger("tconnectsync.application")


def execute(config: Config, plugins: Plugins, request: Request, *, clock: Clock) -> Iterator[Step]:
    """Do what is asked, here or through the daemon that owns the data folder. The last step is the Result."""
    keep_files_private()
    make_data_dir(config)
    try:
        lock = FolderLock(config.data_dir)
    except DataDirLocked as error:
        marked = attrs.evolve(request, mark=config_fingerprint(config))
        yield from _hand_over(config.data_dir / SOCKET_NAME, marked, error)
        return
    try:
        try:
            yield from _performed(config, plugins, request, clock)
        except IndexCorrupt as error:  # forgotten by now: once more, with a new one
            log.error('index_harmed message="%s"', error.message)
            yield from _performed(config, plugins, request, clock)
    finally:
        lock.release()


def _performed(config: Config, plugins: Plugins, request: Request, clock: Clock) -> Iterator[Step]:
    engine = open_engine(config, plugins, clock=clock)
    try:
        yield from perform(engine, request, config.zones.zone_at)
    finally:
        engine.close()


def _hand_over(path: Path, request: Request, error: DataDirLocked) -> Iterator[Step]:
    for attempt in range(3):
        try:
            yield from ask(path, request)
            return
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.2 * (attempt + 1))  # the owner may be starting, or be a command that ends soon
        except OSError as trouble:
            yield Result(status=8, lines=(f"the daemon did not answer: {trouble}",))
            return
    remedy = error.remedy or "Wait until it is done, or stop it."
    yield Result(status=8, lines=(f"{error.message}, and it takes no requests. {remedy}",))


def run_daemon(load_config: Callable[[], Config], plugins: Plugins, *, clock: Clock) -> int:
    """Run until SIGTERM. Errors: ConfigError, DataDirLocked."""
    config = load_config()
    keep_files_private()
    make_data_dir(config)
    folder = config.data_dir

    def load() -> LoadedConfig:
        fresh = load_config()
        if fresh.data_dir != folder:
            log.warning("data_dir_changed it stays %s until the daemon is started again", folder)
            fresh = attrs.evolve(fresh, data_dir=folder)
        name = str(fresh.origin or "the environment alone")
        return LoadedConfig(
            lambda: open_engine(fresh, plugins, clock=clock), fresh.zones.zone_at, config_fingerprint(fresh), name
        )

    lock = FolderLock(folder)
    try:
        return Daemon(load, folder / SOCKET_NAME, os.environ).run()
    except PermissionError as error:  # no matter of usage once it runs: systemd is to start it again
        raise RuntimeError(f"permission denied: {error.filename}") from error
    finally:
        lock.release()
