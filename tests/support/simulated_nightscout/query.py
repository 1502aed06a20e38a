"""The ``find[…]`` language of Nightscout's API version 1: conditions in a query string, matched against documents."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import attrs

from tests.support.simulated_nightscout.values import Body, iso, read_moment

LAST_DAYS = timedelta(days=4)
"""The range of a query without a date."""

MONGO_ID = re.compile(r"[0-9a-fA-F]{24}")
_KEY = re.compile(r"\[([^\]]*)\]")
_MISSING = object()

Find: TypeAlias = Mapping[str, Any]
"""``{field: value}`` or ``{field: {operator: value}}``; values are texts, numbers, patterns, or lists of them."""


class QueryFails(Exception):
    """The server responds with status 500 and an HTML page."""


class QueryInvalid(Exception):
    """The database refuses the query; the server responds with status 200 and no list, not even an empty one."""


@attrs.frozen(kw_only=True)
class FieldTypes:
    """How conditions on a collection are read: its date field, whether that has milliseconds, and the types of other fields."""

    date_field: str = "created_at"
    epoch: bool = False
    whole_numbers: Sequence[str] = ()
    patterns: Sequence[str] = ()


def read_query(text: str) -> dict[str, Any]:
    """Parse a query string with brackets as nested dictionaries; ``[]`` makes a list. ``+`` is a space."""
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        head, _, rest = name.partition("[")
        path = [head, *_KEY.findall("[" + rest)] if rest else [head]
        place: dict[str, Any] = found
        for step in path[:-1]:
            nested = place.setdefault(step, {})
            if not isinstance(nested, dict):
                raise QueryFails(f"{name} is both a value and a table")
            place = nested
        last = path[-1] or str(len(place))
        place[last] = value
    return found


def conditions(query: Mapping[str, Any], typing: FieldTypes, now: datetime, *, strict_ids: bool) -> Find:
    """Return the typed conditions of a query; without a date or an ``_id``, they match only the last four days.

    ``strict_ids`` (before 15): an invalid ``_id`` is an error instead of matching nothing.
    """
    given = query.get("find", {})
    if not isinstance(given, Mapping):
        raise QueryInvalid("find is no table")
    find: dict[str, Any] = {}
    for field, value in given.items():
        typed = _whole_number if field in typing.whole_numbers else _pattern if field in typing.patterns else _as_is
        find[field] = _typed(value, typed)
    if "_id" in find:
        if strict_ids and isinstance(find["_id"], str) and not MONGO_ID.fullmatch(find["_id"]):
            raise QueryFails("Argument passed in must be a single String of 12 bytes or a string of 24 hex characters")
        return find
    bound = find.get(typing.date_field)
    if bound:
        find[typing.date_field] = _dated(bound)
    elif "dateString" not in find:
        first = now - LAST_DAYS
        find[typing.date_field] = {"$gte": int(first.timestamp() * 1000) if typing.epoch else iso(first)}
    return find


def matches(document: Body, find: Find) -> bool:
    """Whether a document meets all conditions. Values of different types are never equal, greater or less."""
    return all(_meets(_value_at(document, field), condition) for field, condition in find.items())


def _typed(value: Any, typed: Callable[[str], Any]) -> Any:
    if isinstance(value, Mapping):
        if value and all(step.isdigit() for step in value):
            return [_typed(item, typed) for item in value.values()]
        return {operator: _typed(item, typed) for operator, item in value.items()}
    return typed(value)


def _as_is(text: str) -> Any:
    return text


def _whole_number(text: str) -> Any:
    found = re.match(r"\s*[+-]?\d+", text)
    return int(found[0]) if found else float("nan")


def _pattern(text: str) -> Any:
    found = re.search(r"/(.*)/(.*)", text)
    if not found:
        return text
    try:
        return re.compile(found[1], re.IGNORECASE if "i" in found[2] else 0)
    except re.error as error:
        raise QueryFails(str(error)) from None


def _dated(bound: Any) -> Any:
    """Convert dates to texts in UTC, as the server does. A bare date is split into letters there, and fails."""
    if isinstance(bound, str):
        if bound.replace(" ", "").isdigit():
            return bound
        raise QueryFails("Cannot parse - as a valid ISO-8601 date")
    if not isinstance(bound, Mapping):
        raise QueryFails("a date is no list")
    return {operator: _one_date(value) for operator, value in bound.items()}


def _one_date(value: Any) -> Any:
    if isinstance(value, int) or (isinstance(value, str) and re.fullmatch(r"\s*-?[\d.]*\s*", value)):
        return value
    # Clients that forget to encode a `+` send a space; the server converts it back.
    moment = read_moment(value.replace(" ", "+", 1)) if isinstance(value, str) else None
    if moment is None:
        raise QueryFails(f"Cannot parse {value} as a valid ISO-8601 date")
    return moment.text


def _value_at(document: Body, path: str) -> Any:
    value: Any = document
    for step in path.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return _MISSING
        value = value[step]
    return value


def _meets(value: Any, condition: Any) -> bool:
    if isinstance(condition, Mapping):
        return all(_operator(name)(value, operand, condition) for name, operand in condition.items())
    return _equal(value, condition)


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, re.Pattern):
        return isinstance(value, str) and wanted.search(value) is not None
    return _comparable(value, wanted) and bool(value == wanted)


def _comparable(value: Any, wanted: Any) -> bool:
    if isinstance(value, bool) or isinstance(wanted, bool):
        return isinstance(value, bool) and isinstance(wanted, bool)
    return (isinstance(value, str) and isinstance(wanted, str)) or (
        isinstance(value, (int, float)) and isinstance(wanted, (int, float))
    )


def _regex(value: Any, wanted: Any, condition: Mapping[str, Any]) -> bool:
    flags = re.IGNORECASE if "i" in str(condition.get("$options", "")) else 0
    try:
        pattern = wanted if isinstance(wanted, re.Pattern) else re.compile(str(wanted), flags)
    except re.error as error:
        raise QueryInvalid(str(error)) from None
    return isinstance(value, str) and pattern.search(value) is not None


def _among(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, list):
        raise QueryInvalid("$in needs an array")
    return any(_equal(value, item) for item in wanted)


_OPERATORS: Mapping[str, Callable[[Any, Any, Mapping[str, Any]], bool]] = {
    "$eq": lambda value, wanted, _: _equal(value, wanted),
    "$ne": lambda value, wanted, _: not _equal(value, wanted),
    "$gt": lambda value, wanted, _: _comparable(value, wanted) and bool(value > wanted),
    "$gte": lambda value, wanted, _: _comparable(value, wanted) and bool(value >= wanted),
    "$lt": lambda value, wanted, _: _comparable(value, wanted) and bool(value < wanted),
    "$lte": lambda value, wanted, _: _comparable(value, wanted) and bool(value <= wanted),
    "$in": lambda value, wanted, _: _among(value, wanted),
    "$nin": lambda value, wanted, _: not _among(value, wanted),
    # Any text counts as true, also "false".
    "$exists": lambda value, wanted, _: (value is not _MISSING) is bool(wanted),
    "$regex": _regex,
    "$options": lambda _, __, condition: "$regex" in condition,
}


def _operator(name: str) -> Callable[[Any, Any, Mapping[str, Any]], bool]:
    try:
        return _OPERATORS[name]
    except KeyError:
        raise QueryInvalid(f"unknown operator: {name}") from None


def check(find: Find) -> None:
    """Raise QueryInvalid for conditions that the database refuses, also if there is no document."""
    for condition in find.values():
        if isinstance(condition, Mapping):
            for name, operand in condition.items():
                _operator(name)("", operand, condition)
