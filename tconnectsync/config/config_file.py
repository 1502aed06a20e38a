"""Finds and parses the configuration file, and reads the keys that are needed before the plugins are loaded."""

from __future__ import annotations

import errno
import os
import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from tconnectsync.errors import ConfigError, MachineNotReady

SYSTEM_FILE = Path("/etc/tconnectsync/config.toml")
"""Read if there is no other file."""

_MISTAKES = frozenset({errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL})
_MOST_SEARCHED = 64 * 1024
_TOML_HINTS = {
    r"Cannot declare \('zones',\) twice": "Write [[zones]] with two brackets above each move.",
    r"Cannot declare \((.+?),?\) twice": "The table [{0}] is there already: put your lines below the first [{0}], and delete the second [{0}].",
    r"Cannot overwrite a value": "The same key or table is there twice: keep one of them.",
    r"\n.*[“”„‘’«»]": 'Write straight quotes: email = "me@example.org".',
    r"\n.*=\s*(True|TRUE)\b": "Write true, in small letters.",
    r"\n.*=\s*(False|FALSE)\b": "Write false, in small letters.",
    r"\n[\w.-]+\s*:": 'Write = between a key and its value: region = "US".',
    r"": 'Put text in quotes: email = "me@example.org".',
}
"""What to do, by a pattern of tomli's message and the line that it names."""
_EXAMPLE = "See config.toml.example for an example. `tconnectsync check` tests your file."


@attrs.frozen(kw_only=True)
class ConfigFile:
    """A parsed file. Without a file, ``path`` is None and ``tables`` is empty: the environment may be enough."""

    path: Path | None
    tables: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The name of the file in messages."""
        return str(self.path) if self.path else "configuration"

    @property
    def folder(self) -> Path:
        """The folder at which relative paths in the file start."""
        return self.path.parent if self.path else Path.cwd()

    def readable_by_everyone(self) -> bool:
        """Whether every user of the machine can read it."""
        try:
            return self.path is not None and bool(self.path.stat().st_mode & stat.S_IROTH)
        except OSError:
            return False


@attrs.frozen(kw_only=True)
class Bootstrap:
    """The options that are needed to load the plugins. Values of a wrong type are ignored here; ``load_config`` reports them."""

    plugins_dir: Path | None = None
    blocked_plugins: tuple[str, ...] = ()


def home_folder(environ: Mapping[str, str]) -> Path:
    """Return the user's home, from ``HOME`` if it is set."""
    return Path(environ.get("HOME") or os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises without a home


def full_path(text: str, folder: Path, environ: Mapping[str, str]) -> Path:
    """Return ``text`` as an absolute path: ``~/`` is the user's home, relative paths start at ``folder``."""
    if text == "~" or text.startswith("~/"):
        return home_folder(environ) / text[2:]
    return Path(os.path.abspath(folder / text))  # noqa: PTH100 - resolve() would follow links


def find_config(path: Path | None, environ: Mapping[str, str], *, system_file: Path = SYSTEM_FILE) -> Path | None:
    """Return the file to read: ``path``, ``$TCONNECTSYNC_CONFIG``, the user's, the system's; None if there is none.

    ``path`` and the variable are returned even if the file does not exist.
    """
    if path is not None:
        return Path.cwd() / path
    named = environ.get("TCONNECTSYNC_CONFIG", "").strip()
    if named:
        return full_path(named, Path.cwd(), environ)
    xdg = environ.get("XDG_CONFIG_HOME", "")
    folder = Path(xdg) if xdg.startswith("/") else home_folder(environ) / ".config"
    for candidate in (folder / "tconnectsync" / "config.toml", system_file):
        if _is_there(candidate):
            return candidate
    return None


def find_legacy_settings(environ: Mapping[str, str]) -> Path | None:
    """Return the older bridge's ``.env`` from the current folder or the user's configuration, where that bridge looked for it."""
    for path in (Path.cwd() / ".env", home_folder(environ) / ".config" / "tconnectsync" / ".env"):
        try:
            with path.open("rb") as file:
                if b"TCONNECT_" in file.read(_MOST_SEARCHED):
                    return path
        except OSError:
            continue
    return None


def read_file(path: Path | None) -> ConfigFile:
    """Parse ``path``. Errors: ConfigError if it is missing or not TOML; MachineNotReady if it cannot be read now."""
    if path is None:
        return ConfigFile(path=None)
    import tomli

    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise _unreadable(path, error) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            (f"{path}: byte {error.start + 1} is not UTF-8, expected a TOML file in UTF-8",), remedy=_EXAMPLE
        ) from None
    try:
        tables = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise ConfigError((f"{path}: not TOML: {error}",), remedy=_toml_hint(str(error), text)) from None
    except RecursionError:
        raise ConfigError((f"{path}: not usable: nested too deeply",), remedy=_EXAMPLE) from None
    except ValueError:  # Python limits the number of digits
        raise ConfigError((f"{path}: not usable: a number in it is too long",), remedy=_EXAMPLE) from None
    return ConfigFile(path=path, tables=tables)


def _toml_hint(message: str, text: str) -> str:
    named = re.search(r"at line (\d+)", message)
    line = text.split("\n")[int(named[1]) - 1] if named else text.rstrip().rpartition("\n")[2]
    found = ((hint, re.search(pattern, f"{message}\n{line.strip()}")) for pattern, hint in _TOML_HINTS.items())
    hint, match = next((hint, match) for hint, match in found if match)
    return hint.format(*(group.replace("', '", ".").strip("'") for group in match.groups()))


def read_bootstrap(path: Path | None, environ: Mapping[str, str], *, system_file: Path = SYSTEM_FILE) -> Bootstrap:
    """Return the file's plugin folder and blocked plugins. Errors: ConfigError, as :func:`read_file`."""
    file = read_file(find_config(path, environ, system_file=system_file))
    folder = file.tables.get("plugins_dir")
    if isinstance(folder, str) and "\0" in folder:
        folder = None
    blocked = file.tables.get("blocked_plugins")
    return Bootstrap(
        plugins_dir=full_path(folder, file.folder, environ) if isinstance(folder, str) and folder else None,
        blocked_plugins=tuple(name for name in blocked if isinstance(name, str)) if isinstance(blocked, list) else (),
    )


def is_permanent(error: OSError) -> bool:
    """Whether the path itself is wrong, so that waiting does not help: a folder instead of a file, a name that is too long."""
    return error.errno in _MISTAKES


def _unreadable(path: Path, error: OSError) -> ConfigError:
    """Return the error for a file that cannot be read: ConfigError for a wrong path, else MachineNotReady."""
    words = f"{path}: cannot be read: {error.strerror or error}"
    if isinstance(error, FileNotFoundError):
        words = f"{path}: no such file"
        if path.parent.is_dir():
            return ConfigError((words,), remedy="Give the path of a file that exists.")
        return MachineNotReady((words,), remedy=f"Its folder {path.parent} does not exist: is its disk mounted?")
    if is_permanent(error):
        return ConfigError((words,), remedy="Give the path of a file.")
    return MachineNotReady((words,), remedy=_forbidden(path) if isinstance(error, PermissionError) else None)


def _forbidden(path: Path) -> str:
    return (
        "Run it as a user who may read the file: sudo tconnectsync … The service runs as another user: put the secrets into"
        f" /etc/credstore and none into the file (see README.md), then run `sudo chmod 644 {shlex.quote(str(path))}`."
    )


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        # the folder cannot be entered: reading the file will report it
        return True
