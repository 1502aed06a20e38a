"""A configuration file that any worker can read: its secret files' content inside, and nothing about one computer."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tconnectsync_fleet.people import NotPossible

_SECRET_FILE = re.compile(r"""^(\s*)([A-Za-z0-9_]+)_file(\s*=\s*)(["'])(.+?)\4\s*(?:#.*)?$""", re.MULTILINE)
_OF_THE_MACHINE = ("plugins_dir", "blocked_plugins", "web")


def with_secrets_inside(path: Path) -> str:
    """Return the text of a configuration file, with the content of every secret file in the place of its path.

    Errors: NotPossible if a key is about the machine, or a secret file cannot be read.
    """
    import tomli

    text = path.read_text(encoding="utf-8-sig")

    def inside(found: re.Match[str]) -> str:
        indent, key, equals, _, name = found.groups()
        try:
            lines = (path.parent / Path(name).expanduser()).read_text(encoding="utf-8-sig").strip("\r\n").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise NotPossible(f"{path}: {key}_file: {name} cannot be read ({error}).") from error
        value: str | list[str] = lines[0] if len(lines) == 1 else lines
        return f"{indent}{key}{equals}{json.dumps(value, ensure_ascii=False)}"

    text = _SECRET_FILE.sub(inside, text)
    tables = tomli.loads(text)
    machine = [key for key in _OF_THE_MACHINE if key in tables]
    if machine:
        raise NotPossible(
            f"{path}: {machine[0]}: this setting is about one computer. Remove it: each worker has its own."
        )
    left = list(_paths_left(tables))
    if left:
        raise NotPossible(f"{path}: {left[0]}: write the secret itself into the file; workers cannot read this path.")
    return text


def _paths_left(table: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in table.items():
        if isinstance(value, dict):
            found += _paths_left(value, f"{prefix}{key}.")
        elif key.endswith("_file"):
            found.append(prefix + key)
    return found
