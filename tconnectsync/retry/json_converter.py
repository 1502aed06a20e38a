"""The one converter to and from JSON for values that are stored in a file or in an outbox."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import attrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter, make_converter

from tconnectsync.retry.backoff import LONGEST_ASKED_WAIT_S
from tconnectsync.retry.deadline import RememberedDeadline


def json_converter() -> JsonConverter:
    """Return a converter that keeps the zone of times, and writes durations as seconds.

    A field with the metadata ``json`` has that name in JSON. An older release wrote only the time of a deadline.
    """
    converter = make_converter()
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    converter.register_unstructure_hook(timedelta, timedelta.total_seconds)
    converter.register_structure_hook(timedelta, lambda seconds, _: timedelta(seconds=seconds))
    converter.register_unstructure_hook_factory(_has_json_names, lambda kind: _writer(kind, converter))
    converter.register_structure_hook_factory(_has_json_names, lambda kind: _reader(kind, converter))
    read_deadline = _reader(RememberedDeadline, converter)

    def structure_deadline(found: Any, kind: type[RememberedDeadline]) -> Any:
        if isinstance(found, str):
            return RememberedDeadline(until=datetime.fromisoformat(found), longest_s=LONGEST_ASKED_WAIT_S)
        return read_deadline(found, kind)

    converter.register_structure_hook(RememberedDeadline, structure_deadline)
    return converter


def _has_json_names(kind: Any) -> bool:
    return attrs.has(kind) and any("json" in field.metadata for field in attrs.fields(kind))


def _overrides(kind: Any) -> dict[str, Any]:
    """Return the names of fields in JSON. None as a name leaves the field out."""
    named = {field.name: field.metadata["json"] for field in attrs.fields(kind) if "json" in field.metadata}
    return {name: override(omit=True) if json is None else override(rename=json) for name, json in named.items()}


def _writer(kind: Any, converter: JsonConverter) -> Callable[[Any], Any]:
    return make_dict_unstructure_fn(kind, converter, **_overrides(kind))


def _reader(kind: Any, converter: JsonConverter) -> Callable[[Any, Any], Any]:
    return make_dict_structure_fn(kind, converter, **_overrides(kind))


CONVERTER = json_converter()
