"""The requests of ``tconnectsync fleet run``: which keys each has, and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs
import click

_YEARS = range(2000, 2100)
"""Accepted years: a date outside is a typing mistake."""


def _day(value: str) -> str:
    day = datetime.strptime(value, "%Y-%m-%d").date()
    if day.year not in _YEARS:
        raise ValueError
    return day.isoformat()


def _name(value: str) -> str:
    if not value.strip():
        raise ValueError
    return value.strip()


def _ids(value: str) -> list[str]:
    return [_name(each) for each in value.split(",")]


def _yes(value: str) -> bool:
    if value.lower() not in {"yes", "true"}:
        raise ValueError
    return True


def _all(value: str) -> None:
    _yes(value)


@attrs.frozen
class _Kind:
    """A kind of value. ``parse`` raises ValueError for a wrong one."""

    word: str
    example: str
    parse: Callable[[str], Any]
    more: str = ""


_DAY = _Kind("DAY", "2026-11-27", _day)
_SINK = _Kind("NAME", "nightscout-treatments", _name)
_SOURCE = _Kind("NAME", "tandem", _name)
_IDS = _Kind("ID,ID", "4f1c,9a02", _ids)
_ALL = _Kind("yes", "yes", _all)
"""The engine drops all dead letters if it gets no IDs. Nobody may ask for that by leaving them out."""
_REPAIR = _Kind("yes", "yes", _yes, " On a worker, verify always corrects what differs at the receiver.")
_DAYS = {"first": _DAY, "last": _DAY}


@attrs.frozen
class _Request:
    """The keys of one request. ``same``: another word for a key, which is given instead of it."""

    required: Mapping[str, _Kind] = attrs.field(factory=dict)
    optional: Mapping[str, _Kind] = attrs.field(factory=dict)
    same: Mapping[str, tuple[str, _Kind]] = attrs.field(factory=dict)

    def kinds(self) -> dict[str, _Kind]:
        """Return what may be given."""
        return {**self.required, **{word: kind for word, (_, kind) in self.same.items()}, **self.optional}


REQUESTS: Mapping[str, _Request] = {
    "sync": _Request(),
    "backfill": _Request({"first": _DAY}, {"last": _DAY}),
    "replay": _Request({"sink": _SINK}, _DAYS),
    "resume": _Request({"sink": _SINK}, same={"source": ("sink", _SOURCE)}),
    "verify": _Request({"sink": _SINK, "repair": _REPAIR}, _DAYS),
    "dead_letters_list": _Request(optional={"sink": _SINK}),
    "dead_letters_retry": _Request({"sink": _SINK}, {"ids": _IDS}),
    "dead_letters_drop": _Request({"sink": _SINK, "ids": _IDS}, same={"all": ("ids", _ALL)}),
}


def request_arguments(command: str, given: Iterable[str]) -> dict[str, Any]:
    """Return what a worker gets for KEY=VALUE…. Errors: UsageError for a wrong, missing or unknown key or command."""
    request = REQUESTS.get(command)
    if request is None:
        raise click.UsageError(f"there is no request {command!r}; these are possible: {', '.join(REQUESTS)}")
    kinds = request.kinds()
    keys = f"Its keys: {', '.join(kinds)}." if kinds else "It has no keys."
    found: dict[str, Any] = {}
    for word, equals, value in (each.partition("=") for each in given):
        if not equals:
            raise click.UsageError(f"{word!r} is not KEY=VALUE. The request is {command}. {keys}")
        kind = kinds.get(word)
        if kind is None:
            raise click.UsageError(f"{command} has no key {word!r}. {keys}")
        key = request.same[word][0] if word in request.same else word
        if key in found:
            raise click.UsageError(f"{word}={value} is given beside another {key}. Give one of them.")
        try:
            found[key] = kind.parse(value)
        except ValueError:
            raise click.UsageError(
                f"{word}={value} is not possible, expected {word}={kind.word}, such as {word}={kind.example}.{kind.more}"
            ) from None
    for word, kind in request.required.items():
        if word not in found:
            others = "".join(f" or {other}={like.word}" for other, (key, like) in request.same.items() if key == word)
            such = "" if kind.word == kind.example else f", such as {word}={kind.example}"
            raise click.UsageError(f"{command} needs {word}={kind.word}{others}{such}.{kind.more} {keys}")
    if found.get("first", "") > found.get("last", "9"):
        raise click.UsageError(f"The range is empty: first={found['first']} is after last={found['last']}.")
    return found
