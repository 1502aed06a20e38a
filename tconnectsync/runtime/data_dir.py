"""The data folder: creates it as a private folder, checks its free space, and names the outbox of each sink."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tconnectsync.config.config_file import is_permanent
from tconnectsync.config.model import Config
from tconnectsync.disk_check import low_space_message
from tconnectsync.errors import ConfigError, MachineNotReady
from tconnectsync.eventlog import OsFiles


def folder_identity(folder: Path) -> tuple[int, int]:
    """Return what tells a folder from another one at the same path, while the folder is in use. Errors: OSError."""
    found = folder.stat()
    return found.st_dev, found.st_ino


def free_space_problem(folder: Path, identity: tuple[int, int] | None = None) -> str | None:
    """Return a sentence if the disk is almost full, else None. Errors: OSError, also if ``folder`` has another ``identity``."""
    if identity is not None and folder_identity(folder) != identity:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(folder))
    return low_space_message(folder, OsFiles().free_bytes(folder)) or None


def outbox_path(folder: Path, sink: str) -> Path:
    """Return the path of a sink's outbox."""
    return folder / "outbox" / f"{sink}.sqlite"


def make_data_dir(config: Config) -> None:
    """Create the data folder if it is missing, and make it private. Errors: ConfigError, MachineNotReady."""
    try:
        OsFiles().make_folder(config.data_dir)
    except OSError as error:
        where = "" if config.origin is None else f"{config.origin}: "
        problem = f"{where}data_dir: {config.data_dir} cannot be created ({error.strerror})"
        remedy = "Choose a folder that this user may write to, or run the command as the owner of the folder (for the service: with sudo)."
        raise (ConfigError if is_permanent(error) else MachineNotReady)((problem,), remedy=remedy) from error


def keep_files_private() -> None:
    """Let only this user read the files that this process writes: they are health data."""
    os.umask(0o077)
