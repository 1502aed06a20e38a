"""Settings of an older bridge: its ``.env`` or ``secret.py``, read as text and never run."""

from __future__ import annotations

import ast
import re

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Z][A-Z0-9_]*)\s*=\s*(.*?)\s*$")


def read_settings(text: str) -> dict[str, str]:
    """The values by name. Lines that hold no plain value are left out."""
    found: dict[str, str] = {}
    for line in text.lstrip("\ufeff").splitlines():
        matched = _LINE.match(line)
        value = _plain(matched[2]) if matched else None
        if matched and value is not None:
            found[matched[1]] = value
    return found


def _plain(written: str) -> str | None:
    try:
        node = ast.parse(written, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        node = None
    if isinstance(node, ast.Call):
        # os.environ.get("KEY", "default"): what counts is the default
        node = node.args[1] if len(node.args) > 1 else None
        return str(node.value) if isinstance(node, ast.Constant) and node.value is not None else None
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\\" not in written:
        return node.value
    if written[:1] in {"'", '"'}:
        quoted = re.match(r"""(['"])(.*)\1\s*(?:#.*)?$""", written)
        return quoted[2] if quoted else None
    return re.split(r"\s#", written, maxsplit=1)[0].strip()
