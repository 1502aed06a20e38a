"""Parse response bodies without trusting them. An invalid entry costs that entry, a truncated response costs the
response.

A window's entries stay JSON text until they are needed, so that a month of them needs little memory.
"""

from __future__ import annotations

import json
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, TypeAlias

import attrs
import msgspec

from tconnectsync_tandem.api.transport import Body, BrokenAnswer, shape_changed
from tconnectsync_tandem.decode.fields import plain_whole

Piece: TypeAlias = Any
"""An entry: ``msgspec.Raw`` text, or a value if the response needed the tolerant parser."""

Place: TypeAlias = tuple[int, int]
"""Sequence group and sequence number."""

_HIGHEST = 2**63 - 1
LAST_PLACE: Place = (_HIGHEST, 0)
"""The sort position of an entry without a usable sequence number."""

_DIGITS = bytes(ord("0") if ord("0") <= byte <= ord("9") else ord(" ") for byte in range(256))
_LONG_NUMBER = b"0" * 19
_CHUNK = 1 << 16
_EDGE = 1024
_MOST_LEVELS = 50
"""No record is nested more than four levels deep; deeper ones are stored as text."""
_MARKS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[{\]}]')
_KNOWN = frozenset({"events", "clockChanges"})
_parse = msgspec.json.Decoder().decode
_Plain: TypeAlias = str | int | float | bool | None
_parse_flat = msgspec.json.Decoder(dict[str, _Plain | dict[str, _Plain | list[_Plain]]]).decode
"""For almost every entry: it refuses a deeper one, so that nothing has to look how deep it is."""


@attrs.frozen(kw_only=True)
class LogAnswer:
    """A ``pump-logs`` response. ``clock_changes`` is None if that key is missing; ``new_keys`` are unknown keys."""

    events: Sequence[Piece] = attrs.field(repr=False)
    clock_changes: Sequence[Piece] | None = attrs.field(repr=False)
    new_keys: tuple[str, ...] = ()
    careful: bool = False
    """Whether it may have a number that is too long for the log."""

    def entries(self) -> Iterator[tuple[Place, Any]]:
        """Yield every entry once, ordered by sequence group and number: the server guarantees no order."""
        events, changes, careful = self.events, self.clock_changes or (), self.careful
        groups, numbers = array("q"), array("q")
        for piece in chain(events, changes):
            group, number = _place(piece)
            groups.append(group)
            numbers.append(number)
        before: Place | None = None
        for index in _sorted_indices(groups, numbers):
            here = groups[index], numbers[index]
            if index < len(events):
                yield here, value(events[index], careful=careful)
            elif here != before or here == LAST_PLACE:  # the same clock change is in both arrays
                yield here, value(changes[index - len(events)], careful=careful)
            before = here


def _sorted_indices(groups: array[int], numbers: array[int]) -> array[int]:
    """Return the indices in the order of the places. In arrays, because lists of a month's numbers take some megabytes."""
    indices = sorted(range(len(numbers)), key=numbers.__getitem__)
    if len(set(groups)) > 1:
        indices.sort(key=groups.__getitem__)
    return array("q", indices)


def split_answer(body: Body, what: str) -> LogAnswer:
    """Parse a ``pump-logs`` body. Errors: BrokenAnswer (truncated), BrokenShape (HTML, or another format)."""
    top = _lists(body) or _object(body, what)
    if "events" not in top:
        raise shape_changed(what, f"it has no events, but {_names(top)}")
    events, changes = _array(top["events"]), _array(top.get("clockChanges", []))
    if events is None:
        raise shape_changed(what, "its events are not a list")
    if changes is None and value(top["clockChanges"]) is not None:
        raise shape_changed(what, "its clockChanges are not a list")
    return LogAnswer(
        events=events,
        clock_changes=(changes or ()) if "clockChanges" in top else None,
        new_keys=tuple(sorted(key[:60] for key in top.keys() - _KNOWN)),
        careful=has_long_number(body),
    )


def whole_answer(body: Body, what: str) -> dict[str, Any]:
    """Parse a body as a JSON object. Errors: as for :func:`split_answer`."""
    careful = has_long_number(body)
    return {key: value(piece, careful=careful) for key, piece in _object(body, what).items()}


def value(piece: Piece, *, careful: bool = False) -> Any:
    """Parse an entry; unparsable text is stored as text. ``careful``: it may have a number that is too long."""
    if type(piece) is not msgspec.Raw:
        return piece
    if not careful:
        try:
            return _parse_flat(piece)
        except (ValueError, RecursionError):
            pass
    text = bytes(piece)
    if text.count(b"[") + text.count(b"{") > _MOST_LEVELS and _nested_too_deeply(text):
        return text.decode("utf-8", "replace")
    try:
        return _patient(text) if careful and has_long_number(text) else _parse(text)
    except (ValueError, RecursionError):
        pass
    try:
        return _patient(text)
    except (ValueError, RecursionError):
        return text.decode("utf-8", "replace")


def _nested_too_deeply(text: bytes) -> bool:
    level = 0
    for mark in _MARKS.finditer(text):
        level += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(mark[0], 0)
        if level > _MOST_LEVELS:
            return True
    return False


class _Placed(msgspec.Struct, gc=False, rename={"group": "sequenceGroup", "number": "sequenceNumber"}):
    group: int | None = 0
    number: int | None = None


_read_place = msgspec.json.Decoder(_Placed).decode
_read_place_of_text = msgspec.json.Decoder(_Placed, strict=False).decode


def _place(piece: Piece) -> Place:
    """Return sequence group and number of an entry; :data:`LAST_PLACE` if it has none."""
    if type(piece) is msgspec.Raw:
        try:
            found = _read_place(piece)
        except (ValueError, RecursionError):
            try:
                found = _read_place_of_text(piece)
            except (ValueError, RecursionError):
                return LAST_PLACE
        group, number = found.group or 0, found.number
        if number is not None and 0 <= group <= _HIGHEST and 0 <= number <= _HIGHEST:
            return group, number  # almost every entry
    elif isinstance(piece, dict):
        group, number = plain_whole(piece.get("sequenceGroup") or 0), plain_whole(piece.get("sequenceNumber"))
    else:
        return LAST_PLACE
    if type(group) is not int or type(number) is not int:
        return LAST_PLACE
    fits = -_HIGHEST <= group <= _HIGHEST and -_HIGHEST <= number <= _HIGHEST
    return (group, number) if fits else LAST_PLACE


def _lists(body: Body) -> dict[str, Piece]:
    """Parse the top level and its lists in one go, as almost every response allows; {} for any other body."""
    with suppress(ValueError, RecursionError):
        return msgspec.json.decode(body, type=dict[str, list[msgspec.Raw]])
    return {}


def _object(body: Body, what: str) -> dict[str, Piece]:
    """Parse the top level of a JSON object, with values as text if possible."""
    with suppress(ValueError, RecursionError):  # the tolerant parser will tell what it is
        return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    first, last = body[:_EDGE].lstrip()[:1], body[-_EDGE:].rstrip()[-1:]
    if first == b"<":
        raise shape_changed(what, "a web page")
    half = BrokenAnswer(f"a truncated response to the request for {what} (incomplete JSON)", in_doubt=True)
    if first == b"{" and last != b"}":  # the tolerant parser would need many times its size in memory to tell
        raise half
    try:
        found = _patient(body)
    except (ValueError, RecursionError):
        raise half from None
    if not isinstance(found, dict):
        raise shape_changed(what, f"a JSON {type(found).__name__}")
    return found


def has_long_number(body: Body) -> bool:
    """Whether a number may be too large for the log. (Searching for nineteen digits takes four times as long.)"""
    overlap = len(_LONG_NUMBER) - 1
    return any(
        _LONG_NUMBER in body[start : start + _CHUNK + overlap].translate(_DIGITS)
        for start in range(0, len(body), _CHUNK)
    )


def _array(piece: Piece) -> Sequence[Piece] | None:
    if type(piece) is msgspec.Raw:
        try:
            return msgspec.json.decode(piece, type=list[msgspec.Raw])
        except (ValueError, RecursionError):
            piece = value(piece)
    return piece if isinstance(piece, list) else None


def _names(top: dict[str, Piece]) -> str:
    return ", ".join(sorted(key[:30] for key in top)[:5]) or "nothing"


def _patient(body: Body) -> Any:
    """Parse JSON tolerantly.

    Values that the fast parser or the log rejects (NaN, huge numbers, broken text) become text.
    """
    found = json.loads(body.decode("utf-8", "replace"), parse_constant=str, parse_int=_whole, parse_float=_finite)
    return _repaired(found)


def _whole(text: str) -> int | str:
    number = int(text) if len(text) <= 20 else 2**64
    return number if -(2**63) <= number < 2**63 else text


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _repaired(found: Any) -> Any:
    """Replace lone surrogates in ``found``: the log cannot store them."""
    if isinstance(found, str):
        return found.encode("utf-8", "replace").decode()
    if isinstance(found, list):
        return [_repaired(item) for item in found]
    if isinstance(found, dict):
        return {_repaired(key): _repaired(item) for key, item in found.items()}
    return found
