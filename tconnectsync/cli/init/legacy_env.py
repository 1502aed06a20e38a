"""Parses the ``.env`` or ``secret.py`` of an older bridge as text. Its code is never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

import attrs

_LINE = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")
_SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?$")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?$')
_REFERENCE = re.compile(r"\$\{([^}:]*)(?::-([^}]*))?\}")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "'": "'"}


@attrs.frozen
class Unread:
    """The line of a key that could not be read: its quotes do not match, or only running the code would give the value."""

    line: int
    bad_quotes: bool = False


@attrs.define
class OldSettings:
    """The settings: ``explicit`` values, ``defaults`` that the environment overrides, and keys that could not be read."""

    explicit: dict[str, str] = attrs.field(factory=dict, repr=False)
    defaults: dict[str, str] = attrs.field(factory=dict, repr=False)
    unread: dict[str, Unread] = attrs.field(factory=dict)
    unset: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    """Keys whose value refers to variables that are not set, with the names of those variables."""

    def forget(self, key: str) -> None:
        """Drop what was read for ``key``: a later line replaces it."""
        for kept in (self.explicit, self.defaults):
            kept.pop(key, None)
        self.unread.pop(key, None)
        self.unset.pop(key, None)


def read_settings(text: str, *, python: bool = False, environ: Mapping[str, str] | None = None) -> OldSettings:
    """Parse ``text`` as Python if ``python`` is true or if it has imports or calls, else as ``.env``. Errors: SyntaxError.

    ``${NAME}`` in a ``.env`` is the value of NAME further up in the file, else its value in ``environ``.
    """
    text = text.lstrip("\ufeff")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if python:
            line = error.lineno if isinstance(error, SyntaxError) else None
            raise SyntaxError("not valid Python" + (f" (line {line})" if line else "")) from None
        return _dotenv(text, environ or {})
    if python or any(isinstance(node, ast.Import | ast.ImportFrom | ast.Call) for node in ast.walk(tree)):
        return _python(tree)
    return _dotenv(text, environ or {})


def _python(tree: ast.Module) -> OldSettings:
    found = OldSettings()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign | ast.AugAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        plain = node in tree.body and not isinstance(node, ast.AugAssign)
        for target in targets:
            for name in (each for each in ast.walk(target) if isinstance(each, ast.Name)):
                found.forget(name.id)
                if not (plain and name is target and _take(found, name.id, value)):
                    found.unread[name.id] = Unread(node.lineno)
    return found


def _take(found: OldSettings, key: str, node: ast.expr) -> bool:
    """Store the value of ``key`` from ``node``; False if only running the code would give it."""
    number = False
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"int", "str"}:
        if len(node.args) != 1 or node.keywords:
            return False
        number = number or node.func.id == "int"
        node = node.args[0]
    kept = found.explicit
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.value) == "os.environ" and ast.unparse(node.slice) == repr(key)
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func) in {"os.environ.get", "os.getenv"} and not node.keywords
        if not called or len(node.args) not in {1, 2} or ast.unparse(node.args[0]) != repr(key):
            return False
        if len(node.args) == 1:
            return True
        node, kept = node.args[1], found.defaults
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str | int | None):
        return False
    if node.value is None:
        return True
    if number and not str(node.value).strip().isdecimal():
        return False
    kept[key] = str(node.value).strip() if number else str(node.value)
    return True


def _dotenv(text: str, environ: Mapping[str, str]) -> OldSettings:
    found = OldSettings()
    for number, line in enumerate(text.splitlines(), start=1):
        matched = _LINE.match(line)
        if not matched:
            continue
        key, written = matched[1], matched[2]
        around = {**environ, **found.explicit}
        found.forget(key)
        value = _dotenv_value(written)
        if value is None:
            found.unread[key] = Unread(number, bad_quotes=written.startswith(("'", '"')))
        else:
            found.explicit[key], unset = _expanded(value, around)
            if unset:
                found.unset[key] = unset
    return found


def _expanded(value: str, around: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """Replace ``${NAME}`` and ``${NAME:-default}``, also within single quotes; return the value and the names that are not set."""
    unset = [name for name, default in _REFERENCE.findall(value) if name not in around and not default]
    return _REFERENCE.sub(lambda each: around.get(each[1], each[2] or ""), value), tuple(dict.fromkeys(unset))


def _dotenv_value(written: str) -> str | None:
    if written[:1] == "'":
        single = _SINGLE.match(written)
        return single[1] if single else None
    if written[:1] == '"':
        double = _DOUBLE.match(written)
        return re.sub(r"\\(.)", lambda each: _ESCAPES.get(each[1], each[0]), double[1]) if double else None
    if "os.environ" in written or "os.getenv" in written:
        return None
    return re.split(r"(?:^|\s)#", written, maxsplit=1)[0].strip()
