"""Runs the daemon in this process."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from tconnectsync.clock import Clock
from tconnectsync.config.fingerprint import config_fingerprint
from tconnectsync.config.model import Config
from tconnectsync.daemon.loop import Daemon, LoadedConfig, Watcher
from tconnectsync.daemon.state import SOCKET_NAME
from tconnectsync.errors import ConfigError, MachineNotReady
from tconnectsync.eventlog import FolderLock
from tconnectsync.plugin.manager import Plugins
from tconnectsync.plugin.receiver import SupportsPresence
from tconnectsync.runtime.data_dir import folder_identity, keep_files_private, make_data_dir
from tconnectsync.runtime.open_engine import open_engine
from tconnectsync.runtime.sending import sending_for
from tconnectsync.storage_errors import OTHER_FOLDER

log = logging.getLogger("tconnectsync.daemon")


def run_daemon(
    load_config: Callable[[], Config],
    plugins: Plugins,
    *,
    clock: Clock,
    watch: Callable[[Config, bool, Sequence[SupportsPresence]], Watcher | None] = lambda *_: None,
) -> int:
    """Run until SIGTERM. ``watch`` starts what watches the daemon. Errors: ConfigError, DataDirLocked."""
    config = load_config()
    keep_files_private()
    make_data_dir(config)
    folder = config.data_dir

    def load() -> LoadedConfig:
        fresh = load_config()
        _require_same_folder(folder, identity, fresh)
        name = str(fresh.origin or "the environment alone")
        return LoadedConfig(
            lambda: open_engine(fresh, plugins, clock=clock, sending=sending_for(clock)),
            fresh.zones.zone_at,
            config_fingerprint(fresh),
            name,
            partial(watch, fresh),
            tuple(part.words for part in fresh.unusable),
        )

    lock = FolderLock(folder)
    try:
        identity = folder_identity(folder)
        return Daemon(load, folder / SOCKET_NAME, os.environ).run()
    finally:
        lock.release()


def _require_same_folder(folder: Path, identity: tuple[int, int], fresh: Config) -> None:
    """Refuse to work in another data folder than the locked one. Errors: ConfigError, MachineNotReady."""
    if fresh.data_dir != folder:
        problem = f"data_dir: the daemon uses {folder} until it is restarted"
        raise ConfigError((problem,), remedy="Run `systemctl restart tconnectsync`, and no other command before.")
    with contextlib.suppress(OSError):
        if folder_identity(folder) == identity:
            return
    raise MachineNotReady((f"{folder} is not the data folder that the daemon uses",), remedy=OTHER_FOLDER)
