"""Words for error messages: what was found and what was expected. They contain no secrets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, get_args

import attrs

from tconnectsync.config.option_types import is_list, is_literal, is_union, union_members
from tconnectsync.plugin.options import Secret

UNKNOWN_KEY = "found an unknown key"

PLAIN_TYPES: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    date: "a date without quotes, such as 2025-06-01",
    Path: "a path",
    Secret: "text",
}
"""Types of single values in the file, in words."""

_PLURALS: dict[Any, str] = {
    str: "texts",
    bool: "true or false",
    int: "whole numbers",
    float: "numbers",
    date: "dates",
    Secret: "texts",
}
_URL_USER = re.compile(r"(?<=//)[^/@\s]+(?=@)")
_URL_SECRET = re.compile(r"(?<=[?&])((?:token|secret|api[_-]?secret|password)=)[^&\s]*", re.IGNORECASE)
_LONGEST_SHOWN = 60


def expected_words(kind: Any) -> str:
    """Describe a value of this type."""
    if is_literal(kind):
        return " or ".join(_shown(value) for value in get_args(kind))
    if is_union(kind):
        return " or ".join(expected_words(arm) for arm in union_members(kind))
    if is_list(kind) and get_args(kind) and attrs.has(get_args(kind)[0]):
        return "a list of tables: their name is in two brackets, such as [[zones]]"
    if is_list(kind):
        return f"a list of {_PLURALS.get(get_args(kind)[0] if get_args(kind) else None, 'values')}"
    if attrs.has(kind):
        return "a table"
    return PLAIN_TYPES.get(kind, getattr(kind, "__name__", str(kind)))


def found_words(value: Any) -> str:
    """Describe a value of the file. Parts of an address that look like a secret are hidden."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}" if len(value) > 3 else f"the list [{', '.join(map(_shown, value))}]"
    return f"{_shown(value)} ({kind_words(value)})"


def kind_words(value: Any) -> str:
    """Name the type of a value of the file."""
    if isinstance(value, bool):
        return "true or false"
    for kind, words in (
        (str, "text"),
        (int, "a whole number"),
        (float, "a number"),
        (list, "a list"),
        (dict, "a table"),
    ):
        if isinstance(value, kind):
            return words
    return "a date or time" if hasattr(value, "isoformat") else type(value).__name__


def unknown_key_words(key: str, known: Sequence[str]) -> str:
    """Describe a key that is not one of ``known``."""
    return UNKNOWN_KEY + did_you_mean(key, known)


def missing_words(field: attrs.Attribute[Any]) -> str:
    """Describe a missing key that is required."""
    names = " or ".join(field.metadata.get("env", ()))
    beside = f" (or {names} in the environment)" if names else ""
    return f"found nothing, expected {expected_words(field.type)}{beside}"


def nearest(word: str, known: Sequence[str], *, cutoff: float = 0.6) -> str | None:
    """Return the one of ``known`` that was probably meant; None if none is similar."""
    import difflib  # for a mistake only

    by_fold = {name.casefold().replace("-", "_"): name for name in known}
    near = difflib.get_close_matches(word.casefold().replace("-", "_"), by_fold, n=1, cutoff=cutoff)
    return by_fold[near[0]] if near else None


def did_you_mean(word: str, known: Sequence[str], otherwise: str | None = None, *, cutoff: float = 0.6) -> str:
    """Return the end of a message about an unknown name: ``; did you mean "tandem"?``.

    If no name is similar: ``otherwise``, by default the list of the ``known`` names.
    """
    meant = nearest(word, known, cutoff=cutoff)
    if meant is not None:
        return f'; did you mean "{meant}"?'
    return f", expected {'one of ' if known else ''}{', '.join(known) or 'none'}" if otherwise is None else otherwise


def _shown(value: Any) -> str:
    if isinstance(value, str):
        text = _URL_SECRET.sub(r"\1…", _URL_USER.sub("…", value))
        return '"' + (text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…") + '"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return "…"
    return str(value)
