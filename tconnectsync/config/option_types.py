"""The types of options: how a field's annotation maps to a value of the file."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import attrs

from tconnectsync.plugin.options import Secret


def key_of(field: attrs.Attribute[Any]) -> str:
    """Return the key of this field in the file."""
    return str(field.metadata.get("key", field.name))


def keys_of(options: type[Any]) -> list[str]:
    """Return every key that a table for ``options`` may have, also the ``_file`` keys of secrets."""
    attrs.resolve_types(options)
    keys = []
    for field in attrs.fields(options):
        keys.append(key_of(field))
        if is_secret(field.type):
            keys.append(f"{key_of(field)}_file")
    return keys


def is_secret(kind: Any) -> bool:
    """Whether a value of this type must never be shown."""
    return kind is Secret or Secret in get_args(kind)


def is_literal(kind: Any) -> bool:
    """Whether the type is one of a few values."""
    return get_origin(kind) is Literal


def is_union(kind: Any) -> bool:
    """Whether a value may have one of several types."""
    return get_origin(kind) in (Union, UnionType)


def is_list(kind: Any) -> bool:
    """Whether the value is a list in the file."""
    origin = get_origin(kind)
    if origin is tuple:
        return get_args(kind)[1:] == (Ellipsis,)
    return origin in (list, frozenset, set) or (isinstance(origin, type) and origin is Sequence)


def union_members(kind: Any) -> tuple[Any, ...]:
    """Return the types that a value may have, without None, which TOML does not have."""
    arms = get_args(kind) if is_union(kind) else (kind,)
    return tuple(arm for arm in arms if arm is not type(None))


def is_text(kind: Any) -> bool:
    """Whether the value is always a text, even if it looks like a number."""
    return all(
        arm in (str, Path, Secret) or (is_literal(arm) and all(isinstance(choice, str) for choice in get_args(arm)))
        for arm in union_members(kind)
    )


def type_at(options: type[Any], path: Sequence[str]) -> Any:
    """Return the type of the key at ``path`` below ``options``; None if there is no such key."""
    attrs.resolve_types(options)
    for field in attrs.fields(options):
        inner = nested_class(field.type)
        if key_of(field) == path[0] and (inner is None) == (len(path) == 1):
            return field.type if inner is None else type_at(inner, path[1:])
        if is_secret(field.type) and path == [f"{key_of(field)}_file"]:
            return Path
    return None


def nested_class(kind: Any) -> type[Any] | None:
    """Return the nested options class of a field's type; None if it is not a table."""
    try:
        return _nested_class(kind)
    except TypeError:  # a plugin's ``Annotated`` may have a dict
        return _nested_class.__wrapped__(kind)


@functools.cache
def _nested_class(kind: Any) -> type[Any] | None:
    return next((arm for arm in union_members(kind) if isinstance(arm, type) and attrs.has(arm)), None)
