"""Writes and reads the bodies of events, one kind at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import cache
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias, get_args

import msgspec
from msgspec.structs import FieldInfo

from tconnectsync.events import BODIES

Pack: TypeAlias = Callable[[Any], Any]

_WORDS = tuple[str, ...]
_PLAIN = frozenset({str, int, float, bool, type(None), datetime, _WORDS})


class BodyCodec(NamedTuple):
    """Bodies of one kind.

    ``pack`` makes a value of a body that msgspec writes as JSON, without optional fields that are None. ``read`` makes a body of
    the JSON. ``tag`` makes the digests of different kinds different. ``any_depth``: a body may hold an object of any shape.
    """

    body: type[Any]
    pack: Pack
    read: Callable[[bytes | msgspec.Raw], Any]
    tag: bytes
    any_depth: bool


class BodyCodecs(dict[str, BodyCodec]):
    """The codec of each kind, made when the kind is first seen. Errors: KeyError for a kind that this release does not know."""

    def __missing__(self, kind: str) -> BodyCodec:
        body = BODIES[kind]
        fields = _in_written_order(body)
        twin = _twin(body, fields)
        pack = _pack_any(fields) if twin is None else _pack_into(body, twin, fields)
        read = msgspec.json.Decoder(body).decode
        self[kind] = found = BodyCodec(body, pack, read, kind.encode() + b"\0", twin is None)
        return found


@cache
def body_codecs() -> BodyCodecs:
    """Return the codec of each kind of body. They hold no state, and a process that opens many logs builds them once."""
    return BodyCodecs()


def _twin(body: type[Any], fields: Sequence[FieldInfo]) -> type[msgspec.Struct] | None:
    """Return a class with the fields of ``body`` that omits what is None when it is written, and nothing else.

    None for a body with an object of any shape, which may hold anything.
    """
    own: list[tuple[str, Any, Any]] = []
    for field in fields:
        if not _types_of(field.type) <= _PLAIN:
            return None
        # a default other than None is always written, so the twin's own must never be equal to a value
        default = msgspec.NODEFAULT if field.required else msgspec.UNSET
        own.append((field.name, field.type, None if field.default is None else default))
    return msgspec.defstruct(body.__name__, own, omit_defaults=True, gc=False)


def _pack_into(body: type[Any], twin: type[msgspec.Struct], fields: Sequence[FieldInfo]) -> Pack:
    """Return a function that copies a body to its twin, with aware times as UTC."""
    names = tuple(field.name for field in fields)
    # attrgetter is slower; two fields or more, because only then it makes a tuple
    values = msgspec.structs.astuple if names == body.__struct_fields__ else attrgetter(*names)
    times = [field.name for field in fields if datetime in _types_of(field.type)]
    lists = [field.name for field in fields if _WORDS in _types_of(field.type)]

    if not times and not lists:
        return lambda body: twin(*values(body))

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


def _pack_any(fields: Sequence[FieldInfo]) -> Pack:
    """Return a function that makes a dict of JSON values of a body."""
    # few kinds need it, and most commands none of them
    from cattrs import Converter

    converter = Converter()
    converter.register_unstructure_hook(datetime, _utc_if_aware)
    optional = frozenset(field.name for field in fields if field.default is None)
    names = [field.name for field in fields]

    def pack(body: Any) -> dict[str, Any]:
        values = {name: getattr(body, name) for name in names}
        return {
            name: value if type(value) is str else converter.unstructure(value)
            for name, value in values.items()
            if value is not None or name not in optional
        }

    return pack


def _in_written_order(body: type[Any]) -> Sequence[FieldInfo]:
    """Return the fields as the log has them: first those that are always written. The order counts, because bytes are compared."""
    return sorted(msgspec.structs.fields(body), key=lambda field: field.default is None)


def _types_of(annotation: Any) -> frozenset[Any]:
    """Return the types in an annotation such as ``float | None``."""
    if annotation in _PLAIN:
        return frozenset({annotation})
    return frozenset(get_args(annotation) or {annotation})


def _utc_if_aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc)
