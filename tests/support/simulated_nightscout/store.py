"""The collections of a simulated Nightscout, with the document keys of each server version."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from tests.support.simulated_nightscout import values
from tests.support.simulated_nightscout.query import MONGO_ID, FieldTypes, Find, check, matches
from tests.support.simulated_nightscout.values import Body


class WriteFails(Exception):
    """The database refuses a document: status 500. Documents before it in the same array are stored."""


@attrs.frozen(kw_only=True)
class Rules:
    """Differences between versions of the server."""

    version: str
    identifier_is_key: bool
    """15.0.7 and later: the key of a treatment is its ``identifier``."""

    modern: bool
    """14 and later: reads are limited by default, a wrong secret cannot read, and tokens work in the header."""

    @classmethod
    def of(cls, version: str) -> Rules:
        """Return the rules of a version such as ``15.0.6``. Raises ValueError if it has no number."""
        found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
        if found is None:
            raise ValueError(f"not a version: {version}")
        release = tuple(int(part) for part in found.groups())
        return cls(version=version, identifier_is_key=release >= (15, 0, 7), modern=release >= (14, 0, 0))


@attrs.define(kw_only=True)
class Collection:
    """Documents by ``_id``, and by the keys that the server uses."""

    name: str
    new_id: Callable[[], str]
    rules: Rules
    typing: FieldTypes
    _by_id: dict[tuple[str, str], Body] = attrs.field(factory=dict, init=False)
    _by_key: dict[tuple[Any, ...], dict[tuple[str, str], None]] = attrs.field(factory=dict, init=False)

    def __len__(self) -> int:
        return len(self._by_id)

    def copied(self) -> Collection:
        """A collection of the same documents, which goes its own way."""
        twin = attrs.evolve(self)
        twin._by_id = values.copied(self._by_id)
        twin._by_key = values.copied(self._by_key)
        return twin

    def all(self) -> list[Body]:
        """Copies of the documents, newest first."""
        return values.copied(self._sorted(self._by_id.values()))

    def read(self, find: Find, count: int | None) -> list[Body]:
        """Return the newest ``count`` matching documents (None: all). Raises QueryInvalid."""
        check(find)
        found = self._sorted(document for document in self._candidates(find) if matches(document, _without_id(find)))
        return found[:count]

    def remove(self, find: Find) -> int:
        """Remove all matching documents; return their number."""
        check(find)
        gone = [
            reference
            for reference, document in self._by_id.items()
            if _is_wanted(reference, find) and matches(document, _without_id(find))
        ]
        for reference in gone:
            self._forget(reference)
        return len(gone)

    def clear(self) -> None:
        """Remove all documents."""
        self._by_id.clear()
        self._by_key.clear()

    def insert(self, body: Body) -> Body:
        """Store without a search for an earlier copy; return what was stored."""
        return self._store(("object", self.new_id()), {key: value for key, value in body.items() if key != "_id"})

    def replace(self, body: Body) -> Body:
        """Store under the body's ``_id`` (PUT), whether it exists or not."""
        given = str(body.get("_id") or self.new_id())
        if not MONGO_ID.fullmatch(given):
            raise WriteFails("Argument passed in must be a single String of 12 bytes or a string of 24 hex characters")
        reference = ("object", given.lower())
        if reference in self._by_id:
            self._forget(reference)
        return self._store(reference, body)

    def upsert(self, body: Body) -> tuple[Body, bool]:
        """Store the document and replace one with the same key. Returns whether it is new."""
        if self.name == "treatments" and self.rules.identifier_is_key:
            return self._upsert_by_identifier(dict(body))
        return self._upsert_by_time(dict(body))

    def _upsert_by_identifier(self, body: Body) -> tuple[Body, bool]:
        given = body.pop("_id", None)
        if body.get("identifier"):
            return self._put(self._first(("identifier", body["identifier"])), body)
        if isinstance(given, str) and MONGO_ID.fullmatch(given):
            reference = ("object", given.lower())
            is_new = reference not in self._by_id
            if not is_new:
                self._forget(reference)
            return self._store(reference, body), is_new
        return self._put(self._first(_time_key(self.name, body)), body)

    def _upsert_by_time(self, body: Body) -> tuple[Body, bool]:
        place = self._first(_time_key(self.name, body))
        given = body.pop("_id", None)
        if given is None:
            return self._put(place, body)
        reference = ("text", str(given))
        if place not in {None, reference} or (place is None and reference in self._by_id):
            raise WriteFails(f"_id: {given}")
        return self._put(place or reference, body, is_new=place is None)

    def _put(self, place: tuple[str, str] | None, body: Body, *, is_new: bool = False) -> tuple[Body, bool]:
        if place is None:
            return self._store(("object", self.new_id()), body), True
        if place in self._by_id:
            self._forget(place)
        return self._store(place, body), is_new

    def _store(self, reference: tuple[str, str], body: Body) -> Body:
        document = {**values.copied(body), "_id": reference[1]}
        self._by_id[reference] = document
        for key in _keys(self.name, document):
            self._by_key.setdefault(key, {})[reference] = None
        return document

    def _forget(self, reference: tuple[str, str]) -> None:
        document = self._by_id.pop(reference)
        for key in _keys(self.name, document):
            holders = self._by_key[key]
            del holders[reference]
            if not holders:
                del self._by_key[key]

    def _first(self, key: tuple[Any, ...]) -> tuple[str, str] | None:
        return next(iter(self._by_key.get(key, ())), None)

    def _candidates(self, find: Find) -> Iterable[Body]:
        return (document for reference, document in self._by_id.items() if _is_wanted(reference, find))

    def _sorted(self, documents: Iterable[Body]) -> list[Body]:
        # A document without a date is last, as in the database.
        field = "startDate" if self.name == "profile" else self.typing.date_field
        return sorted(documents, key=lambda document: _rank(document.get(field)), reverse=True)


def _rank(value: object) -> tuple[int, Any]:
    if isinstance(value, (int, float)):
        return 1, value
    return (2, value) if isinstance(value, str) else (0, 0)


def _is_wanted(reference: tuple[str, str], find: Find) -> bool:
    """Whether a condition on ``_id`` matches; it never matches an ``_id`` made by a client."""
    wanted = find.get("_id")
    if wanted is None or isinstance(wanted, Mapping):
        return True
    return reference == ("object", str(wanted).lower())


def _without_id(find: Find) -> Find:
    return {field: value for field, value in find.items() if field != "_id" or isinstance(value, Mapping)}


def _time_key(name: str, body: Mapping[str, Any]) -> tuple[Any, ...]:
    if name == "entries":
        return "entry", body.get("sysTime"), body.get("type")
    return "time", body.get("created_at"), body.get("eventType")


def _keys(name: str, document: Mapping[str, Any]) -> Sequence[tuple[Any, ...]]:
    if name == "treatments":
        identifier = document.get("identifier")
        own = (("identifier", identifier),) if isinstance(identifier, str) and identifier else ()
        return (_time_key(name, document), *own)
    return (_time_key(name, document),) if name == "entries" else ()


def write(collection: Collection, body: Body, now: datetime, *, alone: bool) -> Body:
    """Store one posted document (``alone``: not in an array); return the response's copy. Raises WriteFails."""
    match collection.name:
        case "treatments":
            prepared = values.treatment(body, now)
            stored, is_new = collection.upsert(prepared)
            tells_id = is_new or (collection.rules.identifier_is_key and prepared.get("identifier"))
            return stored if tells_id else {key: value for key, value in stored.items() if key != "_id"}
        case "entries":
            prepared = values.entry(body, now)
            collection.upsert(prepared)
            return prepared
        case "devicestatus":
            # Before 14, the dates of documents in an array were not changed.
            return collection.insert(values.device_status(body, now) if alone or collection.rules.modern else body)
        case "profile":
            return collection.insert({**body, "created_at": values.iso(now)})
        case _:
            return collection.insert(body)
