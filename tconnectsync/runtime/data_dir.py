"""The data folder: made private, with a floor of free space, and where each sink's outbox lies in it."""

from __future__ import annotations

import os
from pathlib import Path

from tconnectsync.config.file import is_mistake
from tconnectsync.config.model import Config
from tconnectsync.disk_check import low_space_message
from tconnectsync.errors import ConfigError, MachineNotReady
from tconnectsync.eventlog import OsFiles


def free_space_problem(folder: Path) -> str | None:
    return low_space_message(folder, OsFiles().free_bytes(folder)) or None


def outbox_path(folder: Path, sink: str) -> Path:
    """Where a sink's outbox lies."""
    return folder / "outbox" / f"{sink}.sqlite"


def make_data_dir(config: Config) -> None:
    """See to it that the data folder is there and nobody else's to read. Errors: ConfigError, MachineNotReady."""
    try:
        OsFiles().make_folder(config.data_dir)
    except OSError as error:
        where = "" if config.origin is None else f"{config.origin}: "
        problem = f"{where}data_dir: {config.data_dir} cannot be made ({error.strerror})"
        remedy = (
            "Name a folder that this user may write to, or run it as the user that owns it (as a service: with sudo)."
        )
        raise (ConfigError if is_mistake(error) else MachineNotReady)((problem,), remedy=remedy) from error


def keep_files_private() -> None:
    """What is written is the wearer's own: nobody else on this machine may read it."""
    os.umask(0o077)
