"""A pump record as a table of fields, and the one loop that reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, TypeAlias

import attrs
import msgspec

from tconnectsync import events
from tconnectsync.events import Body
from tconnectsync_tandem.decode.fields import ODD, Field

Values: TypeAlias = dict[str, Any]
Reading: TypeAlias = tuple[str, Body, tuple[str, ...]]
"""Kind, body, and invalid properties as text for the log."""

_SHOWN = 60


class ImpossibleRecordError(ValueError):
    """The values of a record contradict each other or are impossible; the message says which."""


@attrs.frozen(eq=False)
class Record:
    """One record id of the history log.

    ``build`` makes the body from the values by field name and the record's pump time; it may raise
    :class:`ImpossibleRecordError`. ``spare`` are known properties that are not read. If ``tolerant``, unknown
    properties are not reported.
    """

    code: int
    kind: str
    fields: tuple[Field, ...]
    build: Callable[[Values, datetime], Body]
    spare: tuple[str, ...] = ()
    tolerant: bool = False
    known: frozenset[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        known = frozenset(self.spare).union(*((field.key, *field.more_keys) for field in self.fields))
        object.__setattr__(self, "known", known)

    def read(self, properties: Mapping[str, Any], pump_time: datetime) -> Reading:
        """Return kind, body and notes of ``properties``; ``unknown`` if a required value is missing or impossible."""
        notes: tuple[str, ...] = ()
        if not properties.keys() <= self.known:
            if not self.tolerant:
                strange = (key for key in properties if key.lower() not in _spelling_of(self.known))
                notes = tuple(f"new property {key[:_SHOWN]}" for key in strange)
            if self.fields:
                properties = self._respelled(properties)
        values: Values = {}
        for name, key, read, required, more_keys in self.fields:
            value = properties.get(key)
            if value is None and more_keys:
                value = next((properties[other] for other in more_keys if properties.get(other) is not None), None)
            if value is not None:
                found = read(value)
                if found is ODD:
                    if required:
                        return self.unknown(f"{key} is {shown(value)}", notes)
                    notes += (f"{key} is odd",)
                    found = None
                elif found is None and required:
                    return self.unknown(f"{key} says none", notes)
                values[name] = found
            elif required:
                return self.unknown(f"{key} is missing", notes)
            else:
                values[name] = None
        try:
            return self.kind, self.build(values, pump_time), notes
        except ImpossibleRecordError as error:
            return self.unknown(str(error), notes)

    def unknown(self, reason: str, notes: tuple[str, ...] = ()) -> Reading:
        """This record as one that could not be decoded."""
        return "unknown", events.Unknown(code=str(self.code), reason=reason, likely_kind=self.kind), notes

    def _respelled(self, properties: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return ``properties`` in the catalogue's spelling; one that already has it wins."""
        found = {}
        spelling_of = _spelling_of(self.known)
        for key, value in properties.items():
            spelling = spelling_of.get(key.lower())
            if spelling is not None and (spelling == key or spelling not in properties):
                found[spelling] = value
        return found


@cache
def _spelling_of(known: frozenset[str]) -> Mapping[str, str]:
    """Return ``known`` by their lower-case spelling. Made only for the few records that have other properties too."""
    return {key.lower(): key for key in known}


def record(code: int, kind: str, *fields: Field, spare: tuple[str, ...] = (), tolerant: bool = False) -> Record:
    """A record whose fields are those of its body."""
    body = events.BODIES[kind]
    defaults = {
        field.name: field.default
        for field in msgspec.structs.fields(body)
        if field.default not in (None, msgspec.NODEFAULT)
    }

    def fill(values: Values, _: datetime) -> Body:
        return body(**values)

    def fill_defaults(values: Values, _: datetime) -> Body:
        return body(**{name: defaults.get(name) if value is None else value for name, value in values.items()})

    return Record(code, kind, fields, fill_defaults if defaults else fill, spare, tolerant)


def note(code: int, name: str, *fields: Field, spare: tuple[str, ...] = (), tolerant: bool = False) -> Record:
    """A record that no sink uses: stored under ``name`` with the pump's values."""

    def build(values: Values, _: datetime) -> Body:
        present = {
            name: list(value) if type(value) is tuple else value for name, value in values.items() if value is not None
        }
        return events.PumpNoted(name=name, values=present)

    return Record(code, "pump.noted", fields, build, spare, tolerant)


def shown(value: Any) -> str:
    """A value as short text for a message."""
    if isinstance(value, (list, dict)):
        return "a list" if isinstance(value, list) else "an object"
    if isinstance(value, str):
        return f"the text {value[:_SHOWN]!r}"
    if isinstance(value, int) and value.bit_length() > 128:
        return "a huge number"
    return "null" if value is None else repr(value)[:_SHOWN]
