"""Writes and reads the bodies of events, one kind at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, get_args

import attrs
import msgspec

from tconnectsync.events import BODIES

Pack: TypeAlias = Callable[[Any], Any]

_WORDS = tuple[str, ...]
_PLAIN = frozenset({str, int, float, bool, type(None), datetime, _WORDS})


class BodyCodec(NamedTuple):
    """Bodies of one kind.

    ``pack`` makes a value of a body that msgspec writes as JSON, without optional fields that are None. ``read`` makes a body of
    the JSON. ``check`` raises the same errors as ``read``, in a quarter of the time. ``tag`` makes the digests of different
    kinds different. ``any_depth``: a body may hold an object of any shape.
    """

    body: type[Any]
    pack: Pack
    read: Callable[[bytes | msgspec.Raw], Any]
    check: Callable[[bytes | msgspec.Raw], object]
    tag: bytes
    any_depth: bool


class BodyCodecs(dict[str, BodyCodec]):
    """The codec of each kind, made when the kind is first seen. Errors: KeyError for a kind that this release does not know."""

    def __missing__(self, kind: str) -> BodyCodec:
        body = BODIES[kind]
        attrs.resolve_types(body)
        read = msgspec.json.Decoder(body).decode
        twin = _twin(body)
        if twin is None:
            pack, check = _pack_any(body), read
        else:
            pack, check = _pack_into(twin, body), msgspec.json.Decoder(twin).decode
        self[kind] = found = BodyCodec(body, pack, read, check, kind.encode() + b"\0", twin is None)
        return found


@cache
def body_codecs() -> BodyCodecs:
    """Return the codec of each kind of body. They hold no state, and a process that opens many logs builds them once."""
    return BodyCodecs()


def _twin(body: type[Any]) -> type[msgspec.Struct] | None:
    """Return a class with the fields of ``body`` that msgspec writes and reads several times faster than attrs' classes.

    It omits what is None when it is written. None for a body with an object of any shape, which may hold anything.
    """
    fields: list[tuple[str, Any, Any]] = []
    for field in _in_written_order(body):
        if not _types_of(field.type) <= _PLAIN:
            return None
        # a default other than None is always written, so the twin's own must never be equal to a value
        default = msgspec.NODEFAULT if field.default is attrs.NOTHING else msgspec.UNSET
        fields.append((field.name, field.type, None if field.default is None else default))
    return msgspec.defstruct(body.__name__, fields, omit_defaults=True, gc=False)


def _pack_into(twin: type[msgspec.Struct], body: type[Any]) -> Pack:
    """Return a function that copies a body to its twin, with aware times as UTC."""
    names = [field.name for field in _in_written_order(body)]
    # attrgetter makes a tuple of two values or more
    values = attrgetter(*names) if len(names) > 1 else lambda body: [getattr(body, name) for name in names]
    times = [field.name for field in attrs.fields(body) if datetime in _types_of(field.type)]
    lists = [field.name for field in attrs.fields(body) if _WORDS in _types_of(field.type)]

    def pack(body: Any) -> msgspec.Struct:
        packed = twin(*values(body))
        for name in times:
            moment = getattr(packed, name)
            if moment is not None and moment.tzinfo is not None:
                setattr(packed, name, moment.astimezone(timezone.utc))
        for name in lists:
            setattr(packed, name, tuple(getattr(packed, name)))
        return packed

    return pack


def _pack_any(body: type[Any]) -> Pack:
    """Return a function that makes a dict of JSON values of a body."""
    # few kinds need it, and most commands none of them
    from cattrs import Converter
    from cattrs.gen import make_dict_unstructure_fn, override

    converter = Converter()
    converter.register_unstructure_hook(datetime, _utc_if_aware)
    optional = {field.name: override(omit_if_default=True) for field in attrs.fields(body) if field.default is None}
    pack: Pack = make_dict_unstructure_fn(body, converter, **optional)  # type: ignore[arg-type]  # names vary
    return pack


def _in_written_order(body: type[Any]) -> Sequence[attrs.Attribute[Any]]:
    """Return the fields as the log has them: first those that are always written. The order counts, because bytes are compared."""
    return sorted(attrs.fields(body), key=lambda field: field.default is None)


def _types_of(annotation: Any) -> frozenset[Any]:
    """Return the types in an annotation such as ``float | None``."""
    if annotation in _PLAIN:
        return frozenset({annotation})
    return frozenset(get_args(annotation) or {annotation})


def _utc_if_aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc)
