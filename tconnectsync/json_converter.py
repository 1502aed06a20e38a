"""The one converter to and from JSON for values that are stored in a file or in an outbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import attrs
import msgspec
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter


def json_converter() -> JsonConverter:
    """Return a converter that keeps the zone of times, and writes durations as seconds.

    Structs of msgspec are written and read by msgspec. A field with the metadata ``json`` has that name in JSON. If an older
    release stored a text instead of an object, the class reads it with its ``from_text``.
    """
    # without details its code is compiled twice as fast, and every error has the same remedy
    converter = make_converter(detailed_validation=False)
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_unstructure_hook(timedelta, timedelta.total_seconds)
    converter.register_structure_hook(timedelta, lambda seconds, _: timedelta(seconds=seconds))
    converter.register_unstructure_hook_func(_is_struct, msgspec.to_builtins)
    converter.register_structure_hook_func(_is_struct, msgspec.convert)
    converter.register_unstructure_hook_factory(_has_json_names, lambda kind: _writer(kind, converter))
    # cattrs would compile a class once for each field that has its type
    converter.register_structure_hook_factory(attrs.has, cache(lambda kind: _reader(kind, converter)))
    return converter


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _has_json_names(kind: Any) -> bool:
    return attrs.has(kind) and any("json" in field.metadata for field in attrs.fields(kind))


def _overrides(kind: Any) -> dict[str, Any]:
    """Return the names of fields in JSON. None as a name leaves the field out."""
    named = {field.name: field.metadata["json"] for field in attrs.fields(kind) if "json" in field.metadata}
    return {name: override(omit=True) if json is None else override(rename=json) for name, json in named.items()}


def _writer(kind: Any, converter: JsonConverter) -> Callable[[Any], Any]:
    return make_dict_unstructure_fn(kind, converter, **_overrides(kind))


def _reader(kind: Any, converter: JsonConverter) -> Callable[[Any, Any], Any]:
    read = make_dict_structure_fn(kind, converter, **_overrides(kind))
    from_text = getattr(kind, "from_text", None)
    return (
        read
        if from_text is None
        else lambda found, _: from_text(found) if isinstance(found, str) else read(found, kind)
    )


CONVERTER = json_converter()
