"""Turns raw tables into options classes. It is strict about types, and reports every problem with its path."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import attrs
import msgspec
from cattrs import Converter
from cattrs.errors import (
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
    StructureHandlerNotFoundError,
)
from cattrs.gen import make_dict_structure_fn, override

from tconnectsync.config.error_words import (
    PLAIN_TYPES,
    did_you_mean,
    expected_words,
    found_words,
    kind_words,
    missing_words,
    unknown_key_words,
)
from tconnectsync.config.option_types import is_list, is_literal, is_secret, is_union, key_of, keys_of, union_members
from tconnectsync.plugin.options import Secret
from tconnectsync.plugin.pasted_text import trim_lines

T = TypeVar("T")


class ValidationIssue(msgspec.Struct, frozen=True, kw_only=True):
    """One problem at ``path`` (dotted, below the table), in ``words`` that follow the path in a message."""

    path: str
    words: str
    missing: bool = False
    """The key is required and missing."""


class MismatchError(ValueError):
    """A value is not what was expected. The message contains no secret."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(f"found {found}, expected {expected}")
        self.expected = expected


def structure(raw: Mapping[str, Any], options: type[T]) -> tuple[T | None, list[ValidationIssue]]:
    """Return ``raw`` as ``options``, or None with every problem."""
    if not raw and _is_plain_with_defaults(
        options
    ):  # most plugins are not configured: compile no converter for their class
        return options(), []
    try:
        return make_config_converter().structure(raw, options), []
    except (ClassValidationError, IterableValidationError) as error:
        return None, list(_issues(error, options, ""))


def _is_plain_with_defaults(options: type[Any]) -> bool:
    """Whether the class can be made without arguments, and then checks nothing."""
    fields = attrs.fields(options)
    return not hasattr(options, "__attrs_post_init__") and all(
        field.default is not attrs.NOTHING and field.validator is None and field.converter is None for field in fields
    )


@lru_cache(maxsize=1)
def make_config_converter() -> Converter:
    """Return a converter that does not convert texts to numbers or numbers to texts, and refuses unknown keys."""
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    for plain in PLAIN_TYPES:
        converter.register_structure_hook(plain, _plain)
    converter.register_structure_hook_func(is_literal, _literal)
    converter.register_structure_hook_factory(is_union, lambda kind: _union_hook(kind, converter))
    converter.register_structure_hook_factory(is_list, lambda kind: _list_hook(kind, converter))
    converter.register_structure_hook_factory(attrs.has, lambda kind: _class_hook(kind, converter))
    return converter


def _accepts(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is date:
        return isinstance(value, date) and not isinstance(value, datetime)
    if kind is Path:
        return isinstance(value, str) and bool(value) and "\0" not in value
    if kind is Secret:
        return isinstance(value, str) and bool(value)
    return isinstance(value, kind)


def _plain(value: Any, kind: Any) -> Any:
    if kind is Secret and isinstance(value, Secret):
        return value
    if not _accepts(value, kind):
        if kind is Secret:
            raise MismatchError("an empty text" if value == "" else kind_words(value), "text")
        raise MismatchError(found_words(value), expected_words(kind))
    return kind(value) if kind in (float, Path, Secret) else value


def _literal(value: Any, kind: Any) -> Any:
    for choice in get_args(kind):
        if type(value) is type(choice) and value == choice:
            return choice
    texts = [choice for choice in get_args(kind) if isinstance(choice, str)]
    hint = did_you_mean(value, texts, "") if isinstance(value, str) else ""
    raise MismatchError(found_words(value), expected_words(kind) + hint)


def _union_hook(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    arms = union_members(kind)

    def hook(value: Any, _: Any) -> Any:
        if len(arms) == 1:
            return converter.structure(value, arms[0])
        for arm in arms:
            try:
                return converter.structure(value, arm)
            except (MismatchError, ClassValidationError):
                continue
        raise MismatchError(kind_words(value) if is_secret(kind) else found_words(value), expected_words(kind))

    return hook


def _list_hook(kind: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    item = get_args(kind)[0] if get_args(kind) else str
    build = {list: list, set: set, frozenset: frozenset}.get(get_origin(kind) or list, tuple)

    def hook(value: Any, _: Any) -> Any:
        if not isinstance(value, list):
            raise MismatchError(kind_words(value) if is_secret(kind) else found_words(value), expected_words(kind))
        return build(_items(value, item, converter))

    return hook


def _items(value: list[Any], item: Any, converter: Converter) -> list[Any]:
    items, errors = [], []
    for index, entry in enumerate(value):
        try:
            items.append(converter.structure(entry, item))
        except Exception as error:  # noqa: BLE001 - collected with its index and raised below
            # as cattrs does; add_note() needs Python 3.11
            error.__notes__ = [IterableValidationNote("", index, item)]  # type: ignore[attr-defined]
            errors.append(error)
    if errors:
        raise IterableValidationError("", errors, list)
    return items


def _class_hook(options: type[Any], converter: Converter) -> Callable[[Any, Any], Any]:
    attrs.resolve_types(options)
    overrides = {
        field.name: override(rename=key_of(field), struct_hook=_checked(field, converter))
        for field in attrs.fields(options)
    }
    build = make_dict_structure_fn(
        options,
        converter,
        _cattrs_forbid_extra_keys=True,
        _cattrs_detailed_validation=True,
        **overrides,  # type: ignore[arg-type]  # the other keywords have a leading underscore
    )

    def hook(value: Any, kind: Any) -> Any:
        if not isinstance(value, dict):
            raise MismatchError(found_words(value), "a table")
        return build(value, kind)

    return hook


def _checked(field: attrs.Attribute[Any], converter: Converter) -> Callable[[Any, Any], Any]:
    """Clean a field's text, structure the value, then call the field's own ``check``."""
    check, clean = field.metadata.get("check"), field.metadata.get("clean")
    if clean is None and is_secret(field.type):
        clean = trim_lines
    kind: Any = field.type

    def hook(value: Any, _: Any) -> Any:
        if clean is not None and isinstance(value, str):
            value = clean(value)
            if value is None:
                return None
        built: Any = converter.structure(value, kind)
        expected = check(built) if check is not None else None
        if expected is not None:
            raise MismatchError("a value" if is_secret(field.type) else found_words(value), expected)
        return built

    return hook


def _issues(error: BaseException, kind: Any, path: str) -> Iterator[ValidationIssue]:
    if isinstance(error, ClassValidationError):
        noted, others = error.group_exceptions()
        fields = {field.name: field for field in attrs.fields(error.cl)}
        for inner, note in noted:
            field = fields[note.name]
            below = f"{path}.{key_of(field)}" if path else key_of(field)
            if isinstance(inner, KeyError):
                yield ValidationIssue(path=below, words=missing_words(field), missing=True)
            else:
                yield from _issues(inner, field.type, below)
        for inner in others:
            if isinstance(inner, ForbiddenExtraKeysError):
                yield from _extra_keys(inner, path)
            else:
                yield ValidationIssue(path=path, words=_other_words(inner, kind))
    elif isinstance(error, IterableValidationError):
        items, others = error.group_exceptions()
        for inner, index in items:
            yield from _issues(inner, index.type, f"{path}[{index.index}]")
        for inner in others:
            yield ValidationIssue(path=path, words=_other_words(inner, kind))
    else:
        yield ValidationIssue(path=path, words=_other_words(error, kind))


def _extra_keys(error: ForbiddenExtraKeysError, path: str) -> Iterator[ValidationIssue]:
    known = keys_of(error.cl)
    for key in sorted(error.extra_fields):
        yield ValidationIssue(path=f"{path}.{key}" if path else key, words=unknown_key_words(key, known))


def _other_words(error: BaseException, kind: Any) -> str:
    if isinstance(error, MismatchError):
        return str(error)
    if isinstance(error, StructureHandlerNotFoundError):
        return f"has a type that a configuration file cannot give: {expected_words(kind)}"
    # an error of a plugin's converter or validator: its text may contain the value
    if is_secret(kind):
        return f"found an invalid value ({type(error).__name__})"
    return f"found an invalid value: {' '.join(str(error).split())}"
