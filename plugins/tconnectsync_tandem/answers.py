"""The bodies of answers, taken apart without trusting them: one odd entry costs that entry, half an answer costs the answer.

A window's entries stay JSON text until they are wanted, so that a month of them needs little memory.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from tconnectsync_tandem.transport import BrokenAnswer, shape_changed

Piece: TypeAlias = Any
"""An entry: ``msgspec.Raw`` text, or already a value where the answer needed the patient parser."""

LAST_PLACE = (2**63, 0)
"""Where an entry without a usable sequence number sorts to."""

_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_KNOWN = frozenset({"events", "clockChanges"})
_parse = msgspec.json.Decoder().decode


@attrs.frozen(kw_only=True)
class LogAnswer:
    """A ``pump-logs`` answer. ``clock_changes`` is None where the answer has no such key; ``new_keys`` are unheard of."""

    events: Sequence[Piece] = attrs.field(repr=False)
    clock_changes: Sequence[Piece] | None = attrs.field(repr=False)
    new_keys: tuple[str, ...] = ()

    def entries(self) -> Iterator[tuple[tuple[int, int], Any]]:
        """Every entry once, with its sequence group and number, in that order: the server promises none."""
        placed = [(place(piece), 0, piece) for piece in self.events]
        placed += [(place(piece), 1, piece) for piece in self.clock_changes or ()]
        placed.sort(key=_order)
        before: tuple[int, int] | None = None
        for where, again, piece in placed:
            # the same clock change stands in both arrays
            if not (again and where == before and where != LAST_PLACE):
                yield where, value(piece)
            before = where


def split_answer(body: bytes, what: str) -> LogAnswer:
    """A ``pump-logs`` body. Errors: BrokenAnswer (cut short), BrokenShape (HTML, or another contract)."""
    top = _object(body, what)
    if "events" not in top:
        raise shape_changed(what, f"no events in it, but {_names(top)}")
    events, changes = _array(top["events"]), _array(top.get("clockChanges", []))
    if events is None:
        raise shape_changed(what, "its events are not a list")
    if changes is None and not _is_null(top["clockChanges"]):
        raise shape_changed(what, "its clockChanges are not a list")
    return LogAnswer(
        events=events,
        clock_changes=(changes or ()) if "clockChanges" in top else None,
        new_keys=tuple(sorted(key[:60] for key in top.keys() - _KNOWN)),
    )


def whole_answer(body: bytes, what: str) -> dict[str, Any]:
    """A body as a JSON object. Errors: as for :func:`split_answer`."""
    return {key: value(piece) for key, piece in _object(body, what).items()}


def value(piece: Piece) -> Any:
    """What an entry holds; text that no parser takes is kept as text."""
    if type(piece) is not msgspec.Raw:
        return piece
    try:
        return _parse(piece)
    except (ValueError, RecursionError):
        text = bytes(piece)
        try:
            return _patient(text)
        except (ValueError, RecursionError):
            return text.decode("utf-8", "replace")


class _Place(msgspec.Struct):
    sequenceGroup: int | None = 0  # noqa: N815 - the vendor's spelling
    sequenceNumber: int | None = None  # noqa: N815


_read_place = msgspec.json.Decoder(_Place).decode


def place(piece: Piece) -> tuple[int, int]:
    """Sequence group and number of an entry; :data:`LAST_PLACE` where it has none."""
    if type(piece) is msgspec.Raw:
        try:
            found = _read_place(piece)
        except (ValueError, RecursionError):
            return LAST_PLACE
        group, number = found.sequenceGroup or 0, found.sequenceNumber
    elif isinstance(piece, dict):
        group, number = piece.get("sequenceGroup") or 0, piece.get("sequenceNumber")
    else:
        return LAST_PLACE
    return (group, number) if type(group) is int and type(number) is int else LAST_PLACE


def _order(entry: tuple[tuple[int, int], int, Piece]) -> tuple[tuple[int, int], int]:
    return entry[:2]


def _object(body: bytes, what: str) -> dict[str, Piece]:
    """The top level of a JSON object, its values as text where possible."""
    if _LONG_NUMBER.search(body) is None:
        try:
            return msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        except (ValueError, RecursionError):
            pass  # the patient parser finds out what it is
    if body.lstrip()[:1] == b"<":
        raise shape_changed(what, "a web page")
    try:
        found = _patient(body)
    except (ValueError, RecursionError):
        raise BrokenAnswer(f"half an answer to the request for {what} (no whole JSON)", unsure=True) from None
    if not isinstance(found, dict):
        raise shape_changed(what, f"a JSON {type(found).__name__}")
    return found


def _array(piece: Piece) -> Sequence[Piece] | None:
    if type(piece) is msgspec.Raw:
        try:
            return msgspec.json.decode(piece, type=list[msgspec.Raw])
        except (ValueError, RecursionError):
            piece = value(piece)
    return piece if isinstance(piece, list) else None


def _is_null(piece: Piece) -> bool:
    return value(piece) is None


def _names(top: dict[str, Piece]) -> str:
    return ", ".join(sorted(key[:30] for key in top)[:5]) or "nothing"


def _patient(body: bytes) -> Any:
    """JSON with what the quick parser, or the log, would not take (NaN, huge numbers, broken text) turned into text."""
    found = json.loads(body.decode("utf-8", "replace"), parse_constant=str, parse_int=_whole, parse_float=_finite)
    return _mended(found)


def _whole(text: str) -> int | str:
    number = int(text) if len(text) <= 20 else 2**64
    return number if -(2**63) <= number < 2**63 else text


def _finite(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def _mended(found: Any) -> Any:
    """``found`` with half characters (lone surrogates) replaced: they cannot be written to the log."""
    if isinstance(found, str):
        return found.encode("utf-8", "replace").decode()
    if isinstance(found, list):
        return [_mended(item) for item in found]
    if isinstance(found, dict):
        return {_mended(key): _mended(item) for key, item in found.items()}
    return found
